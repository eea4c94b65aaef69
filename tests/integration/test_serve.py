"""`hansard serve`: start, reload, signals, the store's lock, notifications, what children hold."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

import lab

ROLES = {"keeper", "egress", "worker", "recorder"}


def start_fails(gateway, seconds=20):
    gateway.start(wait=False)
    assert gateway.process.wait(seconds) == 1
    lab.wait_for(lambda: gateway.lines and gateway.lines[-1] == "<eof>", "the log's end")
    return gateway.log_text()


def accepts(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_ready_when_listeners_accept(gateway):
    _, event = gateway.wait_event("supervisor.ready")
    assert event["listeners"] == f"postgres=127.0.0.1:{gateway.port}"
    assert event["store"] == str(gateway.store)
    assert accepts(gateway.port)
    assert set(gateway.children()) == ROLES


def test_children_have_no_environment_and_few_descriptors(gateway):
    for role, pid in gateway.children().items():
        environ = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        assert b"PW_APP" not in environ and len(environ) == 0, role
        kinds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        files = [k for k in kinds if k.startswith("/") and k != "/dev/null" and "memfd" not in k]
        assert role in ("keeper", "recorder") or files == [], (role, files)
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status, role
        assert "Seccomp:\t2" in status or "Seccomp:\t0" in status


def test_second_gateway_cannot_have_the_store(gateway, binary, pg):
    other = lab.Gateway(binary, pg, gateway={"store": {"path": str(gateway.store)}})
    try:
        log = start_fails(other)
        assert "a store belongs to one gateway" in log
        assert (gateway.store / "control.sock").exists()
        assert gateway.psql("select 5").stdout == "5\n"
    finally:
        other.remove()


def test_address_in_use(gateway, binary, pg):
    other = lab.Gateway(binary, pg, gateway={"listen": {"postgres": f"127.0.0.1:{gateway.port}"}})
    try:
        log = start_fails(other)
        assert "Address already in use" in log and str(gateway.port) in log
    finally:
        other.remove()


def test_wrong_configuration_ends_the_start(binary, pg):
    gateway = lab.Gateway(binary, pg)
    try:
        gateway.config.write_text(gateway.config.read_text().replace('"hygiene"', '"hygeine"'))
        log = start_fails(gateway)
        assert "hygeine" in log and "hygiene" in log
        assert not (gateway.store / "lock").exists(), "the store was touched"
    finally:
        gateway.remove()


def test_no_configuration(binary):
    done = subprocess.run([binary, "serve", "--config", "/nonexistent/hansard.yaml"], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode in (1, 2) and "/nonexistent/hansard.yaml" in done.stderr


def test_usage(binary):
    for args in (["serve", "--log", "xml"], ["serve", "more"], ["sevre"], ["serve", "--drain", "soon"], []):
        done = subprocess.run([binary, *args], capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 2, (args, done.stderr)
    assert "did you mean \"serve\"" in subprocess.run([binary, "sevre"], capture_output=True, text=True, check=False).stderr
    for args in (["--help"], ["help"], ["help", "serve"], ["serve", "--help"], ["--version"]):
        done = subprocess.run([binary, *args], capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0 and "hansard" in done.stdout, args
    done = subprocess.run([binary, "--child", "worker"], capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "hansard serve" in done.stderr


def test_reload_moves_a_listener(gateway):
    gateway.psql("select 1")
    client = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PGPASSWORD": gateway.token()})
    client.stdin.write("select 'before';\n")
    client.stdin.flush()
    assert client.stdout.readline() == "before\n"
    old, workers = gateway.port, gateway.children()["worker"]
    gateway.port = lab.free_port()
    gateway.gateway_spec["listen"]["postgres"] = f"127.0.0.1:{gateway.port}"
    gateway.write_config()
    gateway.process.send_signal(signal.SIGHUP)
    lab.wait_for(lambda: accepts(gateway.port), "the new listener")
    assert gateway.psql("select 6").stdout == "6\n"
    lab.wait_for(lambda: not accepts(old), "the old listener to close")
    assert gateway.children()["worker"] == workers
    out, _ = client.communicate("select 'after';\n", timeout=20)
    assert out == "after\n"


def refused(gateway, mark, why):
    index, event = gateway.wait_event("config.refused", after=mark)
    assert why in event["reason"]
    return index + 1


def test_reload_that_is_wrong_changes_nothing(gateway):
    good, token = gateway.config.read_text(), gateway.token()
    mark = gateway.mark()
    gateway.config.write_text(good.replace('"hygiene"', '"hygeine"'))
    gateway.process.send_signal(signal.SIGHUP)
    mark = refused(gateway, mark, "hygeine")
    assert gateway.psql("select 8", token).stdout == "8\n"
    # Syntactically right, but the address is taken.
    taken = socket.create_server(("127.0.0.1", 0))
    gateway.gateway_spec["listen"]["postgres"] = f"127.0.0.1:{taken.getsockname()[1]}"
    gateway.write_config()
    gateway.process.send_signal(signal.SIGHUP)
    mark = refused(gateway, mark, "Address already in use")
    assert gateway.psql("select 9", token).stdout == "9\n"
    taken.close()
    # And a store that moves.
    gateway.gateway_spec["listen"]["postgres"] = f"127.0.0.1:{gateway.port}"
    gateway.gateway_spec["store"]["path"] = "./elsewhere"
    gateway.write_config()
    gateway.process.send_signal(signal.SIGHUP)
    refused(gateway, mark, "store")
    assert gateway.psql("select 10", token).stdout == "10\n"
    assert not (gateway.dir / "elsewhere").exists()


def test_listener_backlog_waits_for_a_new_worker(gateway):
    token = gateway.token()
    os.kill(gateway.children()["worker"], signal.SIGKILL)
    assert gateway.psql("select 11", token).stdout == "11\n"


@pytest.mark.parametrize("role", sorted(ROLES))
def test_child_that_dies_again_and_again(gateway, role):
    for _ in range(4):
        victim = lab.wait_for(lambda: gateway.children().get(role), role)
        os.kill(victim, signal.SIGKILL)
        lab.wait_for(lambda: gateway.children().get(role) not in (None, victim), f"a new {role}")
    lab.wait_for(lambda: gateway.psql("select 12", check=False).stdout == "12\n", "service to resume")


def test_second_signal_ends_at_once(make_gateway):
    gateway = make_gateway(args=("--drain", "10m"))
    client = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq", "-c", "select pg_sleep(60)"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              env={**os.environ, "PGPASSWORD": gateway.token()})
    gateway.wait_event("session.opened")
    time.sleep(0.3)
    gateway.process.send_signal(signal.SIGTERM)
    gateway.wait_event("supervisor.draining")
    time.sleep(0.3)
    assert gateway.process.poll() is None
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(10) == 1
    client.wait(10)


def test_supervisor_killed_children_exit(gateway):
    children = gateway.children()
    gateway.process.kill()
    gateway.process.wait()
    lab.wait_for(lambda: not any(os.path.exists(f"/proc/{p}") for p in children.values()), "the children to exit")
    gateway.start()
    assert gateway.psql("select 13").stdout == "13\n"


def test_notify_socket(binary, pg):
    directory = lab.short_dir("notify")
    path = str(directory / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(20)
        gateway = lab.Gateway(binary, pg, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000"})
        try:
            gateway.start()
            seen = []
            while not any(t.startswith("READY=1\n") for t in seen) or "WATCHDOG=1" not in seen:
                seen.append(s.recv(200).decode())  # on a busy machine it beats before it is ready
            gateway.process.send_signal(signal.SIGHUP)
            seen = []
            while "READY=1" not in seen:
                seen.append(s.recv(200).decode())
            assert any(t.startswith("RELOADING=1\nMONOTONIC_USEC=") for t in seen)
            gateway.stop()
            seen = []
            while "STOPPING=1" not in seen:
                seen.append(s.recv(200).decode())
        finally:
            gateway.stop()
            gateway.remove()
            shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_with_packaged_users(binary, pg, tmp_path):
    """Each process as its own user; the record is the recorder's, the keys are the keeper's."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespaces here")
    users = {role: 61900 + i for i, role in enumerate(sorted(ROLES))}
    passwd = lab.short_dir("pw") / "passwd"
    passwd.write_text(pathlib.Path("/etc/passwd").read_text() +
                      "".join(f"_hansard-{r}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n" for r, uid in users.items()))
    passwd.chmod(0o644)
    wrapper = passwd.parent / "hansard"
    wrapper.write_text("#!/bin/sh\nif [ \"$1\" = serve ]; then\n"
                       f"exec unshare -m sh -c 'mount --bind \"$0\" /etc/passwd && exec \"$@\"' {passwd} {binary} \"$@\"\nfi\nexec {binary} \"$@\"\n")
    wrapper.chmod(0o755)
    gateway = lab.Gateway(str(wrapper), pg)
    gateway.dir.chmod(0o755)
    os.chown(gateway.dir / "ro.secret", users["keeper"], -1)
    try:
        gateway.start()
        assert gateway.psql("select 14").stdout == "14\n"
        for role, pid in gateway.children().items():
            uids = [line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")][0].split()[1:]
            assert set(uids) == {str(users[role])}, role
        for top, role in (("record", "recorder"), ("keeper", "keeper")):
            for path in [gateway.store / top, *(gateway.store / top).rglob("*")]:
                assert path.stat().st_uid == users[role], path
        os.kill(gateway.children()["keeper"], signal.SIGKILL)
        lab.wait_for(lambda: gateway.psql("select 15", check=False).stdout == "15\n", "service to resume")
        os.kill(gateway.children()["recorder"], signal.SIGKILL)
        lab.wait_for(lambda: gateway.psql("select 16", check=False).stdout == "16\n", "service to resume")
    finally:
        gateway.stop()
        gateway.remove()
        shutil.rmtree(passwd.parent, ignore_errors=True)
