"""hansard tail: what a live reader sees is what stands in the record, and looking is on the record."""

import json
import os
import queue
import signal
import subprocess
import threading

import pytest

import lab


class Tail:
    """A running `hansard tail`; lines arrive in a queue."""

    def __init__(self, gateway, *args):
        self.process = subprocess.Popen([gateway.binary, "tail", "--config", gateway.config, *args], text=True, errors="replace",
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        self.seen = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def until(self, wanted):
        """The first line that holds `wanted`."""
        while True:
            line = self.lines.get(timeout=lab.WAIT)
            if line is None:
                raise AssertionError(f"tail ended before {wanted!r}; it said {self.seen} {self.process.stderr.read()}")
            self.seen.append(line)
            if wanted in line:
                return line

    def rest(self):
        assert self.process.wait(lab.WAIT) == 0, self.process.stderr.read()
        self.reader.join(lab.WAIT)
        while (line := self.lines.get()) is not None:
            self.seen.append(line)
        return self.seen

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture()
def gateway(binary, pg):
    g = lab.Gateway(binary, pg).start()
    yield g
    g.stop()
    g.remove()


@pytest.fixture()
def tails():
    running = []

    def start(gateway, *args):
        running.append(Tail(gateway, *args))
        return running[-1]

    yield start
    for t in running:
        t.stop()


def talk(gateway, token):
    """A psql that is told what to say."""
    env = {**os.environ, "PGPASSWORD": token}
    p = subprocess.Popen([lab.pg_bin() / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=0", gateway.conninfo()], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)

    def say(text):
        p.stdin.write(text + "\n")
        p.stdin.flush()

    p.say = say
    return p


def live_session(gateway):
    return lab.wait_for(lambda: next((s["id"] for s in gateway.json("sessions") if s["open"]), None), "an open session")


def test_one_session_while_it_talks(gateway, tails):
    psql = talk(gateway, gateway.token())
    psql.say("select 'before' || 'hand';")
    psql.stdout.readline()
    tail = tails(gateway, live_session(gateway))
    tail.until("before")
    psql.say("select 'live' || 'ly' as word;")
    tail.until("select 'live' || 'ly'")
    tail.until("lively")
    psql.say("select 1/0;")
    tail.until("22012")
    psql.stdin.close()
    psql.wait(lab.WAIT)
    seen = tail.rest()
    assert any(line.startswith("ended: ") for line in seen)
    played = gateway.hansard("play", "@last").stdout.splitlines()
    commands = [line for line in played if line.startswith(("  | ", "  = ", "  ! "))]
    assert [line for line in seen if line.startswith(("  | ", "  = ", "  ! "))] == commands
    acts = [json.loads(x) for x in gateway.hansard("export", "--all").stdout.split("\n") if "record.viewed" in x]
    assert any('"tail"' in json.dumps(a) for a in acts)


def test_all_sessions_in_lines(gateway, tails):
    token = gateway.token("--on-behalf-of", "mara@example.com")
    gateway.psql(["-c", "select 'long ago'"], token)
    tail = tails(gateway, "-o", "json")
    # It may not watch yet: the first statement that is seen says that it does.
    lab.wait_for(lambda: (gateway.psql(["-c", "select 'warm'"], token), not tail.lines.empty())[1], "a first line")
    gateway.psql(["-c", "select 'one'", "-c", "selec 'two'"], token, check=False)
    one = json.loads(tail.until("select 'one'"))
    two = json.loads(tail.until("selec 'two'"))
    assert one["status"] == "ok" and one["rows"] == 1 and one["on_behalf_of"] == "mara@example.com"
    assert two["status"] == "failed" and two["sqlstate"] == "42601" and two["session"] == one["session"]
    assert not any("long ago" in line for line in tail.seen)


def test_the_recorder_is_killed_under_a_tail(gateway, tails):
    token = gateway.token()
    tail = tails(gateway, "-o", "json")
    lab.wait_for(lambda: (gateway.psql(["-c", "select 'warm'"], token), not tail.lines.empty())[1], "a first line")
    os.kill(gateway.children()["recorder"], signal.SIGKILL)
    lab.wait_for(lambda: gateway.psql(["-c", "select 'again'"], token, check=False).returncode == 0, "service")
    tail.until("select 'again'")


def test_every_command_once_and_a_stopped_reader_is_waited_for_by_nobody(gateway, tails):
    token = gateway.token()
    tail = tails(gateway, "-o", "json")
    lab.wait_for(lambda: (gateway.psql(["-c", "select 'warm'"], token), not tail.lines.empty())[1], "a first line")
    os.kill(tail.process.pid, signal.SIGSTOP)
    script = gateway.dir / "bulk.sql"
    script.write_text("select :client_id, repeat('x', 20000);\n")
    lab.run([lab.pg_bin() / "pgbench", gateway.conninfo(), "-n", "-c", "2", "-t", "400", "-f", script], env={"PGPASSWORD": token, "PATH": "/usr/bin:/bin"})
    os.kill(tail.process.pid, signal.SIGCONT)
    gateway.psql(["-c", "select 'the last'"], token)
    tail.until("select 'the last'")
    counts = {}
    for line in tail.seen:
        said = json.loads(line)
        if "repeat" in said.get("statement", ""):
            counts.setdefault(said["session"], []).append(said["command"])
    assert sorted(len(x) for x in counts.values()) == [400, 400]
    assert all(x == sorted(set(x)) for x in counts.values())


def test_without_a_gateway_it_says_what_to_do(gateway):
    gateway.stop()
    done = gateway.hansard("tail", check=False)
    assert done.returncode == 1 and "no gateway is running" in done.stderr
