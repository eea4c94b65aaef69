"""Disk full, hostile and slow peers: a clear error for one, nothing lost, the others untouched."""

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


def test_disk_full_and_back(make_gateway, small_disk, pg):
    directory = small_disk / "gw"
    directory.mkdir()
    gateway = make_gateway(directory=directory, gateway={"store": {"path": "./data", "segment_size": "1MiB", "segments": 4}})
    assert gateway.psql("select 1").stdout == "1\n"
    pg.sql("shop", "create table if not exists full_disk(n int); grant all on full_disk to app; truncate full_disk")
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    with open(filler, "wb") as f:
        try:
            for _ in range(free.f_bavail * free.f_bsize // (1 << 16) + 16):
                f.write(b"\xff" * (1 << 16))
            f.flush()
        except OSError:
            pass
    refused = None
    inserted = 0
    for n in range(400):
        done = gateway.psql([x for _ in range(20) for x in ("-c", f"insert into full_disk values ({n}), (length('{'f' * 60000}'))")], check=False)
        if done.returncode != 0:
            refused = done.stderr
            break
        inserted += 1
    assert refused is not None and ("53100" in refused or "58030" in refused), refused
    rows = pg.sql("shop", "select count(*) from full_disk")
    gateway.psql("insert into full_disk values (-1)", check=False)
    assert pg.sql("shop", "select count(*) from full_disk") == rows
    filler.unlink()
    lab.wait_for(lambda: gateway.psql("select 8", check=False).stdout == "8\n", "service to resume when space is free again", 60)
    gateway.stop()
    assert lab.python_verifier(gateway.store, check=False).returncode == 0


def tls_client(gateway):
    s = socket.create_connection(("127.0.0.1", gateway.port))
    s.sendall(struct.pack("!ii", 8, 80877103))
    assert s.recv(1) == b"S"
    return ssl.create_default_context(cafile=str(gateway.store / "ca.pem")).wrap_socket(s, server_hostname="localhost")


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
    # One that asks for much and never reads.
    env = {**os.environ, "PGPASSWORD": g.token()}
    stuck = subprocess.Popen(["psql", g.conninfo(), "-XAtqc", "select repeat('s', 1000) from generate_series(1, 300000)"], stdout=subprocess.PIPE, env=env)
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
    print(f"worker grew by {grown} KiB with 50 silent, 10 half-started, one stuck reader and a flood beside")
    assert grown < 64 * 1024
    stuck.kill()
    stuck.communicate()
    for s in silent + half:
        s.close()


def test_many_parameters_and_long_messages_are_refused_cleanly(shared_gateway):
    s = tls_client(shared_gateway)
    s.sendall(lab.startup(**{f"x{i}": "y" * 20 for i in range(300)}))
    s.settimeout(20)
    assert s.recv(1) in (b"E", b"R")
    s.close()
