"""How clients prove themselves: SCRAM with a token's key id, OAUTHBEARER, what a connection asks for by itself; attacks on each."""

import base64
import ctypes
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import ssl
import struct
import threading

import idp
import lab
import npm
import pgs
import pytest

MAPPING = {"map": {"kind": "agent", "subject": "{sub}", "groups": ["agents"]}}
DOMAIN = "pg.gateway.example"


@pytest.fixture(scope="module")
def issuer():
    with idp.Issuer() as one:
        yield one


@pytest.fixture(scope="module")
def gw(binary, pg, issuer):
    gateway = lab.Gateway(binary, pg, gateway={"identity": {"local": {}, "oidc": [issuer.spec([MAPPING])]}, "limits": {"failed_proofs": 1000}})
    gateway.gateway_spec["listen"]["domain"] = DOMAIN
    gateway.connections["by-scram"] = {**gateway.connections["shop"], "proof": "scram"}
    gateway.connections["by-oauth"] = {**gateway.connections["shop"], "proof": "oauth"}
    gateway.write_config()
    gateway.start()
    yield gateway
    gateway.stop()
    gateway.remove()


def issue(gateway, *extra):
    """Token and key id."""
    out = json.loads(gateway.hansard("token", "--subject", "ci", "--kind", "agent", "--group", "agents", *extra, "-o", "json").stdout)
    assert out["key_id"] == out["id"]
    return out["token"], out["key_id"]


def why(gateway, text):
    found = re.search(r"not admitted \(ref ([0-9a-z-]+)\)", text)
    assert found, text
    return gateway.json("why", found.group(1))["reason"]


def newest_proof(gateway):
    """`proof` of the newest open frame, and all that its events say."""
    def find():
        rows = gateway.json("sessions")
        return rows if rows and not any(s["open"] for s in rows) else None
    session = max(lab.wait_for(find, "closed sessions"), key=lambda s: s["opened"])
    text = gateway.hansard("export", session["id"], "--as", "ndjson", "--events").stdout
    return json.loads(text.splitlines()[0])["open"]["proof"], text


# --- SCRAM, with clients as they are ---


def test_token_tells(gw):
    """Alone on stdout the token; beside it, for people, how to use it."""
    done = gw.hansard("token", "--subject", "ci", "--kind", "agent", "--group", "agents", "--connection", "shop")
    token, key = done.stdout.strip(), re.search(r"user shop\+(\S+) for SCRAM", done.stderr).group(1)
    assert token.startswith("hsd1_") and token not in done.stderr
    assert gw.psql("select 1", token=token, user=f"shop+{key}").stdout == "1\n"
    out = json.loads(gw.hansard("token", "--subject", "ci", "--kind", "agent", "--group", "agents", "--connection", "shop", "-o", "json").stdout)
    assert out["user"] == f"shop+{out['key_id']}"
    assert json.loads(gw.hansard("token", "--subject", "ci", "--kind", "agent", "-o", "json").stdout)["user"] is None


@pytest.mark.parametrize("binding,mechanism,bound", [("require", "SCRAM-SHA-256-PLUS", "tls-server-end-point"), ("disable", "SCRAM-SHA-256", "none")])
def test_psql(gw, binding, mechanism, bound):
    token, key = issue(gw)
    assert gw.psql("select 1", token=token, user=f"shop+{key}", channel_binding=binding).stdout == "1\n"
    proof, text = newest_proof(gw)
    assert proof == {"method": "scram", "mechanism": mechanism, "key_id": key, "channel_binding": bound}
    # Proofs are credentials: nothing of the exchange stands in the record but where it was.
    assert token not in text and ",r=" not in text and "v=" not in text
    for secret in (",r=", "c=biws"):
        assert base64.b64encode(secret.encode()).decode().rstrip("=")[1:-1] not in text


def test_psql_roles_and_routes(gw):
    token, key = issue(gw)
    assert gw.psql("select current_user", token=token, user=f"ro.shop+{key}").stdout == "app_ro\n"
    assert gw.psql("select current_user", token=token, user=f"postgres+{key}", dbname="shop/shop").stdout == "app\n"
    assert gw.psql("select 1", token=token, user=f"by-scram+{key}").stdout == "1\n"
    assert gw.psql("select 1", token=token, user=f"by-oauth+{key}").stdout == "1\n"


def test_libpq_18(gw):
    token, key = issue(gw)
    for extra in ({"require_auth": "scram-sha-256", "channel_binding": "require"}, {"require_auth": "scram-sha-256", "channel_binding": "disable"},
                  {"sslnegotiation": "direct", "channel_binding": "require"}, {"max_protocol_version": "latest"}):
        with pgs.Libpq().connect(gw.conninfo(user=f"shop+{key}", password=token, **extra)) as c:
            assert c.is_open, c.error
            assert c.ask("select 1") == [["1"]]
    with pgs.Libpq().connect(gw.conninfo(user="shop", password=token, require_auth="scram-sha-256")) as c:
        assert not c.is_open and "require" in c.error  # the clear password is not what the client wants


def test_psycopg2(gw):
    psycopg2 = pytest.importorskip("psycopg2")
    token, key = issue(gw)
    with psycopg2.connect(gw.conninfo(user=f"shop+{key}", password=token, channel_binding="require")) as c, c.cursor() as cursor:
        cursor.execute("select %s", ("x",))
        assert cursor.fetchone() == ("x",)
    c.close()
    with pytest.raises(psycopg2.OperationalError, match="not admitted"):
        psycopg2.connect(gw.conninfo(user=f"shop+{key}", password="hsd1_wrong"))


def test_node_postgres(gw):
    modules = npm.install(lab.ROOT / "tests" / "clients")
    if not (modules / "pg").exists():
        pytest.skip("node-postgres is not among the clients that are installed")
    token, key = issue(gw)
    script = """
const { Client } = require('pg'), fs = require('fs');
const c = new Client({ host: 'localhost', port: +process.argv[1], user: process.argv[2], database: 'shop', password: process.env.TOKEN,
  enableChannelBinding: true, ssl: { ca: fs.readFileSync(process.argv[3]) } });
c.connect().then(() => c.query('select 1 as one')).then(r => { console.log(r.rows[0].one); return c.end(); }).catch(e => { console.error(e.message); process.exit(1); });
"""
    done = lab.run(["node", "-e", script, str(gw.port), f"shop+{key}", str(gw.store / "ca.pem")], env={**os.environ, "TOKEN": token, "NODE_PATH": str(modules)}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n"
    proof, _ = newest_proof(gw)
    assert proof["mechanism"] == "SCRAM-SHA-256-PLUS"


def test_wrong_ways(gw):
    token, key = issue(gw)
    other, _ = issue(gw)
    for password, user, reason in ((other, f"shop+{key}", "scram-wrong-proof"), (token, "shop+0000-0000", "scram-unknown-key"),
                                   (token, f"nowhere+{key}", "no-such-connection"), (token, f"nobody.shop+{key}", "no-such-role")):
        done = gw.psql("select 1", token=password, user=user, check=False)
        assert done.returncode != 0 and password not in done.stderr
        assert why(gw, done.stderr) == reason
    gw.hansard("token", "revoke", key)
    assert why(gw, gw.psql("select 1", token=token, user=f"shop+{key}", check=False).stderr) == "revoked-token"
    done = gw.psql("select 1", token=token, user="by-scram", check=False)
    assert "the user name needs the id of a key" in done.stderr and "hansard token" in done.stderr
    restricted, its_key = issue(gw, "--connection", "by-scram")
    assert why(gw, gw.psql("select 1", token=restricted, user=f"shop+{its_key}", check=False).stderr) == "token-for-other-connection"


# --- SCRAM, message by message ---


class Raw:
    """A client of PostgreSQL's protocol that says what a test wants."""

    def __init__(self, port, user):
        s = socket.create_connection(("127.0.0.1", port), timeout=lab.WAIT)
        s.sendall(struct.pack("!ii", 8, 80877103))
        assert s.recv(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.s = context.wrap_socket(s)
        self.data = b""
        self.certificate = self.s.getpeercert(True)
        self.s.sendall(lab.startup(user))

    def say(self, body):
        self.s.sendall(b"p" + struct.pack("!i", len(body) + 4) + body)

    def hear(self):
        """(type, body) of the next message."""
        while len(self.data) < 5 or len(self.data) < 1 + int.from_bytes(self.data[1:5], "big"):
            more = self.s.recv(65536)
            if not more:
                return b"", b""
            self.data += more
        n = 1 + int.from_bytes(self.data[1:5], "big")
        message, self.data = self.data[:n], self.data[n:]
        return message[:1], message[5:]

    def sasl(self):
        kind, body = self.hear()
        assert kind == b"R" and body[:4] == struct.pack("!i", 10), (kind, body)
        return body[4:].rstrip(b"\0").decode().split("\0")

    def first(self, mechanism, message):
        self.say(mechanism.encode() + b"\0" + struct.pack("!i", len(message)) + message.encode())
        return self.hear()

    def error(self, answer=None):
        kind, body = answer or self.hear()
        assert kind == b"E", (kind, body)
        fields = {chr(f[0]): f[1:].decode() for f in body.split(b"\0") if f}
        assert fields["S"] == "FATAL"
        return fields


def client_final(password, first_bare, server_first, gs2=b"n,,", binding=b""):
    parts = dict(p.split("=", 1) for p in server_first.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without = f"c={base64.b64encode(gs2 + binding).decode()},r={parts['r']}"
    auth = f"{first_bare},{server_first},{without}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    return f"{without},p={base64.b64encode(proof).decode()}".encode()


def begin(gw, user, gs2="n,,", mechanism="SCRAM-SHA-256", nonce="fixedclientnonce"):
    c = Raw(gw.port, user)
    assert c.sasl() == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
    kind, body = c.first(mechanism, f"{gs2}n=,r={nonce}")
    return c, kind, body


def test_downgrade(gw):
    """"y" says that we do not offer PLUS. We did: somebody took it away."""
    _, key = issue(gw)
    c, kind, body = begin(gw, f"shop+{key}", gs2="y,,")
    assert why(gw, c.error((kind, body))["M"]) == "scram-downgrade"


def test_bound_to_another_certificate(gw):
    token, key = issue(gw)
    gs2 = "p=tls-server-end-point,,"
    for binding, reason in ((hashlib.sha256(b"another").digest(), "scram-channel-binding"), (b"", "scram-channel-binding")):
        c, kind, body = begin(gw, f"shop+{key}", gs2=gs2, mechanism="SCRAM-SHA-256-PLUS")
        assert kind == b"R"
        c.say(client_final(token, "n=,r=fixedclientnonce", body[4:].decode(), gs2.encode(), binding))
        assert why(gw, c.error()["M"]) == reason
    c, kind, body = begin(gw, f"shop+{key}", gs2=gs2, mechanism="SCRAM-SHA-256-PLUS")
    c.say(client_final(token, "n=,r=fixedclientnonce", body[4:].decode(), gs2.encode(), hashlib.sha256(c.certificate).digest()))
    kind, body = c.hear()
    assert kind == b"R" and body[:4] == struct.pack("!i", 12) and body[4:6] == b"v="


def test_replay(gw):
    """The same client, the same nonce, the message that was right a moment ago: refused."""
    token, key = issue(gw)
    c, _, body = begin(gw, f"shop+{key}")
    final = client_final(token, "n=,r=fixedclientnonce", body[4:].decode())
    c.say(final)
    assert c.hear()[1][:4] == struct.pack("!i", 12)
    again, _, second = begin(gw, f"shop+{key}")
    assert second != body
    again.say(final)
    assert why(gw, again.error()["M"]) == "scram-wrong-proof"
    # Nor does the server's part of the nonce, put into the old message, help.
    third, _, body = begin(gw, f"shop+{key}")
    third.say(re.sub(rb"r=[^,]*", b"r=" + re.search(rb"r=([^,]*)", body).group(1), final))
    assert why(gw, third.error()["M"]) == "scram-wrong-proof"


def test_unknown_keys_look_like_others(gw):
    """The same messages with the same lengths, a salt that stays, the same words at the end."""
    token, key = issue(gw)
    seen = {}
    for name, user in (("known", f"shop+{key}"), ("unknown", "shop+zzzz-zzzz"), ("no such connection", "nowhere+zzzz-zzzz")):
        salts, lengths, words = set(), set(), set()
        for _ in range(3):
            c, kind, body = begin(gw, user)
            assert kind == b"R"
            text = body[4:].decode()
            salts.add(dict(p.split("=", 1) for p in text.split(","))["s"])
            lengths.add(len(text))
            c.say(client_final("wrong", "n=,r=fixedclientnonce", text))
            fields = c.error()
            words.add((fields["C"], re.sub(r"ref \S+\)", "ref)", fields["M"]), tuple(sorted(fields))))
        assert len(salts) == 1
        seen[name] = (lengths, words)
    assert seen["known"] == seen["unknown"] == seen["no such connection"]


def test_nonsense(gw):
    _, key = issue(gw)
    for message in ("", "n", "n,,", "n,,n=,r=", "n,a=x,n=,r=x", "n,,m=y,n=,r=x", "n,,n=,r=" + "x" * 300, "x,,n=,r=x"):
        c = Raw(gw.port, f"shop+{key}")
        c.sasl()
        assert why(gw, c.error(c.first("SCRAM-SHA-256", message))["M"]) == "scram-malformed"
    for mechanism in ("SCRAM-SHA-1", "OAUTHBEARER", ""):
        c = Raw(gw.port, f"shop+{key}")
        c.sasl()
        assert c.error(c.first(mechanism, "n,,n=,r=x"))["C"] == "08P01"
    assert gw.psql("select 1").stdout == "1\n"


def test_keeper_goes_in_between(gw):
    """The exchange is the keeper's: with it goes the exchange, and the client is told to come again."""
    token, key = issue(gw)
    c, _, body = begin(gw, f"shop+{key}")
    old = gw.children()["keeper"]
    os.kill(old, signal.SIGKILL)
    lab.wait_for(lambda: gw.children().get("keeper", old) != old and gw.hansard("status", check=False).returncode == 0, "another keeper")
    c.say(client_final(token, "n=,r=fixedclientnonce", body[4:].decode()))
    assert c.error()["C"] == "57P01"
    assert gw.psql("select 1", token=token, user=f"shop+{key}").stdout == "1\n"


def test_clients_that_leave(gw):
    """Exchanges go with their connections: many more than there is room for, one after the other."""
    _, key = issue(gw)
    for _ in range(50):
        c, kind, _ = begin(gw, f"shop+{key}")
        assert kind == b"R"
        c.s.close()
    assert gw.psql("select 1").stdout == "1\n"


# --- somebody in between ---


class Between:
    """Ends TLS with a certificate of its own and passes everything on, through TLS to the gateway."""

    def __init__(self, port):
        self.dir = lab.short_dir("mitm")
        _, cert, key = lab.make_ca(self.dir, "mitm")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(client,), daemon=True).start()

    def one(self, client):
        client.recv(8, socket.MSG_WAITALL)
        client.sendall(b"S")
        client = self.context.wrap_socket(client, server_side=True)
        up = socket.create_connection(("127.0.0.1", self.target))
        up.sendall(struct.pack("!ii", 8, 80877103))
        up.recv(1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        up = context.wrap_socket(up)
        threading.Thread(target=self.pump, args=(client, up), daemon=True).start()
        self.pump(up, client)

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            s.close()


def test_somebody_in_between(gw):
    """sslmode=require checks no certificate; the proof does, and gives nothing away that could be used."""
    token, key = issue(gw)
    between = Between(gw.port)
    env = {**os.environ, "PGPASSWORD": token}
    done = lab.run(["psql", f"host=127.0.0.1 port={between.port} user=shop+{key} dbname=shop sslmode=require", "-XAtc", "select 1"], check=False, env=env)
    assert done.returncode != 0
    assert why(gw, done.stderr) == "scram-channel-binding"
    between.listener.close()


# --- OAUTHBEARER ---

HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
BEARER_TOKEN = 1


class Request(ctypes.Structure):
    """PGoauthBearerRequest of libpq 18."""
    _fields_ = [("configuration", ctypes.c_char_p), ("scope", ctypes.c_char_p), ("poll", ctypes.c_void_p), ("cleanup", ctypes.c_void_p),
                ("token", ctypes.c_char_p), ("user", ctypes.c_void_p)]


class Oauth:
    """libpq 18 with a hook that hands out a token; what it was asked with stands in `asked`."""

    def __init__(self, token):
        self.libpq = pgs.Libpq()
        self.token = token.encode()
        self.asked = []
        self.hook = HOOK(self.answer)

    def answer(self, kind, _conn, data):
        if kind != BEARER_TOKEN:
            return 0
        request = ctypes.cast(data, ctypes.POINTER(Request)).contents
        self.asked.append((request.configuration.decode(), (request.scope or b"").decode()))
        request.token = self.token
        return 1

    def connect(self, conninfo):
        self.libpq.c.PQsetAuthDataHook(self.hook)
        try:
            return self.libpq.connect(conninfo)
        finally:
            self.libpq.c.PQsetAuthDataHook(None)


def oauth(gw, issuer, token, user="shop+oauth", **extra):
    one = Oauth(token)
    info = gw.conninfo(user=user, require_auth="oauth", oauth_issuer=issuer.url, oauth_client_id="hansard", **extra)
    return one, one.connect(info)


def test_oauth_libpq(gw, issuer):
    """The first connection asks where tokens are to be had; the second brings one."""
    for token, subject in ((issuer.token(sub="bob"), "idp:bob"), (gw.token(), "local:ci")):
        for user in ("shop+oauth", "by-oauth", "ro.shop+oauth"):
            one, connection = oauth(gw, issuer, token, user)
            with connection as c:
                assert c.is_open, c.error
                assert c.ask("select 1") == [["1"]]
            assert one.asked == [(f"{issuer.url}/.well-known/openid-configuration", "openid")]
        proof, text = newest_proof(gw)
        assert proof == {"method": "oauth", "mechanism": "OAUTHBEARER", "key_id": "", "channel_binding": "none"}
        assert subject in text and token not in text and "auth=Bearer" not in text


def test_oauth_refused(gw, issuer):
    for token, reason in ((issuer.token(exp=1), "token-expired"), (issuer.token(aud="other"), "token-audience"), ("x.y.z", "malformed-proof"),
                          ("hsd1_" + "0" * 47, "malformed-proof")):
        _, connection = oauth(gw, issuer, token)
        with connection as c:
            assert not c.is_open and token not in c.error
            assert why(gw, c.error) == reason


def test_oauth_messages(gw, issuer):
    """What the wire says, and in which order."""
    for message in (b"n,,\x01auth=\x01\x01", b"n,,\x01auth=Bearer nonsense\x01\x01"):
        c = Raw(gw.port, "shop+oauth")
        assert c.sasl() == ["OAUTHBEARER"]
        kind, body = c.first("OAUTHBEARER", message.decode())
        assert kind == b"R" and body[:4] == struct.pack("!i", 11)
        assert json.loads(body[4:]) == {"status": "invalid_token", "scope": "openid", "openid-configuration": f"{issuer.url}/.well-known/openid-configuration"}
        c.say(b"\x01")
        fields = c.error()
        assert fields["C"] == "28000"
        assert why(gw, fields["M"]) == ("oauth-discovery" if b"nonsense" not in message else "malformed-proof")
    for message in ("", "n,,", "n,,\x01\x01", "p=tls-unique,,\x01auth=\x01\x01", "n,,\x01auth=Basic x\x01\x01"):
        c = Raw(gw.port, "shop+oauth")
        c.sasl()
        assert c.error(c.first("OAUTHBEARER", message))["C"] == "08P01"


def test_discovery_is_no_wrong_proof(binary, pg, issuer):
    """A limit of two wrong proofs a minute: asking where tokens are to be had is none, a wrong SCRAM proof is one."""
    gateway = lab.Gateway(binary, pg, gateway={"identity": {"local": {}}, "limits": {"failed_proofs": 2}})
    try:
        gateway.start()
        token, key = issue(gateway)
        for _ in range(5):
            c = Raw(gateway.port, "shop+oauth")
            c.sasl()
            _, body = c.first("OAUTHBEARER", "n,,\x01auth=\x01\x01")
            assert json.loads(body[4:]) == {"status": "invalid_token", "scope": "openid"}  # no issuer: none is named
            c.say(b"\x01")
            assert why(gateway, c.error()["M"]) == "oauth-discovery"
        reasons = [why(gateway, gateway.psql("select 1", token="wrong", user=f"shop+{key}", check=False).stderr) for _ in range(3)]
        assert reasons == ["scram-wrong-proof", "scram-wrong-proof", "too-many-failures"]
        assert gateway.psql("select 1", token=token, user=f"shop+{key}").stdout == "1\n"  # who has a right one gets in
        done = gateway.psql("select 1", token=token, user="shop")  # and the clear password is what an unmarked name means
        assert done.stdout == "1\n"
        proof, _ = newest_proof(gateway)
        assert proof == {"method": "password", "mechanism": "", "key_id": "", "channel_binding": "none"}
    finally:
        gateway.stop()
        gateway.remove()


def test_what_unknown_connections_ask_for(gw):
    """The built-in default, whatever others say."""
    for user in ("nowhere", "shop"):
        assert Raw(gw.port, user).hear() == (b"R", struct.pack("!i", 3))
    assert Raw(gw.port, "by-oauth").sasl() == ["OAUTHBEARER"]
