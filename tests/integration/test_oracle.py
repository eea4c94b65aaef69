"""What went over the wire is what stands in the record, byte for byte (all four streams)."""

import base64
import json
import os
import shutil
import subprocess

import pytest

import lab
import tee

STREAMS = "CUTR"


class Streams:
    """Rebuilds C, U, T, R from exported events as docs/record-format.md §4 says; holes are (offset, length)."""

    def __init__(self, events):
        self.bytes = {s: bytearray() for s in STREAMS}
        self.holes = {s: [] for s in STREAMS}
        for e in sorted(events, key=lambda e: e["seq"]):
            kind, stream = e["event"], e.get("stream")
            data = e["text"].encode() if "text" in e else base64.b64decode(e.get("base64", ""))
            if kind == "raw":
                assert e["offset"] == len(self.bytes[stream]), "a hole in the stream"
                self.add(stream, data)
                self.add("U" if stream == "C" else "R", data)
            elif kind in ("dropped", "injected"):
                self.add(stream, data)
            elif kind in ("hidden", "digest", "withheld"):
                for where in (stream, "U" if stream == "C" else "R"):
                    self.holes[where].append((len(self.bytes[where]), e["length"]))
                    self.add(where, b"\0" * e["length"])
            elif kind == "redacted":
                self.holes[stream].append((len(self.bytes[stream]), e["length"]))
                self.add(stream, b"\0" * e["length"])

    def add(self, stream, data):
        self.bytes[stream] += data

    def matches(self, stream, wire):
        """True when the stream is the wire's bytes; redacted spans match anything of their length."""
        wire = bytearray(wire)
        for offset, length in self.holes[stream]:
            wire[offset:offset + length] = b"\0" * len(wire[offset:offset + length])
        return bytes(wire) == bytes(self.bytes[stream])


def exported(gateway, session):
    lines = [json.loads(x) for x in gateway.hansard("export", session, "--as", "ndjson", "--events").stdout.splitlines()]
    return [x for x in lines if x["type"] == "event"]


@pytest.fixture
def teed(make_gateway, pg):
    server_side = tee.Tee(("127.0.0.1", pg.port))
    gateway = make_gateway(address=f"127.0.0.1:{server_side.port}", tls="disable")
    client_side = tee.Tee(("127.0.0.1", gateway.port), cafile=gateway.store / "ca.pem")
    gateway.used = gateway.token()
    yield gateway, client_side, server_side
    client_side.close()
    server_side.close()


SCRIPTS = {
    "simple": ["-c", "select 1; select 'two', generate_series(1, 500); update orders set qty = qty", "-c", "select 1/0", "-c", "begin; insert into orders values (9999, 'x', 1); rollback"],
    "notice_notify": ["-c", "do $$ begin raise notice 'hello'; end $$", "-c", "listen ch; notify ch, 'payload'", "-c", "show server_version"],
    "copy": ["-c", "create temp table t(a int, b text)", "-c", "copy t from program 'false'", "-c", "copy (select g, repeat('y', 100) from generate_series(1, 5000) g) to stdout"],
    "large": ["-c", "select repeat('z', 3000000)", "-c", "select length('" + "q" * 100000 + "')"],
    "copy_in": ["-c", "create temp table t(a int, b text)", "-c", "\\copy t from '{rows}'", "-c", "select count(*), sum(length(b)) from t"],
    "prepare": ["-c", "prepare p(int) as select * from orders where id = $1", "-c", "execute p(3)", "-c", "execute p('x')", "-c", "deallocate p"],
    "cursor": ["-c", "begin; declare c cursor for select * from orders; fetch 10 from c; close c; commit"],
}


def compare(gateway, client_side, server_side):
    for side in (client_side, server_side):
        for talk in side.conversations:
            assert talk.done.wait(lab.WAIT)
    sid = lab.wait_for(lambda: next((s["id"] for s in gateway.json("sessions") if not s["open"]), None), "the session to close")
    got = Streams(exported(gateway, sid))
    client, server = client_side.conversations[-1], server_side.conversations[-1]
    # Nothing but credentials is left out: the token, what the gateway said to log in, cancel keys.
    assert [length for _, length in got.holes["C"]] == [5 + len(gateway.used) + 1], got.holes
    assert [length for _, length in got.holes["R"]] == [13] and sum(n for _, n in got.holes["U"] + got.holes["T"]) < 1024, got.holes
    for stream in STREAMS:
        assert gateway.used.encode() not in got.bytes[stream]
    assert gateway.used.encode() in client.up and gateway.used.encode() not in server.up
    assert got.matches("C", client.up), "C"
    assert got.matches("R", client.down), "R"
    assert got.matches("U", server.up), "U"
    assert got.matches("T", server.down), "T"
    return got, server


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_psql(teed, name):
    gateway, client_side, server_side = teed
    env = {**os.environ, "PGPASSWORD": gateway.used}
    rows = gateway.dir / "rows"
    rows.write_text("".join(f"{i}\t{'r' * (i % 900)}\n" for i in range(3000)))
    script = [x.replace("{rows}", str(rows)) for x in SCRIPTS[name]]
    subprocess.run(["psql", f"host=127.0.0.1 port={client_side.port} user=shop dbname=shop sslmode=disable", "-Xq", *script],
                   env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    assert len(client_side.conversations) == len(server_side.conversations) == 1
    compare(gateway, client_side, server_side)


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench(teed, mode):
    gateway, client_side, server_side = teed
    gateway.pg.sql("shop", "create table if not exists bench(k int primary key, v int); insert into bench select g, 0 from generate_series(1, 100) g on conflict do nothing; grant all on bench to app")
    script = gateway.dir / "bench.sql"
    script.write_text("\\set k random(1, 100)\nselect v from bench where k = :k;\nupdate bench set v = v + 1 where k = :k;\n")
    env = {**os.environ, "PGPASSWORD": gateway.used, "PGSSLMODE": "disable"}
    lab.run([lab.pg_bin() / "pgbench", "-h", "127.0.0.1", "-p", str(client_side.port), "-U", "shop", "-n", "-c", "1", "-t", "200", "-M", mode, "-f", script, "shop"], env=env)
    compare(gateway, client_side, server_side)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_same_messages(teed):
    """The tee through text2pcap, read by an independent dissector, against `export`."""
    gateway, client_side, server_side = teed
    env = {**os.environ, "PGPASSWORD": gateway.used}
    statements = ["select 1", "select 'x' as y", "update orders set qty = qty where id < 3", "select count(*) from orders"]
    args = [x for s in statements for x in ("-c", s)]
    subprocess.run(["psql", f"host=127.0.0.1 port={client_side.port} user=shop dbname=shop sslmode=disable", "-Xq", *args], env=env, stdout=subprocess.DEVNULL, check=True, timeout=60)
    _, server = compare(gateway, client_side, server_side)
    dump = gateway.dir / "up.txt"
    with open(dump, "w", encoding="ascii") as f:
        # Cut at messages, so that no dissection depends on reassembly.
        data, at = bytes(server.up), 0
        first = int.from_bytes(data[:4], "big")
        pieces = [data[:first]]
        at = first
        while at < len(data):
            n = 1 + int.from_bytes(data[at + 1:at + 5], "big")
            pieces.append(data[at:at + n])
            at += n
        for piece in pieces:
            for i in range(0, len(piece), 16):
                f.write(f"{i:06x} " + " ".join(f"{b:02x}" for b in piece[i:i + 16]) + "\n")
            f.write("\n")
    pcap = gateway.dir / "up.pcap"
    lab.run(["text2pcap", "-q", "-T", "40000,5432", dump, pcap])
    seen = lab.run(["tshark", "-r", pcap, "-Y", "pgsql.query", "-T", "fields", "-e", "pgsql.query"]).stdout.splitlines()
    lines = [json.loads(x) for x in gateway.hansard("export", "@last", "--as", "ndjson").stdout.splitlines()]
    seen = [s for s in seen if "pg_catalog.unnest($1)" not in s]  # the gateway's own look-up of names
    assert [c["text"] for c in lines if c["type"] == "command"] == seen == statements
