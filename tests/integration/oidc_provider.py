"""A real OpenID provider for tests: tests/clients/oidc_provider.mjs, started, told what to sign, stopped."""

import base64
import contextlib
import json
import secrets
import shutil
import ssl
import subprocess
import threading
import urllib.parse
import urllib.request

import lab
import npm

CLIENTS = lab.ROOT / "tests/clients"


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def parts(token):
    """Header and claims of a token, unverified."""
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


class Provider:
    def __init__(self):
        npm.install(CLIENTS)
        self.dir = lab.short_dir("idp")
        self.ca, cert, key = lab.make_ca(self.dir, "idp")
        self.secret = secrets.token_hex(16)
        self.log = open(self.dir / "log", "w", encoding="utf-8")
        self.lock = threading.Lock()
        self.process = subprocess.Popen(["node", CLIENTS / "oidc_provider.mjs", cert, key, self.secret], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True)
        ready = self.process.stdout.readline()
        assert ready, (self.dir / "log").read_text()
        self.issuer, self.kids = (json.loads(ready)[k] for k in ("issuer", "kids"))
        self.tls = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(f"{self.issuer}/.well-known/openid-configuration", context=self.tls) as answer:
            self.endpoint = json.load(answer)["token_endpoint"]

    def tell(self, word):
        """One of the words of oidc_provider.mjs."""
        with self.lock:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        self.kids = answer.get("kids", self.kids)
        return answer

    def fetched(self):
        """How often keys were asked for."""
        return self.tell("fetched").get("/jwks", 0)

    def token(self, **wish):
        """A token by the client credentials grant; see oidc_provider.mjs for what can be wished for."""
        form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": self.secret,
                "resource": "urn:hansard:" + b64(json.dumps(wish).encode())}
        with urllib.request.urlopen(self.endpoint, urllib.parse.urlencode(form).encode(), context=self.tls) as answer:
            return json.load(answer)["access_token"]

    def stop(self):
        # Its end of stdin is its end.
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
