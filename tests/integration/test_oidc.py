"""Identities by OpenID Connect: a JWT as the password of psql, against an issuer of our own on loopback."""

import json
import re
import signal
import threading
import time

import idp
import lab
import pytest

DEVIN = {"when": {"org_id": "org-abc"},
         "map": {"kind": "agent", "subject": "devin/{devin_id}", "on_behalf_of": "{requesting_user_email}", "run": "{devin_id}",
                 "groups": ["agents"], "context": ["title"]}}
GITHUB = {"when": {"repository_owner": "acme", "ref": "refs/heads/*"},
          "map": {"kind": "service", "subject": "{repository}", "run": "{run_id}/{run_attempt?}", "groups": ["agents"],
                  "context": ["workflow", "ref", "sha"]}}
KEYCLOAK = {"when": {"realm_access.roles": "dba"},
            "map": {"kind": "human", "subject": "{preferred_username}", "email": "{email}", "groups": "{realm_access.roles}"}}
KUBERNETES = {"when": {"kubernetes.io.namespace": "prod"},
              "map": {"kind": "service", "subject": "{sub}", "groups": ["agents"]}}
GOOGLE = {"when": {"email": "*@project.iam.example"}, "map": {"kind": "service", "subject": "{email}", "email": "{email}", "groups": ["agents"]}}
MAPPINGS = [DEVIN, GITHUB, KEYCLOAK, KUBERNETES, GOOGLE]

DEVIN_CLAIMS = {"org_id": "org-abc", "devin_id": "d42", "requesting_user_email": "ann@corp.example", "title": "Fix it", "jti": "j7"}


@pytest.fixture(scope="module")
def issuer():
    with idp.Issuer() as one:
        yield one


def oidc_spec(issuer, local=False, **extra):
    return {"identity": {"oidc": [issuer.spec(MAPPINGS, **extra)], **({"local": {}} if local else {})}}


@pytest.fixture(scope="module")
def gw(binary, pg, issuer):
    gateway = lab.Gateway(binary, pg, gateway=oidc_spec(issuer))
    gateway.connections["shop"]["access"].append({"groups": ["dba"], "roles": ["ro"]})
    gateway.write_config()
    gateway.start()
    yield gateway
    gateway.stop()
    gateway.remove()


def refusal(gateway, token, **kw):
    """What the client is told, and what `hansard why` says."""
    done = gateway.psql("select 1", token=token, check=False, **kw)
    assert done.returncode != 0
    assert token not in done.stderr
    found = re.search(r"not admitted \(ref ([0-9a-z-]+)\)", done.stderr)
    assert found, done.stderr
    return done.stderr, gateway.json("why", found.group(1))


def newest(gateway):
    rows = gateway.json("sessions")
    rows = rows["items"] if isinstance(rows, dict) else rows
    return json.dumps(rows)


def test_each_shape(gw, issuer):
    """Devin, GitHub Actions, Keycloak, Kubernetes and a Google service account."""
    shapes = [
        (DEVIN_CLAIMS, "shop"),
        ({"repository_owner": "acme", "repository": "acme/shop", "ref": "refs/heads/main", "run_id": "99", "workflow": "deploy"}, "shop"),
        ({"preferred_username": "bob", "email": "bob@corp.example", "realm_access": {"roles": ["dba", "x"]}}, "ro.shop"),
        ({"sub": "system:serviceaccount:prod:job", "kubernetes.io": {"namespace": "prod"}}, "shop"),
        ({"sub": "1084", "email": "ci@project.iam.example", "email_verified": True}, "shop"),
    ]
    for claims, user in shapes:
        assert gw.psql("select 42", token=issuer.token(**claims), user=user).stdout == "42\n"
    text = newest(gw)
    for subject in ("idp:devin/d42", "idp:acme/shop", "idp:bob", "idp:system:serviceaccount:prod:job", "idp:ci@project.iam.example"):
        assert subject in text
    assert "ann@corp.example" in text


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
def test_each_algorithm(make_gateway, issuer, alg):
    key = issuer.key(f"only-{alg}", alg)
    file = issuer.dir / f"{alg}.json"
    file.write_text(json.dumps({"keys": [key.jwk()]}))
    spec = issuer.spec(MAPPINGS, jwks={"file": str(file)})
    del spec["ca"]
    gateway = make_gateway(gateway={"identity": {"oidc": [spec]}})
    assert gateway.psql("select 1", token=issuer.token(key, **DEVIN_CLAIMS)).stdout == "1\n"


def test_each_wrong_thing_has_its_reason(gw, issuer):
    now = int(time.time())
    good = issuer.token(**DEVIN_CLAIMS)
    head, middle, sig = good.split(".")
    forged = middle[:30] + ("A" if middle[30] != "A" else "B") + middle[31:]
    rsa = issuer.key("rsa", "RS256")
    wrong = [
        ("token-audience", issuer.token(**{**DEVIN_CLAIMS, "aud": "billing"}), "billing"),
        ("token-expired", issuer.token(**{**DEVIN_CLAIMS, "iat": now - 900, "exp": now - 300}), "expired at"),
        ("token-not-yet-valid", issuer.token(**{**DEVIN_CLAIMS, "nbf": now + 300}), "nbf"),
        ("token-lifetime", issuer.token(**{**DEVIN_CLAIMS, "exp": now + 30 * 24 * 3600}), "lifetime_max"),
        ("token-claims", issuer.token(**{**DEVIN_CLAIMS, "exp": None}), "never expires"),
        ("token-issuer", issuer.token(**{**DEVIN_CLAIMS, "iss": "https://other.example"}), "other.example"),
        ("token-signature", f"{head}.{forged}.{sig}", "k1"),
        ("token-algorithm", f'{idp.b64({"alg": "none", "kid": "k1"})}.{middle}.{sig}', "none"),
        ("token-algorithm", f'{idp.b64({"alg": "HS256", "kid": "k1"})}.{middle}.{sig}', "HS256"),
        ("token-algorithm", rsa.token(issuer.claims(**DEVIN_CLAIMS), {"alg": "RS256", "kid": "k1"}), "not one for RS256"),
        ("token-malformed", f"{head}.{middle}.", "three parts"),
        ("token-key-unknown", rsa.token(issuer.claims(**DEVIN_CLAIMS)), "rsa"),
        ("no-mapping", issuer.token(), "none of the 5 mappings"),
        ("mapping-incomplete", issuer.token(org_id="org-abc", devin_id="d1"), "requesting_user_email"),
        ("malformed-proof", "hunter2", ""),
    ]
    for reason, token, detail in wrong:
        told, why = refusal(gw, token)
        assert why["reason"] == reason, (reason, why)
        assert detail in why["detail"] if "detail" in why else detail in json.dumps(why), why
        assert reason not in told and "issuer" not in told
    assert gw.psql("select 1", token=good).stdout == "1\n"
    assert good not in gw.log_text() and sig not in gw.log_text()


def test_rotation_mid_load(make_gateway):
    """Clients come all the time; the issuer takes a new key and drops the old: nobody is refused."""
    with idp.Issuer() as issuer:
        gateway = make_gateway(gateway=oidc_spec(issuer))
        failures, count, stop = [], [0], threading.Event()

        def load():
            while not stop.is_set():
                done = gateway.psql("select 1", token=issuer.token(**DEVIN_CLAIMS), check=False)
                count[0] += 1
                if done.returncode != 0:
                    failures.append(done.stderr)

        threads = [threading.Thread(target=load) for _ in range(3)]
        for t in threads:
            t.start()
        time.sleep(1.5)
        before = count[0]
        issuer.keys = [*issuer.keys, issuer.key("k2", "EdDSA")]
        time.sleep(2)
        stop.set()
        for t in threads:
            t.join()
        assert not failures, failures[:2]
        assert before > 0 and count[0] > before
        assert issuer.asked.count("/jwks") == 2  # at the start, and once for the unknown key


def test_issuer_down(make_gateway):
    """Keys that are there serve on; without any, the reason is told, and recovery needs nobody."""
    with idp.Issuer() as issuer:
        gateway = make_gateway(gateway=oidc_spec(issuer))
        token = issuer.token(**DEVIN_CLAIMS)
        assert gateway.psql("select 1", token=token).stdout == "1\n"
        issuer.stop()
        assert gateway.psql("select 1", token=token).stdout == "1\n"
        gateway.stop()
        gateway.start()
        _, why = refusal(gateway, token)
        assert why["reason"] == "issuer-keys-unavailable", why
        gateway.wait_event("keeper.oidc.no_keys")
        issuer.start()
        lab.wait_for(lambda: gateway.psql("select 1", token=token, check=False).returncode == 0, "the issuer to be asked again")
        assert gateway.json("status")["issuers"][0]["failing"] is False


def test_http_on_this_machine(make_gateway):
    """http is for an issuer on loopback, and `check` warns of it."""
    with idp.Issuer(tls=False) as issuer:
        spec = issuer.spec(MAPPINGS)
        del spec["ca"]
        gateway = make_gateway(gateway={"identity": {"oidc": [spec]}})
        assert gateway.psql("select 1", token=issuer.token(**DEVIN_CLAIMS)).stdout == "1\n"
        assert "keys come by http" in gateway.hansard("check").stdout


def test_wrong_root(make_gateway, issuer):
    """The issuer's web server must be who it says: another root, no keys."""
    with idp.Issuer() as other:
        gateway = make_gateway(gateway=oidc_spec(issuer, ca=str(other.ca)))
        _, why = refusal(gateway, issuer.token(**DEVIN_CLAIMS))
        assert why["reason"] == "issuer-keys-unavailable", why


def test_token_over_the_limit(gw, issuer):
    """Before admission a client has 16 KiB, tokens included."""
    near = issuer.token(**{**DEVIN_CLAIMS, "pad": "x" * 11000})
    assert gw.psql("select 1", token=near).stdout == "1\n"
    done = gw.psql("select 1", token=issuer.token(**{**DEVIN_CLAIMS, "pad": "x" * 14000}), check=False)
    assert done.returncode != 0 and "the password is too long" in done.stderr, done.stderr


def test_break_glass(make_gateway, issuer):
    gateway = make_gateway(gateway=oidc_spec(issuer, local=True))
    token = gateway.token()
    assert gateway.psql("select 1", token=token).stdout == "1\n"
    gateway.wait_event("keeper.break_glass.used", subject="local:ci")
    gateway.gateway_spec["identity"].pop("local")
    gateway.write_config()
    mark = gateway.mark()
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_event("config.applied", after=mark)
    _, why = refusal(gateway, token)
    assert why["reason"] == "local-issuer-off", why
    done = gateway.hansard("token", "--subject", "x", "--kind", "agent", check=False)
    assert done.returncode != 0 and "local issuer is off" in done.stderr
    assert gateway.psql("select 1", token=issuer.token(**DEVIN_CLAIMS)).stdout == "1\n"


def test_check_tells_where(make_gateway, issuer):
    gateway = make_gateway(gateway=oidc_spec(issuer))
    gateway.gateway_spec["identity"]["oidc"][0]["mappings"][0]["map"]["subjct"] = "x"
    gateway.write_config()
    done = gateway.hansard("check", check=False)
    assert done.returncode != 0 and 'did you mean "subject"?' in done.stdout + done.stderr
    gateway.gateway_spec["identity"]["oidc"][0]["mappings"][0]["map"].pop("subjct")
    bad = gateway.dir / "keys.json"
    bad.write_text('{"keys":[]}')
    gateway.gateway_spec["identity"]["oidc"][0]["jwks"] = {"file": str(bad)}
    gateway.write_config()
    done = gateway.hansard("check", check=False)
    assert done.returncode != 0 and "no key that can be used" in done.stdout + done.stderr


def test_examples_are_right(binary, tmp_path):
    """The example and each issuer of the guide pass `hansard check`."""
    lab.run([binary, "check", "--config", lab.ROOT / "examples" / "oidc.yaml"])
    blocks = re.findall(r"```yaml\n(- issuer.*?)```", (lab.ROOT / "docs" / "identity.md").read_text(), re.S)
    assert len(blocks) == 5
    (tmp_path / "prod-cluster.jwks").write_text(json.dumps({"keys": [idp.Key(tmp_path, "k").jwk()]}))
    for block in blocks:
        config = tmp_path / "hansard.yaml"
        config.write_text("apiVersion: hansard/v1\nkind: Gateway\nspec:\n  identity:\n    oidc:\n" + "".join(f"      {line}\n" for line in block.splitlines()))
        done = lab.run([binary, "check", "--config", config])
        assert "identity" not in done.stdout + done.stderr, done.stdout


def test_record_tells_who(gw, issuer):
    gw.psql("select 'who am i'", token=issuer.token(**{**DEVIN_CLAIMS, "devin_id": "d77"}))
    rows = gw.json("sessions")
    rows = rows["items"] if isinstance(rows, dict) else rows
    one = next(r for r in rows if "d77" in json.dumps(r))
    shown = gw.hansard("show", one.get("short_id") or one.get("id") or one["session"]).stdout
    assert "idp:devin/d77" in shown and "ann@corp.example" in shown and "Fix it" in shown
    assert "(verified)" in shown and gw.gateway_spec["identity"]["oidc"][0]["issuer"] in shown and "k1" in shown
