"""Identities from a real OpenID provider: who is admitted as whom, what is refused and why, keys that rotate.

The provider is npm's oidc-provider (tests/clients/oidc_provider.mjs) on loopback TLS with a CA of its own. The
gateway knows its URL and that CA and finds everything else by discovery. Tokens are JWTs of the client
credentials grant with the claims that the platforms put into theirs.
"""

import json
import os
import re
import subprocess
import threading
import time

import pytest

import lab
import oidc_provider

DEVIN = {"org_id": "org-abc", "devin_id": "devin-7f3a", "requesting_user_email": "alice@corp.example", "sub": "devin:devin-7f3a"}
GITHUB = {"sub": "repo:acme/shop:environment:production", "repository": "acme/shop", "repository_owner": "acme", "ref": "refs/heads/main",
          "sha": "3f786850e387550fdab836ed7e6dc881de23001b", "workflow": "migrate", "job_workflow_ref": "acme/shop/.github/workflows/migrate.yml@refs/heads/main",
          "event_name": "workflow_dispatch", "environment": "production", "actor": "alice", "run_id": "17040", "run_attempt": "2"}
GOOGLE = {"sub": "104567890123456789012", "azp": "104567890123456789012", "email": "ci@acme-prod.iam.gserviceaccount.com", "email_verified": True,
          "google": {"compute_engine": {"project_id": "acme-prod", "instance_name": "runner-1", "zone": "europe-west1-b"}}}
KEYCLOAK = {"sub": "f1b2c3d4-0000-4000-8000-000000000001", "preferred_username": "bob", "email": "bob@corp.example", "email_verified": True,
            "realm_access": {"roles": ["offline_access", "dba"]}, "groups": ["agents", "dba"], "azp": "psql", "typ": "Bearer", "sid": "b7e1"}

MAPPINGS = [
    {"when": {"org_id": "org-abc"},
     "map": {"kind": "agent", "subject": "devin/{devin_id}", "on_behalf_of": "{requesting_user_email}", "run": "{devin_id}", "groups": ["agents"]}},
    {"when": {"repository_owner": "acme", "environment": ["production", "staging"]},
     "map": {"kind": "service", "subject": "github/{repository}", "on_behalf_of": "{actor}", "run": "{run_id}/{run_attempt}", "groups": ["agents"],
             "context": ["ref", "sha", "job_workflow_ref"]}},
    {"when": {"email": "*@acme-prod.iam.gserviceaccount.com"},
     "map": {"kind": "service", "subject": "{email}", "email": "{email}", "groups": ["agents"]}},
    {"when": {"realm_access.roles": "dba"},
     "map": {"kind": "human", "subject": "{preferred_username}", "email": "{email}", "groups": "{groups}"}},
]

# claims → what the record says of them
SHAPES = {
    "devin": (DEVIN, {"kind": "agent", "subject": "idp:devin/devin-7f3a", "on_behalf_of": "alice@corp.example", "run": "devin-7f3a", "groups": ["agents"]}),
    "github": (GITHUB, {"kind": "service", "subject": "idp:github/acme/shop", "on_behalf_of": "alice", "run": "17040/2", "groups": ["agents"]}),
    "google": (GOOGLE, {"kind": "service", "subject": "idp:ci@acme-prod.iam.gserviceaccount.com", "on_behalf_of": "", "groups": ["agents"]}),
    "keycloak": (KEYCLOAK, {"kind": "human", "subject": "idp:bob", "on_behalf_of": "", "groups": ["agents", "dba"]}),
}


@pytest.fixture(scope="module")
def idp():
    provider = oidc_provider.Provider()
    yield provider
    provider.stop()


def gateway_of(binary, pg, idp, **issuer):
    directory = lab.short_dir("gw")
    (directory / "idp.pem").write_bytes(idp.ca.read_bytes())
    options = {"issuer": idp.issuer, "name": "idp", "audience": ["hansard"], "ca": str(directory / "idp.pem"), "skew": "5s", "mappings": MAPPINGS, **issuer}
    return lab.Gateway(binary, pg, directory=directory, gateway={"identity": {"oidc": [options]}, "limits": {"failed_proofs": 1000}})


@pytest.fixture(scope="module")
def gateway(binary, pg, idp):
    gateway = gateway_of(binary, pg, idp)
    gateway.start()
    yield gateway
    gateway.stop()
    gateway.remove()


def open_frame(gateway, application):
    """The open frame of the session whose application is called so."""
    def find():
        for session in gateway.json("sessions"):
            frame = json.loads(gateway.hansard("export", session["id"]).stdout.split("\n")[0])["open"]
            if frame["client"]["application"] == application:
                return frame
        return None
    return lab.wait_for(find, f"the session of {application}")


@pytest.mark.parametrize("shape, alg", [*((shape, "RS256") for shape in SHAPES), ("devin", "ES256"), ("devin", "EdDSA")])
def test_admitted_as(gateway, idp, shape, alg):
    claims, who = SHAPES[shape]
    token = idp.token(alg=alg, claims=claims, payload={"sub": claims["sub"]})
    header, payload = oidc_provider.parts(token)
    assert gateway.psql("select 5", token, application_name=f"{shape}-{alg}").stdout == "5\n"
    frame = open_frame(gateway, f"{shape}-{alg}")
    assert {key: frame["who"][key] for key in who} == who
    assert frame["who"]["issuer"] == idp.issuer and frame["who"]["key_id"] == header["kid"] == idp.kids[alg]
    assert frame["who"]["credential"] == payload["jti"] and frame["who"]["on_behalf_of_verified"] is bool(who["on_behalf_of"])
    if shape == "github":
        assert frame["context"] == {name: GITHUB[name] for name in ("ref", "sha", "job_workflow_ref")} and frame["context_verified"] is True


# ---- refused ----

def now(seconds=0):
    return int(time.time()) + seconds


def tampered(token):
    header, _, signature = token.split(".")
    claims = {**oidc_provider.parts(token)[1], "devin_id": "devin-0000"}
    return f"{header}.{oidc_provider.b64(json.dumps(claims).encode())}.{signature}"


def unsigned(token, signature=""):
    header = oidc_provider.b64(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    return f"{header}.{token.split('.')[1]}.{signature}"


def shared_secret(idp):
    """HS256 under the public key: what a verifier takes that lets the token choose the algorithm."""
    return idp.token(alg="HS256", hmac=idp.tell("public")["pem"], claims=DEVIN, header={"kid": idp.kids["RS256"]})


# what is wrong → (token, reason, what `hansard why` says of the newest)
WRONG = {
    "audience": (lambda i: i.token(claims=DEVIN, aud="another-gateway"), "token-audience", "another-gateway"),
    "no audience": (lambda i: i.token(claims=DEVIN, payload={"aud": []}), "token-audience", "aud"),
    "expired": (lambda i: i.token(claims=DEVIN, payload={"iat": now(-400), "exp": now(-100)}), "token-expired", "expired"),
    "no expiry": (lambda i: i.token(claims=DEVIN, payload={"exp": None}), "token-claims", "exp"),
    "not yet valid": (lambda i: i.token(claims=DEVIN, payload={"nbf": now(120)}), "token-not-yet-valid", "nbf"),
    "from the future": (lambda i: i.token(claims=DEVIN, payload={"iat": now(120), "exp": now(300)}), "token-not-yet-valid", "iat"),
    "good for too long": (lambda i: i.token(claims=DEVIN, ttl=30 * 86400), "token-lifetime", "lifetime"),
    "other issuer": (lambda i: i.token(claims=DEVIN, payload={"iss": "https://elsewhere.example"}), "token-issuer", "elsewhere.example"),
    "issuer with a slash": (lambda i: i.token(claims=DEVIN, payload={"iss": i.issuer + "/"}), "token-issuer", "localhost"),
    "unsigned": (lambda i: unsigned(i.token(claims=DEVIN)), "token-malformed", "three parts"),
    "no algorithm": (lambda i: unsigned(i.token(claims=DEVIN), "AAAA"), "token-algorithm", "none"),
    "public key as secret": (shared_secret, "token-algorithm", "HS256"),
    "another kind of key": (lambda i: i.token(alg="ES256", claims=DEVIN, header={"kid": i.kids["RS256"]}), "token-algorithm", "not one for ES256"),
    "claims changed": (lambda i: tampered(i.token(claims=DEVIN)), "token-signature", "signature"),
    "signature changed": (lambda i: i.token(claims=DEVIN)[:-8] + "AAAAAAAA", "token-signature", "signature"),
    "signature cut": (lambda i: i.token(claims=DEVIN)[:-9], "token-malformed", "signature"),
    "unknown key": (lambda i: i.token(claims=DEVIN, header={"kid": "nobody-has-this"}), "token-key-unknown", "nobody-has-this"),
    "another type": (lambda i: i.token(claims=DEVIN, header={"typ": "logout+jwt"}), "token-malformed", "typ"),
    "no mapping": (lambda i: i.token(claims={"org_id": "org-other"}), "no-mapping", ""),
    "mapping not filled": (lambda i: i.token(claims={k: v for k, v in DEVIN.items() if k != "requesting_user_email"}), "mapping-incomplete", "requesting_user_email"),
    "no group with access": (lambda i: i.token(claims={**KEYCLOAK, "groups": ["readers"]}), "no-access", "bob"),
}


@pytest.mark.parametrize("what", WRONG)
def test_refused(gateway, idp, what):
    make, reason, detail = WRONG[what]
    token = make(idp)
    done = gateway.psql("select 5", token, check=False)
    assert done.returncode != 0 and done.stdout == ""
    # The client is told a reference and nothing else.
    said = re.search(r"not admitted \(ref ([0-9a-z-]+)\)", done.stderr)
    assert said, done.stderr
    why = gateway.json("why", said[1])
    assert why["reason"] == reason and detail in why["last"], why
    signature = token.rsplit(".", 1)[1]
    assert not signature or signature not in gateway.log_text() + json.dumps(why)


def test_unknown_keys_cause_no_flood(gateway, idp):
    before = idp.fetched()
    for n in range(8):
        assert "not admitted" in gateway.psql("select 5", idp.token(claims=DEVIN, header={"kid": f"made-up-{n}"}), check=False).stderr
    assert idp.fetched() - before <= 1
    assert gateway.psql("select 5", idp.token(claims=DEVIN)).stdout == "5\n"


# ---- keys that rotate ----

class FreshTokens:
    """A password file that always holds a new token, as the platform's agent keeps it."""

    def __init__(self, idp, directory):
        self.idp, self.path, self.count = idp, directory / "pgpass", 0
        self.stopped = threading.Event()
        self.write()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def write(self):
        part = self.path.with_suffix(".new")
        part.touch(0o600)
        part.write_text(f"*:*:*:*:{self.idp.token(claims=DEVIN, alg='ES256')}\n")
        part.rename(self.path)
        self.count += 1

    def run(self):
        while not self.stopped.wait(0.1):
            self.write()

    def stop(self):
        self.stopped.set()
        self.thread.join()


def test_keys_rotate_under_load(binary, pg):
    """Each transaction logs in anew; the provider takes new keys, later drops the old ones: nobody is refused."""
    idp = oidc_provider.Provider()
    gateway = gateway_of(binary, pg, idp)
    tokens = None
    try:
        gateway.start()
        tokens = FreshTokens(idp, gateway.dir)
        first = idp.kids["ES256"]
        script = gateway.dir / "one.sql"
        script.write_text("select 5\n")
        load = subprocess.Popen([lab.pg_bin() / "pgbench", "-n", "-C", "-c", "4", "-T", "5", "-f", script, gateway.conninfo(passfile=tokens.path, application_name="load")],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
        for word in ("rotate", "drop"):
            time.sleep(1.5)  # of load with these keys
            before = tokens.count
            idp.tell(word)
            lab.wait_for(lambda count=before: tokens.count > count + 1, "a token by the new key")
        out, err = load.communicate(timeout=60)
        assert load.returncode == 0 and "number of failed transactions: 0 " in out, err[-2000:] + gateway.log_text()[-2000:]
        done = int(re.search(r"number of transactions actually processed: (\d+)", out)[1])
        print(f"{done} logins, {tokens.count} tokens, keys fetched {idp.fetched()} times")
        assert done > 50 and idp.kids["ES256"] != first
        # Once at the start, once for the key that was new.
        assert idp.fetched() <= 2
        token = idp.token(claims=DEVIN, alg="ES256")
        assert gateway.psql("select 5", token, application_name="after").stdout == "5\n"
        assert open_frame(gateway, "after")["who"]["key_id"] == idp.kids["ES256"]
        # The keys that we have serve on while the provider is away.
        tokens.stop()
        idp.stop()
        assert gateway.psql("select 5", token).stdout == "5\n"
        assert gateway.stop() == 0
        assert lab.python_verifier(gateway.store, check=False).returncode == 0
    finally:
        if tokens is not None:
            tokens.stop()
        gateway.stop()
        idp.stop()
        gateway.remove()
