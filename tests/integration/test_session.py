"""The thread through everything: psql, the record, the proof."""

import json
import os
import socket
import subprocess

import pytest

import lab


def commands_of(gateway, session="@last"):
    out = gateway.hansard("export", session, "--as", "ndjson").stdout
    lines = [json.loads(line) for line in out.splitlines()]
    return lines[0], [line for line in lines if line.get("type") == "command"]


def closed_sessions(gateway, count=1):
    return lab.wait_for(lambda: [s for s in gateway.json("sessions") if not s["open"]][:count] if len([s for s in gateway.json("sessions") if not s["open"]]) >= count else None,
                        f"{count} closed sessions")


def test_select_and_update_stand_in_the_record(gateway):
    token = gateway.token("--on-behalf-of", "mara@example.com", "--run", "run-7", "--context", "task=T-1")
    assert gateway.psql("select id, item from orders where id <= 2 order by id", token).stdout == "1|item 1\n2|item 2\n"
    assert "UPDATE 1" in gateway.psql("update orders set qty = 41 where id = 1", token, args=("-XAt",)).stdout
    closed_sessions(gateway, 2)
    head, commands = commands_of(gateway)
    assert [c["text"] for c in commands] == ["update orders set qty = 41 where id = 1"]
    assert commands[0]["status"] == "ok" and commands[0]["rows"] == 1
    who = head["open"]["who"]
    assert who["kind"] == "agent" and who["subject"] == "local:ci" and who["groups"] == ["agents"]
    assert who["on_behalf_of"] == "mara@example.com" and who["on_behalf_of_verified"] is True
    assert who["run"] == "run-7" and head["open"]["context"] == {"task": "T-1"} and head["open"]["context_verified"] is False
    _, commands = commands_of(gateway, "@last~1")
    assert commands[0]["text"] == "select id, item from orders where id <= 2 order by id"
    assert [row for row in commands[0]["result"]["rows"]] == [["1", "item 1"], ["2", "item 2"]]
    play = gateway.hansard("play", "@last~1").stdout
    assert "select id, item from orders" in play and "item 2" in play


def test_verify_says_what_proves_it(gateway):
    gateway.psql("select 1")
    closed_sessions(gateway)
    vkey = gateway.json("status")["vkey"]
    assert "complete as received by this gateway" in lab.wait_for(
        lambda: (lambda r: r.stdout if r.returncode == 0 else None)(gateway.hansard("verify", "@last", "--vkey", vkey, check=False)), "a signed head over the session")
    without = gateway.hansard("verify", "@last", check=False)
    assert "accident" in without.stdout + without.stderr
    gateway.stop()
    assert gateway.hansard("verify", "--vkey", vkey).returncode == 0
    done = lab.python_verifier(gateway.store, "--vkey", vkey)
    assert done.returncode == 0, done.stdout


def test_reading_works_when_the_gateway_is_down(gateway):
    gateway.psql("select 42 as answer")
    gateway.stop()
    sessions = gateway.json("sessions")
    short = sessions[0]["id"]
    assert lab.SHORT_ID.fullmatch(short)
    for name in (short, short[:4], "@last", sessions[0]["sid"]):
        assert "answer" in gateway.hansard("play", name).stdout


def test_exit_codes(gateway):
    assert gateway.hansard("show", "zzzz-zzzz", check=False).returncode == 1
    assert gateway.hansard("show", check=False).returncode == 2
    assert gateway.hansard("sessions", "--no-such-option", check=False).returncode == 2


@pytest.mark.parametrize("role", ["default", "ro", "md5", "clear", "trust"])
def test_upstream_authentication(shared_gateway, role):
    user = "shop" if role == "default" else f"{role}.shop"
    out = shared_gateway.psql("select current_user", user=user).stdout.strip()
    assert out == {"default": "app", "ro": "app_ro", "md5": "app_md5", "clear": "app_clear", "trust": "app_trust"}[role]


def test_refusals(shared_gateway):
    g = shared_gateway
    cases = {
        "wrong token": dict(token="hsd1_nonsense"),
        "role not granted": dict(token=g.token(groups=("others",))),
        "unknown connection": dict(user="nothere"),
        "unknown role": dict(user="nothere.shop"),
        "database not allowed": dict(dbname="template1"),
    }
    for name, kw in cases.items():
        done = g.psql("select 1", check=False, **kw)
        assert done.returncode != 0, name
        assert "not admitted (ref " in done.stderr, (name, done.stderr)
        ref = lab.SHORT_ID.search(done.stderr).group()
        why = g.hansard("why", ref)
        assert why.stdout.strip(), name
    expired = g.token(ttl="1s")
    lab.wait_for(lambda: g.psql("select 1", token=expired, check=False).returncode != 0, "the token to expire")


def test_revoked_token_is_refused(shared_gateway):
    g = shared_gateway
    token = g.token(subject="to-revoke")
    g.psql("select 1", token)
    key = next(t for t in g.json("token", "ls") if "to-revoke" in t["subject"])["id"]
    g.hansard("token", "revoke", key)
    assert "not admitted" in g.psql("select 1", token, check=False).stderr


def test_token_only_inside_tls(shared_gateway):
    done = shared_gateway.psql("select 1", check=False, sslmode="disable")
    # psql prints no SQLSTATE for a connection that failed: the wire is asked for it.
    assert done.returncode != 0 and "TLS is required" in done.stderr and "sslmode=require" in done.stderr
    with socket.create_connection(("127.0.0.1", shared_gateway.port)) as s:
        s.sendall(lab.startup())
        assert lab.error_fields(lab.read_all(s))["C"] == "28000"


def test_session_id_in_application_name(shared_gateway):
    out = shared_gateway.psql("select application_name from pg_stat_activity where pid = pg_backend_pid()").stdout
    assert lab.SHORT_ID.search(out), out


def test_errors_reach_the_client_and_the_record(gateway):
    done = gateway.psql("select 1/0", check=False)
    assert "22012" in done.stderr
    closed_sessions(gateway)
    _, commands = commands_of(gateway)
    assert commands[0]["status"] == "failed" and commands[0]["sqlstate"] == "22012"
    assert "22012" in gateway.hansard("play", "@last").stdout


def test_copy_both_ways(gateway, tmp_path):
    rows = "".join(f"{i}\tcopied {i}\t1\n" for i in range(1000, 3000))
    data = tmp_path / "in.tsv"
    data.write_text(rows)
    gateway.psql(["-c", "create table copied(id int, item text, qty int)", "-c", f"\\copy copied from '{data}'"])
    out = tmp_path / "out.tsv"
    gateway.psql(["-c", f"\\copy (select * from copied order by id) to '{out}'"])
    assert out.read_text() == rows
    gateway.psql("drop table copied")


def test_large_values_stream(gateway):
    size = 100 * 1024 * 1024
    out = gateway.psql(f"select length(repeat('x', {size}))").stdout
    assert out.strip() == str(size)
    token = gateway.token()
    done = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq", "-c", f"select repeat('x', {size})"], stdout=subprocess.PIPE,
                            env={**os.environ, "PGPASSWORD": token})
    got = 0
    for block in iter(lambda: done.stdout.read(1 << 20), b""):
        got += len(block)
    assert done.wait() == 0 and got == size + 1


def test_cancel(gateway):
    token = gateway.token()
    client = subprocess.Popen(["psql", gateway.conninfo(), "-XAtq", "-c", "select pg_sleep(600)"], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                              env={**os.environ, "PGPASSWORD": token}, text=True)
    lab.wait_for(lambda: gateway.pg.sql("shop", "select 1 from pg_stat_activity where query like '%pg_sleep(600)%' and usename = 'app'").strip(), "the query to run")
    client.send_signal(2)
    _, err = client.communicate(timeout=lab.WAIT)
    assert "canceling statement due to user request" in err


def test_unix_socket_and_ipv6_targets(make_gateway, pg):
    unix = make_gateway(address=f"unix:{pg.dir}/.s.PGSQL.{pg.port}", tls="disable", roles={"default": {"user": "app_trust", "auth": "trust"}})
    assert unix.psql("select current_user").stdout.strip() == "app_trust"
    six = make_gateway(address=f"[::1]:{pg.port}")
    assert six.psql("select family(inet_server_addr())").stdout.strip() == "6"


def test_replication_is_refused(shared_gateway):
    done = shared_gateway.psql("IDENTIFY_SYSTEM", check=False, replication="database")
    assert done.returncode != 0 and "0A000" in done.stderr + done.stdout or "replication" in done.stderr


def test_pinned_encoding(shared_gateway):
    g = shared_gateway
    assert g.psql("show client_encoding", client_encoding="SQL_ASCII").stdout.strip() == "UTF8"
    bad = g.psql("select 1", client_encoding="LATIN1", check=False)
    assert bad.returncode != 0 and "client_encoding" in bad.stderr
    ended = g.psql(["-c", "set client_encoding to 'LATIN1'", "-c", "select 1"], check=False)
    assert ended.returncode != 0


def test_every_process_stops_well(gateway):
    gateway.psql("select 1")
    children = gateway.children()
    assert gateway.stop() == 0
    gone = lab.has_event(gateway.events, "child.gone")
    assert {e["role"] for e in gone} == set(children) and all(e["status"] == 0 for e in gone), gone


def test_reload_takes_all_or_nothing(gateway):
    mark = gateway.mark()
    gateway.connections["extra"] = {**gateway.connections["shop"]}
    gateway.write_config()
    gateway.process.send_signal(1)
    gateway.wait_event("config.applied", after=mark)
    assert gateway.psql("select 1", user="extra").stdout == "1\n"
    mark = gateway.mark()
    gateway.connections["broken"] = {**gateway.connections["shop"], "adress": "x"}
    gateway.write_config()
    gateway.process.send_signal(1)
    gateway.wait_event("config.refused", after=mark)
    assert gateway.psql("select 1", user="extra").stdout == "1\n"
    assert "not admitted" in gateway.psql("select 1", user="broken", check=False).stderr


def test_pin_forget(gateway, pg):
    gateway.psql("select 1")
    done = gateway.hansard("pin", "forget", "shop", "md5", check=False)
    assert done.returncode == 1 and "nothing is pinned" in done.stderr
    # The same password set anew: another salt. That is refused until the pin is forgotten.
    pg.sql("postgres", f"set password_encryption = 'scram-sha-256'; alter role app password '{pg.passwords['app']}'")
    refused = gateway.psql("select 1", check=False)
    assert refused.returncode != 0 and "login at the target failed" in refused.stderr
    gateway.hansard("pin", "forget", "shop", "default")
    assert gateway.psql("select 2").stdout == "2\n"
