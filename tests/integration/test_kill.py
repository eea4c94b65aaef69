"""kill -9 under load: every byte that the server received is in the recovered record (DESIGN §2, promise 1).

A tee between gateway and server says what the server received. After each kill the record is read
again, and the bytes of each connection must be the beginning of stream U of the session that its
application_name names.
"""

import contextlib
import ctypes
import errno
import os
import random
import re
import signal
import socket
import subprocess
import time

import pytest

import lab
import tee
from test_oracle import Streams, exported

ROLES = ["keeper", "egress", "worker", "recorder"]


@pytest.fixture
def teed(make_gateway, pg):
    server_side = tee.Tee(("127.0.0.1", pg.port))
    pg.sql("shop", "create table if not exists load(k int primary key, v int); insert into load select g, 0 from generate_series(1, 50) g on conflict do nothing; grant all on load to app")
    gateway = make_gateway(address=f"127.0.0.1:{server_side.port}", tls="disable")
    yield gateway, server_side
    server_side.close()


def start_load(gateway, clients=4, seconds=60):
    script = gateway.dir / "load.sql"
    script.write_text("\\set k random(1, 50)\nupdate load set v = v + 1 where k = :k;\nselect v, repeat('r', 500) from load where k = :k;\n")
    env = {**os.environ, "PGPASSWORD": gateway.token(), "PGSSLMODE": "require"}
    return subprocess.Popen([str(lab.pg_bin() / "pgbench"), "-h", "127.0.0.1", "-p", str(gateway.port), "-U", "shop", "-n", "-c", str(clients), "-T", str(seconds), "-M", "prepared",
                             "-f", str(script), "shop"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=gateway.dir)


def under_way(server_side, count):
    lab.wait_for(lambda: sum(len(t.down) for t in server_side.conversations) > count, "load")


def check_recorded(gateway, server_side):
    """Returns how many connections were compared."""
    compared = 0
    for talk in server_side.conversations:
        found = re.search(rb"hansard:([0-9a-z]{4}-[0-9a-z]{4})", bytes(talk.up[:600]))
        if not found:
            assert len(talk.up) < 24, "bytes of a session that does not name itself"
            continue
        got = Streams(exported(gateway, found.group(1).decode()))
        received = bytes(talk.up)
        recorded = got.bytes["U"][:len(received)]
        received = bytearray(received)
        for offset, length in got.holes["U"]:
            received[offset:offset + length] = b"\0" * len(received[offset:offset + length])
        assert bytes(recorded) == bytes(received), f"session {found.group(1)}: the server received what is not recorded"
        compared += 1
    return compared


def verifies(gateway, vkey):
    """Both verifiers, with the key that was known before anything was killed."""
    done = gateway.hansard("verify", "--vkey", vkey, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    done = lab.python_verifier(gateway.store, "--vkey", vkey, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def works_again(gateway, token=None):
    return lab.wait_for(lambda: gateway.psql("select 7", token, check=False).stdout == "7\n", "service to resume")


@pytest.mark.parametrize("role", ROLES)
def test_child_killed_under_load(teed, role):
    gateway, server_side = teed
    vkey = gateway.json("status")["vkey"]
    load = start_load(gateway)
    under_way(server_side, 200_000)
    for _ in range(3):
        victim = lab.wait_for(lambda: gateway.children().get(role), role)
        os.kill(victim, signal.SIGKILL)
        lab.wait_for(lambda: gateway.children().get(role) not in (None, victim), f"a new {role}")
        works_again(gateway)
        if load.poll() is not None:
            load = start_load(gateway)
            under_way(server_side, sum(len(t.down) for t in server_side.conversations) + 50_000)
    load.terminate()
    load.wait()
    assert gateway.process.poll() is None
    gateway.stop()
    assert check_recorded(gateway, server_side) >= 4
    verifies(gateway, vkey)


@pytest.mark.parametrize("what", ["supervisor", "all"])
def test_gateway_killed_under_load(teed, what):
    gateway, server_side = teed
    vkey = gateway.json("status")["vkey"]
    load = start_load(gateway)
    under_way(server_side, 200_000)
    children = gateway.children()
    victims = [gateway.process.pid] + (list(children.values()) if what == "all" else [])
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    gateway.process.wait()
    lab.wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in children.values()), "the children to exit")
    load.wait(timeout=60)
    gateway.start()
    assert check_recorded(gateway, server_side) >= 4
    assert all(not s["open"] for s in gateway.json("sessions"))
    works_again(gateway)
    gateway.stop()
    verifies(gateway, vkey)


KILLS = int(os.environ.get("HANSARD_KILLS", "1000" if os.environ.get("HANSARD_LONG") else "15"))


@pytest.mark.limit(60 + 12 * KILLS)
def test_random_kills(make_gateway, pg):
    """Any process, or all of them, at any time: what the server committed is on the record, and no client waits for ever."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    fate = random.Random(seed)
    pg.sql("shop", "create table if not exists ledger(n bigint); truncate ledger; grant all on ledger to app")
    gateway = make_gateway()
    vkey, token = gateway.json("status")["vkey"], gateway.token()
    script = gateway.dir / "ledger.sql"
    script.write_text("\\set n random(1, 9000000000000000)\ninsert into ledger values (:n);\n")
    env = {**os.environ, "PGPASSWORD": token, "PGSSLMODE": "require"}
    command = [str(lab.pg_bin() / "pgbench"), "-h", "127.0.0.1", "-p", str(gateway.port), "-U", "shop", "-n", "-c", "3", "-T", "3600", "-R", "300", "-M", "simple", "-f", str(script), "shop"]
    load = None
    for _ in range(KILLS):
        if load is None or load.poll() is not None:
            rows = pg.sql("shop", "select count(*) from ledger")
            load = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=gateway.dir)
            lab.wait_for(lambda before=rows: pg.sql("shop", "select count(*) from ledger") != before, "rows of a new load")
        time.sleep(fate.random() * 0.4)
        kill_one(gateway, fate.choice([*ROLES, "all"]))
        works_again(gateway, token)
    load.terminate()
    load.wait()
    gateway.stop()
    rows = set(pg.sql("shop", "select n from ledger").split())
    recorded = set()
    with subprocess.Popen([gateway.binary, "export", "--config", str(gateway.config), "--all", "--as", "ndjson"], stdout=subprocess.PIPE, text=True) as export:
        for line in export.stdout:
            recorded.update(re.findall(r'"text":"insert into ledger values \((\d+)\)', line))
    assert export.returncode == 0
    print(f"{KILLS} kills, {len(rows)} rows, {len(recorded)} statements on the record")
    assert rows and not rows - recorded, f"{len(rows - recorded)} rows that are not on the record, seed {seed}"
    verifies(gateway, vkey)


def kill_one(gateway, role):
    """Kills it, or everything, and waits until another is there."""
    children = gateway.children()
    if role == "all":
        for pid in (gateway.process.pid, *children.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        gateway.process.wait()
        lab.wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in children.values()), "the children to exit")
        gateway.start()
    elif role in children:
        os.kill(children[role], signal.SIGKILL)
        lab.wait_for(lambda: gateway.children().get(role) not in (None, children[role]), f"a new {role}")


@pytest.mark.parametrize("role", ROLES)
def test_what_an_open_session_sees(teed, role):
    """docs/failures.md: keeper and egress may go; recorder and worker end the session, and nothing is executed twice or unrecorded."""
    gateway, server_side = teed
    client = lab.Client(gateway, gateway.token())
    assert client.ask("select 'open';") == "open"
    victim = gateway.children()[role]
    before = gateway.pg.sql("shop", "select count(*) from orders")
    os.kill(victim, signal.SIGKILL)
    lab.wait_for(lambda: gateway.children().get(role) not in (None, victim), f"a new {role}")
    if role in ("keeper", "egress"):
        assert client.ask("select 'still';") == "still"
        out, err = client.process.communicate("\\q\n", timeout=30)
        assert client.process.returncode == 0 and err == ""
    else:
        with contextlib.suppress(BrokenPipeError):
            client.say("insert into orders values (6000, 'after', 1);")
        out, err = client.process.communicate(timeout=30)
        assert ("58030" if role == "recorder" else "connection to server was lost") in err, err
        assert gateway.pg.sql("shop", "select count(*) from orders") == before
    works_again(gateway)
    assert check_recorded(gateway, server_side) >= 1


def test_recorder_stalled_mid_insert(teed):
    """A recorder that stands still: nothing reaches the server, the client sees 58030, service resumes by itself."""
    gateway, server_side = teed
    gateway.psql("select 1")
    recorder = gateway.children()["recorder"]
    client = lab.Client(gateway, gateway.token())
    assert client.ask("select 'open';") == "open"
    os.kill(recorder, signal.SIGSTOP)
    before = gateway.pg.sql("shop", "select count(*) from orders")
    client.say("insert into orders values (5000, 'stalled', 1);")
    begin = time.monotonic()
    _, err = client.process.communicate(timeout=60)
    assert "58030" in err, err
    assert time.monotonic() - begin < 40
    assert gateway.pg.sql("shop", "select count(*) from orders") == before
    lab.wait_for(lambda: gateway.children().get("recorder") not in (None, recorder), "a new recorder")
    works_again(gateway)


def test_keeper_gone_new_clients_wait(teed):
    gateway, _ = teed
    token = gateway.token()
    os.kill(gateway.children()["keeper"], signal.SIGKILL)
    assert gateway.psql("select 3", token).stdout == "3\n"


def test_sigterm_drains_and_seals(teed):
    gateway, _ = teed
    client = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq", "-c", "select pg_sleep(1), 'finished'"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PGPASSWORD": gateway.token()})
    lab.wait_for(lambda: gateway.pg.sql("shop", "select 1 from pg_stat_activity where query like '%finished%' and usename = 'app'").strip(), "the query to run")
    gateway.process.send_signal(signal.SIGTERM)
    assert "finished" in client.communicate(timeout=30)[0]
    assert gateway.process.wait(30) == 0
    assert lab.python_verifier(gateway.store).returncode == 0


def cut_channels(pid):
    """What a taken-over process can do to the channels that it was given, but for the supervisor's (descriptor 3); from outside, by copies of its descriptors."""
    libc = ctypes.CDLL(None, use_errno=True)
    target = os.pidfd_open(pid)
    cut = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        if name == "3":
            continue
        fd = libc.syscall(438, target, int(name), 0)  # pidfd_getfd
        if fd < 0 and ctypes.get_errno() == errno.EPERM:
            pytest.skip("no right to another process's descriptors")
        if fd < 0:
            continue  # closed meanwhile
        if not os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
            os.close(fd)
            continue
        with socket.socket(fileno=fd) as end:
            if end.family == socket.AF_UNIX and end.type & socket.SOCK_SEQPACKET == socket.SOCK_SEQPACKET:
                end.shutdown(socket.SHUT_RDWR)
                cut += 1
    os.close(target)
    return cut


@pytest.mark.parametrize("role", ["worker", "egress"])
def test_channel_that_was_cut(teed, role):
    """A worker (or egress) that was taken over shuts its channel to the keeper down: it is replaced, and its successor is served over another one."""
    gateway, _ = teed
    gateway.psql("select 1")
    keeper = gateway.children()["keeper"]
    victim = gateway.children()[role]
    assert cut_channels(victim) >= 1
    lab.wait_for(lambda: gateway.children().get(role) not in (None, victim), f"a new {role}", seconds=40)
    works_again(gateway)
    assert gateway.children()["keeper"] == keeper
