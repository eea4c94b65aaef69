"""Disk full, hostile and slow peers: a clear error for one, nothing lost, the others untouched."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import lab


@pytest.fixture
def small_disk():
    """A file system of 64 MiB of its own (a loop mount: needs root)."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root")
    base = lab.short_dir("disk")
    image, mount = base / "image", base / "mnt"
    mount.mkdir()
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    lab.run(["mkfs.ext4", "-q", "-m", "0", image])
    if lab.run(["mount", "-o", "loop", image, mount], check=False).returncode != 0:
        shutil.rmtree(base)
        pytest.skip("no loop devices here")
    yield mount
    lab.run(["umount", "-l", mount], check=False)
    shutil.rmtree(base, ignore_errors=True)


def fill(path):
    """Takes every block that is free, the last ones too."""
    with open(path, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"\xff" * size)


def test_disk_full_and_back(make_gateway, small_disk, pg):
    """New sessions are refused, running ones end with 53100 before anything unrecorded reaches the server; space made, service resumes."""
    directory = small_disk / "gw"
    directory.mkdir()
    gateway = make_gateway(directory=directory, gateway={"store": {"path": "./data", "segment_size": "1MiB", "segments": 4}})
    pg.sql("shop", "drop table if exists full_disk; create table full_disk(n int); grant all on full_disk to app")
    token = gateway.token()
    running = lab.Client(gateway, token)
    assert running.ask("insert into full_disk values (1) returning n;") == "1"
    fill(small_disk / "filler")
    lab.wait_for(lambda: refusal(gateway, token).get("C") == "53100", "new sessions to be refused for want of space")
    # One that runs: every row that the server took is on the record, then the session ends.
    for n in range(2, 400):
        try:
            if running.ask(f"insert into full_disk select {n} where length('{'f' * 60000}') > 0 returning n;") != str(n):
                break
        except BrokenPipeError:
            break
    else:
        raise AssertionError("a running session went on with a full disk")
    _, err = running.process.communicate(timeout=60)
    assert "53100" in err, err
    rows = pg.sql("shop", "select count(*) from full_disk").strip()
    assert gateway.psql("insert into full_disk values (-1)", token, check=False).returncode != 0
    assert pg.sql("shop", "select count(*) from full_disk").strip() == rows
    (small_disk / "filler").unlink()
    lab.wait_for(lambda: gateway.psql("select 8", token, check=False).stdout == "8\n", "service to resume when space is free again", 60)
    first = [s for s in gateway.json("sessions")][-1]["id"]
    lines = [json.loads(x) for x in gateway.hansard("export", first, "--as", "ndjson").stdout.splitlines()]
    recorded = [c for c in lines if c["type"] == "command"]
    assert len([c for c in recorded if c["status"] == "ok"]) >= int(rows), "a row without its command on the record"
    assert gateway.stop() == 0
    assert lab.python_verifier(gateway.store, check=False).returncode == 0


def tls_client(gateway):
    s = socket.create_connection(("127.0.0.1", gateway.port))
    s.sendall(struct.pack("!ii", 8, 80877103))
    assert s.recv(1) == b"S"
    return ssl.create_default_context(cafile=str(gateway.store / "ca.pem")).wrap_socket(s, server_hostname="localhost")


def logged_in(gateway, token=None):
    """A client past its ReadyForQuery."""
    password = (token or gateway.token()).encode() + b"\0"
    s = tls_client(gateway)
    s.settimeout(lab.WAIT)
    s.sendall(lab.startup() + b"p" + struct.pack("!i", 4 + len(password)) + password)
    got = b""
    while not got.endswith(b"Z\0\0\0\5I"):
        data = s.recv(65536)
        assert data, lab.error_fields(got)
        got += data
    return s


def refusal(gateway, token):
    """The fields of the error that ends the login, {} when there is none (psql shows no SQLSTATE there)."""
    s = tls_client(gateway)
    password = token.encode() + b"\0"
    s.sendall(lab.startup() + b"p" + struct.pack("!i", 4 + len(password)) + password + b"X\0\0\0\4")
    fields = lab.error_fields(lab.read_all(s))
    s.close()
    return fields


def query(text):
    return b"Q" + struct.pack("!i", 5 + len(text)) + text.encode() + b"\0"


def asks_and_does_not_read(gateway, token=None):
    s = logged_in(gateway, token)
    s.sendall(query("select repeat('s', 1000) from generate_series(1, 20000000)"))
    assert s.recv(1) == b"T"
    return s


def rss(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def test_hostile_starts(shared_gateway):
    g = shared_gateway
    cases = [b"\0\0\0\x04", b"\xff" * 64, b"\0\0\0\x08\0\0\0\0", struct.pack("!ii", 9999, 196608), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"",
             struct.pack("!ii", 8, 80877103) + b"Q\0\0\0\x05x\0", struct.pack("!ii", 8, 80877104) * 3, struct.pack("!iiii", 16, 80877102, 1, 2)]
    for case in cases:
        s = socket.create_connection(("127.0.0.1", g.port))
        s.settimeout(20)
        s.sendall(case)
        s.shutdown(socket.SHUT_WR)
        while s.recv(4096):
            pass
        s.close()
    assert g.psql("select 1").stdout == "1\n"


def test_slow_and_silent_peers_leave_others_untouched(shared_gateway):
    g = shared_gateway
    silent = [socket.create_connection(("127.0.0.1", g.port)) for _ in range(50)]
    half = [tls_client(g) for _ in range(10)]
    for h in half:
        h.sendall(lab.startup()[:7])
    stuck = [asks_and_does_not_read(g) for _ in range(4)]
    worker = g.children()["worker"]
    before = rss(worker)
    stop = threading.Event()
    flood_errors = []

    def flood():
        while not stop.is_set():
            try:
                s = tls_client(g)
                s.sendall(lab.startup() + b"p" + struct.pack("!i", 60000) + b"x" * 50000)
                s.close()
            except OSError as failure:
                flood_errors.append(failure)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    for n in range(20):
        assert g.psql(f"select {n}").stdout == f"{n}\n"
    stop.set()
    thread.join()
    grown = rss(worker) - before
    print(f"worker grew by {grown} KiB with 50 silent, 10 half-started, four that do not read, and a flood beside")
    for s in silent + half + stuck:
        s.close()
    if "built with a sanitizer" not in g.log_text():  # it keeps what was freed
        assert grown < 64 * 1024


def test_wrong_proofs_lock_nobody_out(shared_gateway):
    g = shared_gateway
    token = g.token()
    wrong = f"hsd1_{'x' * 40}".encode() + b"\0"
    for _ in range(80):
        s = tls_client(g)
        s.sendall(lab.startup() + b"p" + struct.pack("!i", 4 + len(wrong)) + wrong)
        assert lab.error_fields(lab.read_all(s))["C"] == "28000"
        s.close()
    assert g.psql("select 1", token).stdout == "1\n"
    ref = lab.SHORT_ID.search(g.psql("select 1", "hsd1_wrong", check=False).stderr).group()
    assert g.json("why", ref)["reason"] == "too-many-failures"


def test_client_killed_in_a_long_answer(gateway):
    """The backend must not go on for a client that is dead: DROP DATABASE would wait for it."""
    token = gateway.token()
    count = "select count(*) from pg_stat_activity where usename = 'app'"
    lab.wait_for(lambda: gateway.pg.sql("postgres", count) == "0\n", "backends of earlier tests to end")
    clients = [asks_and_does_not_read(gateway, token) for _ in range(3)]
    assert gateway.pg.sql("postgres", count) == "3\n"
    for client in clients:  # with answers unread: the kernel resets the connection
        client.close()
    lab.wait_for(lambda: gateway.pg.sql("postgres", count) == "0\n", "the backends to end")
    gateway.wait_event("session.closed", reason="ECLOSED")
    lab.wait_for(lambda: all(not s["open"] for s in gateway.json("sessions")) and len(gateway.json("sessions")) == 3, "the sessions to be closed on the record")


def test_many_parameters_and_long_messages_are_refused_cleanly(shared_gateway):
    s = tls_client(shared_gateway)
    s.sendall(lab.startup(**{f"x{i}": "y" * 20 for i in range(300)}))
    s.settimeout(20)
    assert s.recv(1) in (b"E", b"R")
    s.close()
