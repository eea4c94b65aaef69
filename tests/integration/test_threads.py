"""Several event loop threads in one worker (spec.workers.threads): sessions on all of them, and what crosses between them."""

import os
import pathlib
import signal
import subprocess

import pytest

import lab
import tee
from test_admission import clients
from test_kill import check_recorded, start_load, under_way, works_again

THREADS = 2


@pytest.fixture
def threaded(make_gateway, pg):
    server_side = tee.Tee(("127.0.0.1", pg.port))
    pg.sql("shop", "create table if not exists load(k int primary key, v int); insert into load select g, 0 from generate_series(1, 50) g on conflict do nothing; grant all on load to app")
    gateway = make_gateway(address=f"127.0.0.1:{server_side.port}", tls="disable", gateway={"workers": {"threads": THREADS}})
    yield gateway, server_side
    server_side.close()


def watched(gateway):
    """How many descriptors each event loop of the worker watches, from the kernel."""
    counts = []
    for info in pathlib.Path(f"/proc/{gateway.children()['worker']}/fdinfo").iterdir():
        watched_here = sum(line.startswith("tfd:") for line in info.read_text().splitlines())
        if watched_here:
            counts.append(watched_here)
    return counts


class Session:
    """An interactive psql."""

    def __init__(self, gateway, token):
        self.process = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq", "-v", "VERBOSITY=verbose"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env={**os.environ, "PGPASSWORD": token})

    def say(self, sql):
        self.process.stdin.write(sql + "\n")
        self.process.stdin.flush()

    def ask(self, sql):
        self.say(sql)
        return self.process.stdout.readline().rstrip("\n")

    def end(self):
        _, err = self.process.communicate(timeout=60)
        return err


def test_sessions_on_all_threads_and_cancels_across(threaded):
    gateway, server_side = threaded
    token = gateway.token()
    before = sorted(watched(gateway))
    assert len(before) >= THREADS
    sessions = [Session(gateway, token) for _ in range(8)]
    for number, session in enumerate(sessions):
        assert session.ask(f"select {number};") == str(number)
    # Each session is two sockets, and they are spread evenly.
    after = sorted(watched(gateway))[-THREADS:]
    assert min(after) >= 8, (before, after)
    # A cancel comes in on a connection of its own, on whichever thread.
    for number, session in enumerate(sessions):
        session.say(f"select pg_sleep(60), 'sleeper {number}';")
        lab.wait_for(lambda n=number: gateway.pg.sql("shop", f"select 1 from pg_stat_activity where state = 'active' and usename = 'app' and query like '%sleeper {n}%'").strip(), "the query to run")
    for number, session in enumerate(sessions):
        session.process.send_signal(signal.SIGINT)
        # Only that one; psql goes on, since its input is no terminal's.
        lab.wait_for(lambda n=number: not gateway.pg.sql("shop", f"select 1 from pg_stat_activity where state = 'active' and usename = 'app' and query like '%sleeper {n}%'").strip(), "the cancel")
        rest = gateway.pg.sql("shop", "select count(*) from pg_stat_activity where state = 'active' and usename = 'app' and query like '%sleeper%'").strip()
        assert rest == str(len(sessions) - 1 - number)
    for session in sessions:
        assert "57014" in session.end()
    lab.wait_for(lambda: gateway.json("status").get("sessions") == 0, "the sessions to close")
    assert check_recorded(gateway, server_side) >= 8
    assert gateway.stop() == 0
    assert lab.python_verifier(gateway.store, check=False).returncode == 0


@pytest.mark.parametrize("role", ["recorder", "keeper", "worker", "egress"])
def test_child_killed_under_load_with_threads(threaded, role):
    gateway, server_side = threaded
    token = gateway.token()
    load = start_load(gateway, clients=8)
    under_way(server_side, 200_000)
    for _ in range(2):
        victim = lab.wait_for(lambda: gateway.children().get(role), role)
        os.kill(victim, signal.SIGKILL)
        started = clients(gateway, token, 6)
        for client in started:
            out, err = client.communicate(timeout=60)
            if role in ("recorder", "egress"):
                # One that was admitted in the moment before the kill is a running session, and ends.
                assert out == "5\n" or (role == "recorder" and "58030" in err) or "can no longer be recorded" in err, err
        works_again(gateway)
        if load.poll() is not None:
            load = start_load(gateway, clients=8)
            under_way(server_side, sum(len(t.down) for t in server_side.conversations) + 50_000)
    load.terminate()
    load.wait()
    assert gateway.process.poll() is None
    assert gateway.stop() == 0
    assert check_recorded(gateway, server_side) >= 8
    done = lab.python_verifier(gateway.store, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_recorder_stalls_with_threads(threaded):
    """Sessions on both threads are told, and nothing reaches the server meanwhile."""
    gateway, _ = threaded
    token = gateway.token()
    sessions = [Session(gateway, token) for _ in range(4)]
    for session in sessions:
        assert session.ask("select 'open';") == "open"
    rows = gateway.pg.sql("shop", "select count(*) from orders")
    recorder = gateway.children()["recorder"]
    mark = gateway.mark()
    os.kill(recorder, signal.SIGSTOP)
    for number, session in enumerate(sessions):
        session.say(f"insert into orders values ({7000 + number}, 'stalled', 1);")
    started = clients(gateway, token, 3)
    for session in sessions:
        assert "58030" in session.end()
    assert gateway.pg.sql("shop", "select count(*) from orders") == rows
    gateway.wait_event("child.stalled", after=mark)
    for client in started:
        out, err = client.communicate(timeout=60)
        assert out == "5\n", err
