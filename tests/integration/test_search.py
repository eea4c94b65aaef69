"""hansard search and the index: the same hits with and without it, whatever becomes of it, while the gateway runs and when not."""

import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest

import lab


def index_of(gateway):
    return gateway.store / "index" / "index.db"


def about(gateway):
    return gateway.json("status")["index"]


def sessions_ended(gateway):
    return len([s for s in gateway.json("sessions", "--acts") if not s["open"]])


def wait_indexed(gateway):
    """Until every session that has ended is in the index."""
    lab.wait_for(lambda: about(gateway).get("sessions", 0) >= sessions_ended(gateway), "the index", seconds=60)


def search(gateway, *args, check=True):
    done = gateway.hansard("search", *args, "-o", "json", check=False)
    if check:
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def key(hit):
    return {k: v for k, v in hit.items() if k != "record"}


def both(gateway, *args):
    """The hits, which are the same with the index and without."""
    with_index = search(gateway, *args)
    without = search(gateway, *args, "--no-index")
    assert [key(h) for h in with_index["hits"]] == [key(h) for h in without["hits"]]
    assert without["ruled_out"] == 0 or "--until" in args
    return with_index


@pytest.fixture(scope="module")
def talked(binary, pg):
    gateway = lab.Gateway(binary, pg).start()
    mara = gateway.token("--on-behalf-of", "mara@example.com", "--run", "run-7")
    other = gateway.token(subject="nightly", kind="service")
    gateway.psql(["-c", "create temp table victim(n int)", "-c", "DROP /* now */ TABLE\n victim"], mara)
    gateway.psql("drop table no_such_table", other, check=False)
    gateway.psql("select 1 -- drop table orders", other)
    gateway.psql("select 'drop table quoted'", other)
    script = gateway.dir / "p.sql"
    script.write_text("\\set k 4711\nselect id from orders where item <> 'zebra' and id = :k;\n")
    lab.run([lab.pg_bin() / "pgbench", gateway.conninfo(), "-n", "-c", "1", "-t", "2", "-M", "prepared", "-f", script],
            env={"PGPASSWORD": mara, "PATH": "/usr/bin:/bin"})
    wait_indexed(gateway)
    yield gateway
    gateway.stop()
    gateway.remove()


def test_one_line_per_hit(talked):
    out = talked.hansard("search", "drop", "table").stdout
    lines = out.strip().split("\n")
    assert len(lines) == 4 and lines[0].split()[:3] == ["TIME", "UTC", "WHO"]
    assert "local:ci" in out and "mara@example.com (verified)" in out and "failed 42P01" in out and "DROP /* now */ TABLE victim" in out
    hits = both(talked, "drop table")["hits"]
    assert {h["subject"] for h in hits} == {"local:ci", "local:nightly"}
    assert [h["received"] for h in hits] == sorted((h["received"] for h in hits), reverse=True)


def test_words_exact_regex(talked):
    assert [h["text"] for h in both(talked, "drop table victim")["hits"]] == ["DROP /* now */ TABLE\n victim"]
    assert [h["text"] for h in both(talked, "--exact", "1 -- drop table orders")["hits"]] == ["select 1 -- drop table orders"]
    assert both(talked, "drop table orders")["hits"] == []
    assert len(both(talked, "--regex", "^drop[^;]*no_such")["hits"]) == 1
    assert [h["match"] for h in both(talked, "no_such_table")["hits"]] == ["no_such_table"]


def test_parameters_are_searched(talked):
    hits = both(talked, "4711")["hits"]
    assert len(hits) == 2 and {(h["parameter"], h["value"], h["match"]) for h in hits} == {(1, "4711", "4711")}
    assert "$1 = 4711" in talked.hansard("search", "4711").stdout


def test_filters(talked):
    assert {h["status"] for h in both(talked, "drop", "--status", "failed")["hits"]} == {"failed"}
    assert {h["subject"] for h in both(talked, "drop", "--agent", "ci")["hits"]} == {"local:ci"}
    assert both(talked, "drop", "--agent", "nightly")["hits"] == []
    assert len(both(talked, "drop", "--identity", "local:nightly")["hits"]) == 2
    assert {h["run"] for h in both(talked, "drop", "--on-behalf-of", "mara@example.com")["hits"]} == {"run-7"}
    assert both(talked, "drop", "--connection", "nothere")["hits"] == []
    assert len(both(talked, "drop", "--since", "1 hour ago", "--until", "now")["hits"]) == 3
    assert both(talked, "drop", "--until", "yesterday 18:00")["hits"] == []
    one = search(talked, "drop", "--limit", "1")
    assert len(one["hits"]) == 1 and one["cut"]
    for wrong in (["drop", "--since", "tomorrow"], ["drop", "--status", "odd"], ["--", "--"], ["--regex", "a("], []):
        assert talked.hansard("search", *wrong, check=False).returncode == 2, wrong


def test_the_index_rules_sessions_out(talked):
    found = search(talked, "zebra")
    assert found["index"] == "used" and found["ruled_out"] >= 4 and len(found["hits"]) == 2
    # The acts session of a running gateway has not ended: nothing else is read in vain.
    assert found["read"] <= 2


def test_an_open_session_is_searched(talked):
    client = lab.Client(talked, talked.token())
    assert client.ask("select 'still_open_' || 1;") == "still_open_1"
    time.sleep(0.5)  # an answer that nothing follows is durable within 50 ms
    assert len(both(talked, "still_open_")["hits"]) == 1
    client.process.stdin.close()
    client.process.wait()
    wait_indexed(talked)
    assert len(both(talked, "still_open_")["hits"]) == 1


def test_prove(talked):
    done = talked.hansard("search", "--prove", "drop table victim", "-o", "json", check=False)
    found = json.loads(done.stdout)
    assert done.returncode in (0, 3) and found["proof"] and found["hits"][0]["record"].startswith("complete"), found
    copy = talked.copy_store()
    part = next(p for p in sorted((copy / "record/sessions").rglob(f"{found['hits'][0]['sid']}*.rec")))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    done = lab.run([talked.binary, "search", "--store", copy, "--prove", "drop table"], check=False)
    assert done.returncode == 4 and "Nothing is proven" in done.stdout + done.stderr


def test_searching_is_on_the_record(talked):
    talked.hansard("search", "drop table victim")
    acts = next(s["sid"] for s in talked.json("sessions", "--acts") if s["protocol"] == "acts")
    lines = [json.loads(line) for line in talked.hansard("export", acts).stdout.split("\n") if line]
    searched = [x for x in lines if x["type"] == "act" and x["act"]["act"] == "record.searched"]
    assert any(x["act"].get("detail") == "drop table victim" for x in searched), lines[-3:]


def test_statements_are_kept_without_their_values(talked):
    db = sqlite3.connect(f"file:{index_of(talked)}?mode=ro", uri=True)
    texts = [row[0] for row in db.execute("select text from statement")]
    db.close()
    assert "drop table victim" in texts and not any("4711" in t or "quoted" in t or "zebra" in t for t in texts)


def test_reindex_while_it_runs(talked):
    before = sqlite_count(talked)
    talked.hansard("reindex", timeout=60)
    assert sqlite_count(talked) >= before > 0
    assert len(both(talked, "drop table victim")["hits"]) == 1
    wait_indexed(talked)


def sqlite_count(gateway):
    db = sqlite3.connect(f"file:{index_of(gateway)}?mode=ro", uri=True)
    try:
        return db.execute("select count(*) from session").fetchone()[0]
    finally:
        db.close()


def test_a_lost_or_damaged_index_is_made_again(make_gateway):
    gateway = make_gateway()
    token = gateway.token()
    gateway.psql("select 'before_the_loss'", token)
    wait_indexed(gateway)
    gateway.stop()
    gateway.start()
    assert len(both(gateway, "before_the_loss")["hits"]) == 1
    wait_indexed(gateway)
    # Damage under the running gateway: every search still finds it, and the index comes back.
    with open(index_of(gateway), "r+b") as f:
        f.write(b"\0" * 8192)
    os.truncate(f"{index_of(gateway)}-wal", 0)
    assert len(search(gateway, "before_the_loss")["hits"]) == 1
    gateway.psql("select 'after_the_loss'", token)
    lab.wait_for(lambda: search(gateway, "after_the_loss")["index"] == "used" and about(gateway).get("sessions", 0) >= sessions_ended(gateway),
                 "the index to be made again", seconds=60)
    assert len(both(gateway, "after_the_loss")["hits"]) == 1
    # Removed while it is stopped; searching needs neither gateway nor index.
    gateway.stop()
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        (gateway.store / "index" / name).unlink(missing_ok=True)
    assert len(search(gateway, "before_the_loss")["hits"]) == 1
    done = gateway.hansard("reindex")
    assert "sessions are in the index" in done.stderr
    found = both(gateway, "before_the_loss")
    assert len(found["hits"]) == 1 and found["ruled_out"] > 0
    gateway.start()
    wait_indexed(gateway)


def test_recorder_killed_while_it_indexes(make_gateway):
    gateway = make_gateway()
    token = gateway.token()
    for n in range(2):
        for m in range(6):
            gateway.psql(f"select 'round_{n}_{m}'", token)
        pid = gateway.children()["recorder"]
        os.kill(pid, signal.SIGKILL)
        lab.wait_for(lambda pid=pid: gateway.children().get("recorder", pid) != pid, "a new recorder")
        lab.wait_for(lambda: gateway.psql("select 1", token, check=False).returncode == 0, "service")
    wait_indexed(gateway)
    found = both(gateway, "--regex", "round_[0-9]_[0-9]")["hits"]
    assert sorted(h["match"] for h in found) == [f"round_{n}_{m}" for n in range(2) for m in range(6)]
    one = both(gateway, "round_1_3")
    assert len(one["hits"]) == 1 and one["ruled_out"] >= 10
    with sqlite3.connect(f"file:{index_of(gateway)}?mode=ro", uri=True) as db:
        assert db.execute("pragma integrity_check").fetchone()[0] == "ok"


def test_another_uid_reads_the_index(talked):
    if os.geteuid() != 0:
        pytest.skip("another uid needs root")
    group = os.stat(talked.store / "index").st_gid
    script = f"import sqlite3; print(sqlite3.connect('file:{index_of(talked)}?mode=ro', uri=True).execute('select count(*) from session').fetchone()[0])"
    os.chmod(talked.dir, 0o755)
    done = subprocess.run(["setpriv", "--reuid=65534", f"--regid={group}", "--clear-groups", "/usr/bin/python3", "-c", script],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) > 0, done.stderr


def test_latency(talked):
    began = time.monotonic()
    for _ in range(5):
        talked.hansard("search", "zebra")
    print(f"search: {(time.monotonic() - began) / 5 * 1000:.0f} ms, process start and act included")
