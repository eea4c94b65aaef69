"""An OpenID Connect issuer for tests: HTTPS on loopback, keys and tokens made with the openssl command."""

import base64
import http.server
import json
import pathlib
import shutil
import ssl
import subprocess
import threading
import time

import lab


def b64(data):
    if isinstance(data, dict):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A signing key; its JWK; signatures."""

    def __init__(self, directory, kid, alg="ES256", bits=2048):
        self.kid = kid
        self.alg = alg
        self.path = pathlib.Path(directory) / f"{kid}.pem"
        kind = {"ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "EdDSA": ["-algorithm", "ED25519"]}
        lab.run(["openssl", "genpkey", "-out", self.path, *kind.get(alg, ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"])])

    def jwk(self):
        der = subprocess.run(["openssl", "pkey", "-in", self.path, "-pubout", "-outform", "DER"], check=True, stdout=subprocess.PIPE).stdout
        jwk = {"kid": self.kid, "use": "sig", "alg": self.alg}
        if self.alg == "ES256":
            return {**jwk, "kty": "EC", "crv": "P-256", "x": b64(der[-64:-32]), "y": b64(der[-32:])}
        if self.alg == "EdDSA":
            return {**jwk, "kty": "OKP", "crv": "Ed25519", "x": b64(der[-32:])}
        modulus = lab.run(["openssl", "rsa", "-in", self.path, "-noout", "-modulus"]).stdout.strip().split("=")[1]
        return {**jwk, "kty": "RSA", "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}

    def sign(self, data):
        if self.alg == "EdDSA":
            file = self.path.with_suffix(f".{threading.get_ident()}")
            file.write_bytes(data)
            args = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", file]
            return subprocess.run(args, check=True, stdout=subprocess.PIPE).stdout
        args = ["openssl", "dgst", "-sha256", "-sign", self.path]
        if self.alg == "PS256":
            args += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
        sig = subprocess.run(args, check=True, input=data, stdout=subprocess.PIPE).stdout
        return raw_ecdsa(sig) if self.alg == "ES256" else sig

    def token(self, claims, header=None):
        head = header or {"alg": self.alg, "typ": "JWT", "kid": self.kid}
        text = f"{b64(head)}.{b64(claims)}"
        return f"{text}.{b64(self.sign(text.encode()))}"


def raw_ecdsa(der):
    """DER's two integers as 32 bytes each."""
    n = der[3]
    r, s = der[4:4 + n], der[4 + n + 2:]
    return r.lstrip(b"\0").rjust(32, b"\0") + s.lstrip(b"\0").rjust(32, b"\0")


class Issuer:
    """Serves discovery and keys; a test changes `keys`, `status` and `max_age` as it likes."""

    def __init__(self, tls=True):
        self.dir = lab.short_dir("idp")
        self.ca, cert, key = lab.make_ca(self.dir, "idp")
        self.port = lab.free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.keys = [self.key("k1")]
        self.status = 200
        self.max_age = 600
        self.asked = []
        self._tls = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(cert, key)
        self._server = None

    def key(self, kid, alg="ES256", **kw):
        return Key(self.dir, kid, alg, **kw)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                issuer.asked.append(self.path)
                body = b"not found"
                status = issuer.status
                if self.path == "/.well-known/openid-configuration":
                    body = json.dumps({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}).encode()
                elif self.path == "/jwks":
                    body = json.dumps({"keys": [k.jwk() for k in issuer.keys]}).encode()
                else:
                    status = 404
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", f"max-age={issuer.max_age}")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def claims(self, **extra):
        now = int(time.time())
        claims = {"iss": self.url, "aud": "hansard", "sub": "ci", "iat": now, "exp": now + 600, **extra}
        return {k: v for k, v in claims.items() if v is not None}

    def token(self, key=None, header=None, **extra):
        return (key or self.keys[-1]).token(self.claims(**extra), header)

    def spec(self, mappings, **extra):
        return {"issuer": self.url, "name": "idp", "audience": ["hansard"], "ca": str(self.ca), "mappings": mappings, **extra}
