"""Admission while recorder, egress or keeper are away: clients wait and are served, or are told whose fault it is."""

import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading

import pytest

import lab


def clients(gateway, token, count, sql="select 5"):
    """So many psql at once, started and not waited for."""
    env = {**os.environ, "PGPASSWORD": token, "LC_ALL": "C.UTF-8"}
    return [subprocess.Popen(["psql", gateway.conninfo(), "-XAtq", "-v", "VERBOSITY=verbose", "-c", sql], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(count)]


def asking(gateway, token):
    """A client of our own, up to its password: psql does not show the SQLSTATE of a refusal."""
    s = socket.create_connection(("127.0.0.1", gateway.port))
    s.sendall(struct.pack("!ii", 8, 80877103))
    assert s.recv(1) == b"S"
    s = ssl.create_default_context(cafile=str(gateway.store / "ca.pem")).wrap_socket(s, server_hostname="localhost")
    s.sendall(lab.startup())
    head = b""
    while len(head) < 9:
        head += s.recv(9 - len(head))
    assert head == b"R" + struct.pack("!ii", 8, 3), head
    s.sendall(b"p" + struct.pack("!i", len(token) + 5) + token.encode() + b"\0")
    return s


def refusal(client):
    """The fields of the error that it is told."""
    with client:
        return lab.error_fields(lab.read_all(client, 60))


def all_served(started):
    for client in started:
        out, err = client.communicate(timeout=60)
        assert client.returncode == 0 and out == "5\n", err


@pytest.mark.parametrize("role", ["recorder", "egress", "keeper"])
def test_sessions_wait_for_a_killed_process(gateway, role):
    """Admissions under way when it dies, and those that come while it is away."""
    token = gateway.token()
    assert gateway.psql("select 5", token).stdout == "5\n"
    for _ in range(3):
        victim = lab.wait_for(lambda: gateway.children().get(role), role)
        mark = gateway.mark()
        # Stopped first: all that follows finds it away, whatever the machine's speed.
        os.kill(victim, signal.SIGSTOP)
        started = clients(gateway, token, 6)
        lab.wait_for(lambda: connected(gateway.port) >= 6, "the clients to connect")
        os.kill(victim, signal.SIGKILL)
        started += clients(gateway, token, 2)
        if role == "keeper":
            # A login that was under way cannot go on; everybody else waits.
            for client in started:
                out, err = client.communicate(timeout=60)
                assert out == "5\n" or "restarted during the login" in err, err
        else:
            all_served(started)
        gateway.wait_event("keeper.serving" if role == "keeper" else "keeper.peer", after=mark, **({} if role == "keeper" else {"role": role, "up": True}))
    assert gateway.stop() == 0
    assert lab.python_verifier(gateway.store, check=False).returncode == 0


def connected(port):
    """Established connections to a port of ours, from the kernel's table."""
    want, count = f":{port:04X}", 0
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f:
            part = line.split()
            count += part[1].endswith(want) and part[3] == "01"
    return count


def test_sessions_wait_for_a_stalled_recorder(gateway):
    """It stands still while nobody else has a session: the keeper finds out, and the clients are served by the next one."""
    token = gateway.token()
    # A process that is younger than ten seconds is not taken for stalled.
    recorder = gateway.children()["recorder"]
    lab.wait_for(lambda: age(recorder) > 11, "a recorder that is no newcomer")
    mark = gateway.mark()
    os.kill(recorder, signal.SIGSTOP)
    started = clients(gateway, token, 4)
    gateway.wait_event("keeper.recorder.stalled", after=mark)
    all_served(started)
    assert gateway.children()["recorder"] != recorder


def age(pid):
    """Seconds since a process began."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        began = int(f.read().rsplit(") ", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime", encoding="ascii") as f:
        return float(f.read().split()[0]) - began


def test_sessions_wait_at_the_start(make_gateway, pg):
    """A gateway that was killed under load recovers its journal; who connects meanwhile waits."""
    gateway = make_gateway(tls="disable")
    token = gateway.token()
    gateway.psql("select repeat(md5(g::text), 20) from generate_series(1, 60000) g", token)
    pids = [gateway.process.pid, *gateway.children().values()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    gateway.process.wait()
    # Until the last of them is gone its listener accepts, and resets what it accepted.
    lab.wait_for(lambda: not any(map(lab.is_running, pids)), "the end of all processes")
    gateway.start(wait=False)
    lab.wait_for(lambda: accepts(gateway.port), "the listener")
    all_served(clients(gateway, token, 4))


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_recorder_that_cannot_come_back(gateway):
    """The client is told that it is not its fault, and the operator finds the reason."""
    token = gateway.token()
    assert gateway.psql("select 5", token).stdout == "5\n"
    stop = threading.Event()

    def keep_away():
        while not stop.wait(0.005):
            pid = gateway.children().get("recorder")
            if pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    thread = threading.Thread(target=keep_away, daemon=True)
    thread.start()
    try:
        told = refusal(asking(gateway, token))
    finally:
        stop.set()
        thread.join()
    assert told["C"] == "58030" and told["M"].startswith("the record is not available"), told
    ref = re.search(r"\(ref ([0-9a-z-]{9})", told["M"]).group(1)
    # To ask why is an act, and so needs a recorder as well.
    lab.wait_for(lambda: gateway.psql("select 5", token, check=False).stdout == "5\n", "service to resume", 60)
    assert "could not be opened on the record" in gateway.hansard("why", ref).stdout


def test_target_that_is_not_there(make_gateway):
    gateway = make_gateway(address=f"127.0.0.1:{lab.free_port()}")
    told = refusal(asking(gateway, gateway.token()))
    assert told["C"] == "08006" and told["M"].startswith("target cannot be reached"), told
    session = re.search(r"session ([0-9a-z-]{9})", told["M"]).group(1)
    assert any(s["id"] == session or session in str(s) for s in gateway.json("sessions"))


class SlowTarget:
    """A server that asks for SCRAM and then says nothing until it is told to."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.go = threading.Event()
        self.asked = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        s, _ = self.listener.accept()
        with s:
            s.recv(4096)
            body = struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"
            s.sendall(b"R" + struct.pack("!i", len(body) + 4) + body)
            first = s.recv(4096)
            nonce = first.split(b"r=", 1)[1]
            self.asked.set()
            self.go.wait(lab.WAIT)
            body = struct.pack("!i", 11) + b"r=" + nonce + b"more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
            s.sendall(b"R" + struct.pack("!i", len(body) + 4) + body)
            s.recv(4096)


def test_keeper_restart_in_the_middle_of_a_login(make_gateway):
    """That login cannot go on: the client is told so, in words that blame neither it nor the target."""
    target = SlowTarget()
    gateway = make_gateway(address=f"127.0.0.1:{target.port}", tls="disable")
    client = asking(gateway, gateway.token())
    assert target.asked.wait(lab.WAIT)
    mark = gateway.mark()
    os.kill(gateway.children()["keeper"], signal.SIGKILL)
    gateway.wait_event("keeper.grants.restored", after=mark)
    target.go.set()
    told = refusal(client)
    assert told["C"] == "57P01" and "restarted during the login" in told["M"], told


def test_tls_client_that_gives_up_while_it_waits(gateway):
    """It leaves; the recorder comes back; nothing stays behind."""
    token = gateway.token()
    recorder = gateway.children()["recorder"]
    os.kill(recorder, signal.SIGSTOP)
    asking(gateway, token).close()
    os.kill(recorder, signal.SIGKILL)
    assert gateway.psql("select 5", token).stdout == "5\n"
    lab.wait_for(lambda: gateway.json("status").get("sessions") == 0, "no session to be left")
