"""How a session begins: versions of protocol and server, TLS of every kind, cancel keys, routing, replication."""

import json
import os
import socket
import ssl
import struct
import threading
import time

import pytest

import lab
import pgs

SERVERS = ("12", "15", "16", "17", "18")
DOMAIN = "pg.gateway.example"


def connection_to(server, **extra):
    return {
        "protocol": "postgres",
        "address": f"127.0.0.1:{server.port}",
        "databases": {"default": "shop", "allow": ["shop", "postgres"]},
        "tls": {"mode": "verify-full", "ca": str(server.ca), **extra.pop("tls", {})},
        "roles": {"default": {"user": "app", "password": {"file": str(server.secret)}, **extra.pop("role", {})},
                  "ro": {"user": "app_ro", "password": {"file": str(server.secret_ro)}}},
        "access": [{"groups": ["agents"], "roles": ["default", "ro"]}],
        **extra,
    }


@pytest.fixture(scope="module")
def servers():
    """version → server, each started when first asked for."""
    started = {}

    def get(version):
        if version not in started:
            server = pgs.server(version).__enter__()
            started[version] = server
            for name, role in (("secret", "app"), ("secret_ro", "app_ro")):
                path = server.dir / name
                path.write_text(server.passwords[role])
                path.chmod(0o600)
                setattr(server, name, path)
        return started[version]

    yield get
    for server in started.values():
        server.__exit__()


@pytest.fixture(scope="module")
def everything(binary, servers):
    """One gateway in front of all versions; 17 and 18 by direct TLS as well."""
    connections = {f"pg{v}": connection_to(servers(v)) for v in SERVERS}
    for v in ("16", "17", "18"):
        connections[f"direct{v}"] = connection_to(servers(v), tls={"negotiation": "direct"})
    for v in SERVERS:
        connections[f"bound{v}"] = connection_to(servers(v), role={"channel_binding": "require"})
    connections["bound-plain"] = connection_to(servers("18"), role={"channel_binding": "disable"})
    gateway = lab.Gateway(binary, servers("15"), connections=connections, gateway={"listen": {}})
    gateway.gateway_spec["listen"] = {"postgres": f"127.0.0.1:{gateway.port}", "domain": DOMAIN}
    gateway.write_config()
    gateway.start()
    yield gateway
    gateway.stop()
    gateway.remove()


@pytest.fixture(scope="module")
def libpq():
    return pgs.Libpq()


def connect(libpq, gateway, user, token=None, **extra):
    host = {"host": "localhost", "hostaddr": "127.0.0.1", **extra}
    return libpq.connect(gateway.conninfo(user=user, password=token or gateway.token(), **host))


def sessions_of(gateway, connection):
    """Closed sessions of a connection, newest first."""
    def find():
        found = [s for s in gateway.json("sessions") if s["connection"] == connection]
        return found if found and not any(s["open"] for s in found) else None
    return sorted(lab.wait_for(find, f"closed sessions of {connection}"), key=lambda s: s["opened"], reverse=True)


def events_of(gateway, session):
    return [json.loads(line) for line in gateway.hansard("export", session["id"], "--as", "ndjson", "--events").stdout.splitlines()]


def facts_of(gateway, connection):
    """Facts of the newest session of a connection, by name, and its open frame."""
    lines = events_of(gateway, sessions_of(gateway, connection)[0])
    facts = {e["name"]: e.get("value", e.get("text")) for e in lines if e.get("type") == "event" and e.get("event") == "fact"}
    return facts, lines[0]["open"]


# --- versions ---


@pytest.mark.parametrize("version", SERVERS)
def test_versions(everything, libpq, version):
    """3.0 and 3.2 to every server; the minor in force and SCRAM-PLUS stand in the record."""
    for asked, spoken in (("3.0", 30000), ("latest", 30002)):
        with connect(libpq, everything, f"pg{version}", max_protocol_version=asked) as c:
            assert c.is_open, c.error
            assert c.full_version == spoken
            assert c.ask("show server_version")[0][0].startswith(version + ".")
            assert c.ask("select current_user") == [["app"]]
            if version == "18":
                assert c.status("search_path") is not None
    facts, opened = facts_of(everything, f"pg{version}")
    assert facts["protocol"] == f"3.2 with the client, 3.{2 if version == '18' else 0} with the target"
    assert facts["target_login"] == "SCRAM-SHA-256-PLUS"
    assert opened["client"]["routed_by"] == "user" and opened["client"]["replication"] is False


@pytest.mark.parametrize("version", SERVERS)
def test_channel_binding_required(everything, version):
    assert everything.psql("select 1", user=f"bound{version}").stdout == "1\n"


def test_channel_binding_disabled(everything):
    assert everything.psql("select 1", user="bound-plain").stdout == "1\n"
    assert facts_of(everything, "bound-plain")[0]["target_login"] == "SCRAM-SHA-256"


@pytest.mark.parametrize("version", ("17", "18"))
def test_direct_tls_to_the_target(everything, libpq, version):
    with connect(libpq, everything, f"direct{version}", max_protocol_version="latest") as c:
        assert c.is_open, c.error
        assert c.ask("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == [["t"]]
        cancels(c)


def test_direct_tls_to_a_target_that_has_none(everything):
    done = everything.psql("select 1", user="direct16", check=False)
    assert done.returncode != 0 and "login at the target failed" in done.stderr


# --- cancel ---


def cancels(c):
    c.send("select pg_sleep(60)")
    began = time.monotonic()
    canceller = threading.Timer(0.3, c.cancel)
    canceller.start()
    status, error, _ = c.result()
    canceller.join()
    assert status not in pgs.COMMANDS and "canceling statement due to user request" in error
    assert time.monotonic() - began < 20
    assert c.result() is None
    assert c.ask("select 1") == [["1"]]


@pytest.mark.parametrize("version", ("12", "18"))
@pytest.mark.parametrize("asked", ("3.0", "3.2"))
@pytest.mark.parametrize("negotiation", ("postgres", "direct"))
def test_cancel(everything, libpq, version, asked, negotiation):
    with connect(libpq, everything, f"pg{version}", max_protocol_version=asked, sslnegotiation=negotiation) as c:
        assert c.is_open, c.error
        cancels(c)


# --- the first packets, raw ---


def plain(gateway):
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=lab.WAIT)


def in_tls(gateway, s, alpn=None, name="localhost"):
    context = ssl.create_default_context(cafile=gateway.store / "ca.pem")
    if alpn:
        context.set_alpn_protocols(alpn)
    return context.wrap_socket(s, server_hostname=name)


def packet(code, body=b""):
    return struct.pack("!ii", 8 + len(body), code) + body


SSL, GSS, CANCEL = 80877103, 80877104, 80877102


def start_packet(minor, major=3, **params):
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in params.items()) + b"\0"
    return packet(major << 16 | minor, body)


def ask_tls(gateway):
    s = plain(gateway)
    s.sendall(packet(SSL))
    assert s.recv(1) == b"S"
    return s


def test_negotiation_as_postgresql_18(everything):
    v32 = struct.pack("!i", 0x00030002)
    cases = [
        (9999, {"_pq_.test_protocol_negotiation": ""}, v32 + struct.pack("!i", 1) + b"_pq_.test_protocol_negotiation\0"),
        (9999, {}, v32 + struct.pack("!i", 0)),
        (2, {"_pq_.foo": "x"}, v32 + struct.pack("!i", 1) + b"_pq_.foo\0"),
        (1, {}, None),
        (2, {}, None),
        (0, {}, None),
    ]
    for minor, options, expected in cases:
        with in_tls(everything, ask_tls(everything), ["postgresql"]) as t:
            t.sendall(start_packet(minor, user="pg18", **options))
            got = list(lab.messages(t.recv(4096)))
            if expected is not None:
                assert got.pop(0) == (b"v", expected)
                if not got:
                    got = list(lab.messages(t.recv(4096)))
            assert got == [(b"R", struct.pack("!i", 3))]
    with in_tls(everything, ask_tls(everything)) as t:
        t.sendall(start_packet(0, major=4, user="pg18"))
        assert lab.error_fields(lab.read_all(t))["C"] == "0A000"


def test_direct_tls_needs_alpn(everything):
    """Without ALPN: the handshake works, and then there is the end, without a byte."""
    with in_tls(everything, plain(everything)) as t:
        t.sendall(start_packet(0, user="pg18"))
        assert lab.read_all(t) == b""
    with pytest.raises(ssl.SSLError):
        in_tls(everything, plain(everything), ["http/1.1", "h2"])
    with in_tls(everything, plain(everything), ["h2", "postgresql"]) as t:
        assert t.selected_alpn_protocol() == "postgresql"
        t.sendall(start_packet(0, user="pg18"))
        assert list(lab.messages(t.recv(4096))) == [(b"R", struct.pack("!i", 3))]


def test_first_packets_in_any_pieces(everything):
    """ClientHello byte by byte is one TLS handshake all the same."""
    context = ssl.create_default_context(cafile=everything.store / "ca.pem")
    context.set_alpn_protocols(["postgresql"])
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(into, out, server_hostname="localhost")
    with plain(everything) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in out.read():
                    s.sendall(bytes([byte]))
                into.write(s.recv(65536))
        tls.write(start_packet(0, user="pg18"))
        s.sendall(out.read())
        into.write(s.recv(65536))
        assert tls.read(4096) == b"R" + struct.pack("!ii", 8, 3)


def test_gssenc_then_tls(everything):
    with plain(everything) as s:
        s.sendall(packet(GSS))
        assert s.recv(1) == b"N"
        s.sendall(packet(SSL))
        assert s.recv(1) == b"S"
        with in_tls(everything, s) as t:
            t.sendall(start_packet(0, user="pg18"))
            assert t.recv(1) == b"R"


def test_tls_cannot_be_asked_for_twice(everything):
    with in_tls(everything, ask_tls(everything)) as t:
        t.sendall(packet(SSL))
        assert lab.error_fields(lab.read_all(t))["C"] == "08P01"


@pytest.mark.parametrize("behind", (b"x", start_packet(0, user="pg18"), packet(GSS)))
def test_plaintext_behind_sslrequest(everything, behind):
    """CVE-2021-23214: what came before TLS was said by nobody who is inside it."""
    with plain(everything) as s:
        s.sendall(packet(SSL) + behind)
        assert lab.read_all(s) in (b"", b"S")


# --- routing ---


def test_route_by_server_name(everything, libpq):
    with connect(libpq, everything, "ro", host=f"pg16.{DOMAIN}") as c:
        assert c.is_open, c.error
        assert c.ask("select current_user, current_database()") == [["app_ro", "shop"]]
    opened = facts_of(everything, "pg16")[1]
    assert opened["client"]["routed_by"] == "server_name" and opened["client"]["server_name"] == f"pg16.{DOMAIN}"
    assert opened["role"] == "ro"
    with connect(libpq, everything, "postgres", host=f"pg16.{DOMAIN}", dbname="postgres", sslnegotiation="direct") as c:
        assert c.is_open, c.error
        assert c.ask("select current_user, current_database()") == [["app", "shop"]]
    with connect(libpq, everything, "nobody.x", host=f"pg16.{DOMAIN}") as c:
        assert not c.is_open and "not admitted (ref" in c.error


def test_route_by_database(everything, libpq):
    with connect(libpq, everything, "postgres", dbname="pg17/") as c:
        assert c.is_open, c.error
        assert c.ask("select current_user, current_database()") == [["app", "shop"]]
    opened = facts_of(everything, "pg17")[1]
    assert opened["client"]["routed_by"] == "database" and opened["role"] == "default"
    with connect(libpq, everything, "ro", dbname="pg17/postgres") as c:
        assert c.is_open, c.error
        assert c.ask("select current_user, current_database()") == [["app_ro", "postgres"]]


def test_the_user_name_wins(everything, libpq):
    with connect(libpq, everything, "pg12", host=f"pg16.{DOMAIN}", dbname="shop") as c:
        assert c.ask("show server_version")[0][0].startswith("12.")


def test_unknown_routes_are_refused_as_unknown_connections(everything, libpq):
    """The same words, and only behind the proof; without a proof a known one says them as well."""
    said = set()
    for user, host, dbname, token in (("nowhere", "localhost", "none", None), ("nowhere", f"nothing.{DOMAIN}", "none/at", None),
                                      ("pg12", "localhost", "shop", "hsd1_wrong")):
        with connect(libpq, everything, user, token=token, host=host, dbname=dbname) as c:
            assert not c.is_open
            said.add(c.error.split("FATAL:")[1].split("(ref")[0].strip())
    assert said == {"not admitted"}


# --- replication ---


@pytest.fixture(scope="module")
def replicating(binary, servers):
    server = pgs.server("15", {"wal_level": "logical"})
    with server:
        shop = {"protocol": "postgres", "address": f"127.0.0.1:{server.port}", "databases": {"default": "shop"},
                "tls": {"mode": "verify-full", "ca": str(server.ca)}, "replication": "allow",
                "roles": {"default": {"user": "app_super", "auth": "trust"}, "logical": {"user": "app_super", "password": {"env": "PW_APP_SUPER"}}},
                "access": [{"groups": ["agents"], "roles": ["default", "logical"]}]}
        gateway = lab.Gateway(binary, server, connections={"repl": shop})
        gateway.start()
        yield gateway, server
        gateway.stop()
        gateway.remove()


def client_env(gateway):
    return {**os.environ, "PGPASSWORD": gateway.token(), "LC_ALL": "C.UTF-8"}


def commands_of(gateway, connection):
    return [e for session in sessions_of(gateway, connection) for e in events_of(gateway, session) if e.get("type") == "command"]


def test_replication_is_refused_by_default(everything):
    done = lab.run(["psql", everything.conninfo(user="pg15", replication="database"), "-XAtc", "IDENTIFY_SYSTEM"], check=False, env=client_env(everything))
    assert done.returncode != 0 and "replication connections are refused by this connection" in done.stderr
    ref = done.stderr.split("(ref ")[1].split(")")[0]
    assert "spec.replication" in everything.hansard("why", ref).stdout


def test_basebackup(replicating, tmp_path):
    gateway, server = replicating
    target = tmp_path / "backup"
    lab.run(["pg_basebackup", "-d", gateway.conninfo(user="repl", dbname="replication"), "-D", target, "-X", "stream", "-c", "fast"], env=client_env(gateway))
    lab.run([server.bindir / "pg_verifybackup", target])
    verbs = {c["text"].split()[0] for c in commands_of(gateway, "repl")}
    assert {"BASE_BACKUP", "START_REPLICATION"} <= verbs


def test_receivewal(replicating, tmp_path):
    gateway, server = replicating
    target = tmp_path / "wal"
    target.mkdir()
    process = lab.subprocess.Popen(["pg_receivewal", "-d", gateway.conninfo(user="repl", dbname="replication"), "-D", target, "--synchronous"],
                                   env=client_env(gateway), stderr=lab.subprocess.PIPE)
    try:
        lab.wait_for(lambda: server.sql("shop", "select 1 from pg_stat_replication where state = 'streaming'").strip(), "a walsender that streams")
        server.sql("shop", "create table received as select g from generate_series(1, 20000) g")
        server.sql("shop", "select pg_switch_wal()")
        server.sql("shop", "create table more as select 1")
        lab.wait_for(lambda: [p for p in target.iterdir() if len(p.name) == 24], "a whole segment")
    finally:
        process.send_signal(lab.signal.SIGINT)
        assert process.wait(lab.WAIT) == 0, process.stderr.read()
    for path in target.iterdir():
        if len(path.name) == 24:
            assert path.read_bytes() == (server.data / "pg_wal" / path.name).read_bytes()


def test_recvlogical(replicating, tmp_path):
    gateway, server = replicating
    out = tmp_path / "changes"
    common = ["pg_recvlogical", "-d", gateway.conninfo(user="logical.repl"), "--slot", "tail"]
    lab.run([*common, "--create-slot", "-P", "test_decoding"], env=client_env(gateway))
    server.sql("shop", "update orders set qty = 77 where id = 5")
    end = server.sql("shop", "select pg_current_wal_lsn()").strip()
    lab.run([*common, "--start", "-f", out, "--endpos", end], env=client_env(gateway))
    assert "table public.orders: UPDATE: id[integer]:5" in out.read_text()
    lab.run([*common, "--drop-slot"], env=client_env(gateway))
    assert any(c["text"].startswith("START_REPLICATION SLOT \"tail\" LOGICAL") and c["status"] == "ok" for c in commands_of(gateway, "repl"))


# --- large objects (FunctionCall) ---


def test_large_objects(everything, libpq):
    data = os.urandom(300_000)
    for version in ("12", "18"):
        with connect(libpq, everything, f"pg{version}") as c:
            c.ask("begin")
            oid = libpq.c.lo_creat(c.p, 0x60000)
            assert oid > 0, c.error
            fd = libpq.c.lo_open(c.p, oid, 0x60000)
            assert libpq.c.lo_write(c.p, fd, data, len(data)) == len(data)
            assert libpq.c.lo_lseek(c.p, fd, 0, 0) == 0
            back = pgs.ctypes.create_string_buffer(len(data))
            assert libpq.c.lo_read(c.p, fd, back, len(data)) == len(data) and back.raw == data
            assert libpq.c.lo_close(c.p, fd) == 0
            assert libpq.c.lo_unlink(c.p, oid) == 1
            assert libpq.c.lo_open(c.p, 4_000_000, 0x40000) < 0 and "does not exist" in c.error
            c.ask("rollback")
            assert c.ask("select 1") == [["1"]]


# --- channel binding against real servers ---


def new_certificate(server, *how):
    """Another self-signed certificate for a running server; returns it."""
    cert, key = server.dir / "pg-cert.pem", server.dir / "pg-key.pem"
    made = [server.dir / "new-cert.pem", server.dir / "new-key.pem"]
    lab.run(["openssl", "req", "-x509", "-nodes", "-newkey", *how, "-keyout", made[1], "-out", made[0], "-days", "9", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
    cert.write_bytes(made[0].read_bytes())
    key.write_bytes(made[1].read_bytes())
    server.sql("postgres", "select pg_reload_conf()")
    ca = server.dir / "trusted.pem"
    ca.write_bytes(made[0].read_bytes())
    return ca


def served_by(server, cert):
    """True when the server shows that certificate: a reload takes a moment."""
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(packet(SSL))
        assert s.recv(1) == b"S"
        context = ssl._create_unverified_context()
        with context.wrap_socket(s) as t:
            return t.getpeercert(True) == ssl.PEM_cert_to_DER_cert(cert.read_text())


CERTIFICATES = {
    "sha384": (("rsa:2048", "-sha384"), "SCRAM-SHA-256-PLUS"),
    "sha512": (("rsa:2048", "-sha512"), "SCRAM-SHA-256-PLUS"),
    "ecdsa-sha512": (("ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha512"), "SCRAM-SHA-256-PLUS"),
    "ed25519": (("ed25519",), "SCRAM-SHA-256"),
}


@pytest.fixture(scope="module")
def recertified(binary):
    with pgs.server("15") as server:
        for name, role in (("secret", "app"), ("secret_ro", "app_ro")):
            path = server.dir / name
            path.write_text(server.passwords[role])
            setattr(server, name, path)
        yield server


@pytest.mark.parametrize("kind", CERTIFICATES)
def test_certificates_to_bind_to(binary, recertified, kind):
    how, mechanism = CERTIFICATES[kind]
    recertified.ca = new_certificate(recertified, *how)
    lab.wait_for(lambda: served_by(recertified, recertified.ca), "the new certificate")
    gateway = lab.Gateway(binary, recertified, connections={
        "bound": connection_to(recertified), "must": connection_to(recertified, role={"channel_binding": "require"})})
    gateway.start()
    try:
        assert gateway.psql("select 1", user="bound").stdout == "1\n"
        assert facts_of(gateway, "bound")[0]["target_login"] == mechanism
        done = gateway.psql("select 1", user="must", check=False)
        if mechanism == "SCRAM-SHA-256-PLUS":
            assert done.stdout == "1\n"
        else:
            assert "login at the target failed" in done.stderr
            assert "no hash to bind to" in facts_of(gateway, "must")[0]["login_error"]
    finally:
        gateway.stop()
        gateway.remove()


class InBetween:
    """Ends TLS with the gateway, begins it with the target, and may take the offer of PLUS away."""

    def __init__(self, directory, target, strips):
        _, self.cert, self.key = lab.make_ca(directory, "between")
        self.target, self.strips = target, strips
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        s.recv(8)
        s.sendall(b"S")
        client = context.wrap_socket(s, server_side=True)
        up = socket.create_connection(("127.0.0.1", self.target))
        up.sendall(packet(SSL))
        up.recv(1)
        target = ssl._create_unverified_context().wrap_socket(up)
        threading.Thread(target=self.pump, args=(client, target, False), daemon=True).start()
        self.pump(target, client, True)

    def pump(self, source, sink, is_target):
        try:
            while data := source.recv(65536):
                if is_target and self.strips and b"SCRAM-SHA-256-PLUS\0" in data:
                    data = data.replace(b"SCRAM-SHA-256-PLUS\0", b"")
                    data = data[:1] + struct.pack("!i", len(data) - 1) + data[5:]
                if not is_target:
                    self.seen += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.parametrize("strips", (False, True))
def test_somebody_in_between(binary, servers, tmp_path, strips):
    """Behind a certificate that is not checked: PLUS, or the y of a missing offer, gives him away."""
    server = servers("18")
    between = InBetween(tmp_path, server.port, strips)
    address = {"address": f"127.0.0.1:{between.port}", "tls": {"mode": "require"}}
    connections = {}
    for binding in ("prefer", "require", "disable"):
        connections[binding] = {**connection_to(server, role={"channel_binding": binding}), **address}
    gateway = lab.Gateway(binary, server, connections=connections)
    gateway.start()
    try:
        assert gateway.psql("select 1", user="disable").stdout == "1\n"  # he could
        for user in ("prefer", "require"):
            done = gateway.psql("select 1", user=user, check=False)
            assert done.returncode != 0 and "login at the target failed" in done.stderr
        assert (b"y,,n=" in between.seen) == strips
        assert (b"p=tls-server-end-point,,n=" in between.seen) != strips
    finally:
        gateway.stop()
        gateway.remove()
        between.listener.close()


# --- reading it back ---


def test_replication_reads_back(replicating):
    """What a walsender said is in the record, and readers take it in their stride."""
    gateway, _ = replicating
    for session in sessions_of(gateway, "repl"):
        assert gateway.hansard("show", session["id"]).returncode == 0
        assert gateway.hansard("play", session["id"]).returncode == 0
    assert gateway.hansard("verify").returncode in (0, 3)


# --- before admission ---


@pytest.fixture
def narrow(make_gateway):
    return make_gateway(gateway={"limits": {"preadmission": 8, "admission_timeout": "2s"}})


def is_closed(s):
    s.setblocking(False)
    try:
        return s.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_silent_connections_make_room_and_end(narrow):
    """At most 8 wait; the oldest gives way, one that proves itself gets in; the rest end at the deadline."""
    silent = [plain(narrow) for _ in range(8)]
    silent += [ask_tls(narrow) for _ in range(8)]
    lab.wait_for(lambda: all(is_closed(s) for s in silent[:8]), "the oldest to be closed", 1.5)
    assert narrow.psql("select 1").stdout == "1\n"
    lab.wait_for(lambda: all(is_closed(s) for s in silent), "the deadline", 10)
    assert narrow.psql("select 1").stdout == "1\n"


@pytest.mark.parametrize("size", (10001, 16 * 1024, 1 << 20))
def test_nobody_is_heard_for_long_before_admission(everything, size):
    """A startup packet has 10000 bytes at most; what comes is neither kept nor answered with more."""
    with in_tls(everything, ask_tls(everything)) as t:
        try:
            t.sendall(struct.pack("!ii", size, 196608) + b"x" * (size - 8))
        except (ConnectionResetError, BrokenPipeError):
            return
        assert lab.error_fields(lab.read_all(t)).get("C") == "08P01"


def test_check_looks_for_the_domain_in_the_certificate(everything, tmp_path):
    _, cert, key = lab.make_ca(tmp_path, "own")
    config = tmp_path / "hansard.yaml"
    listen = {"postgres": f"127.0.0.1:{everything.port}", "domain": DOMAIN, "tls": {"cert": str(cert), "key": str(key)}}
    gateway = {"apiVersion": "hansard/v1", "kind": "Gateway", "spec": {"listen": listen}}
    config.write_text(json.dumps(gateway))
    said = lab.run([everything.binary, "check", "--config", config], check=False)
    assert f"the certificate does not carry *.{DOMAIN}" in said.stdout + said.stderr
    lab.run(["openssl", "req", "-x509", "-key", key, "-out", cert, "-days", "30", "-subj", "/CN=x", "-addext", f"subjectAltName=DNS:*.{DOMAIN}"])
    said = lab.run([everything.binary, "check", "--config", config], check=False)
    assert "does not carry" not in said.stdout + said.stderr
