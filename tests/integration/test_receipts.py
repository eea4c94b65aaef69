"""What a client says about itself, what it can ask of the gateway, and the receipt that it takes home."""

import json
import re
import shutil
import time

import psycopg
import psycopg2
import pytest

import lab

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RECEIPT = re.compile(r"hsr1:([0-9a-f-]{36}):(\d+):([0-9a-f]{64}):(\d+)")


def conninfo(gateway, **extra):
    return gateway.conninfo(**extra) + " password=" + gateway.token()


def verify(gateway, receipt, *args, store=None):
    """Exit status and words of `hansard verify`; the other verifier must agree, where nothing moves meanwhile."""
    store = store or gateway.store
    c = gateway.hansard("verify", "--receipt", receipt, "--store", str(store), *args, check=False)
    if gateway.process is not None and gateway.process.poll() is None:
        return c.returncode, c.stdout
    python = lab.python_verifier(store, "--receipt", receipt, *args, check=False)
    assert c.returncode == python.returncode, (c.stdout, c.stderr, python.stdout, python.stderr)
    return c.returncode, c.stdout


def claims_of(gateway, session="@last"):
    out = gateway.hansard("export", session, "--as", "ndjson", "--events").stdout
    lines = [json.loads(line) for line in out.splitlines()]
    facts = [line for line in lines if str(line.get("name", "")).startswith("claim.")]
    return [(f["name"], f["text"]) for f in facts]


def test_psql_asks_for_session_and_receipt(gateway):
    out = gateway.psql("create temp table t(a int)", args=("-XAtq", "-c", "show hansard.session", "-c", "SHOW hansard.receipt;", "-c")).stdout.split()
    assert UUID.fullmatch(out[0])
    m = RECEIPT.fullmatch(out[1])
    assert m and m.group(1) == out[0]
    assert gateway.json("sessions")[0]["sid"] == out[0]
    vkey = gateway.json("status")["vkey"]
    lab.wait_for(lambda: verify(gateway, out[1], "--vkey", vkey)[0] == 0, "the receipt under a signed head")
    gateway.stop()
    status, said = verify(gateway, out[1], "--vkey", vkey)
    assert status == 0 and "receipt  proven" in said


def test_receipts_that_do_not_fit(gateway):
    receipt = gateway.psql("show hansard.receipt").stdout.strip()
    vkey = gateway.json("status")["vkey"]
    lab.wait_for(lambda: verify(gateway, receipt, "--vkey", vkey)[0] == 0, "the receipt under a signed head")
    gateway.stop()
    head, sid, frame, leaf, size = receipt.split(":")
    other = ":".join([head, sid, frame, leaf[::-1], size])
    status, said = verify(gateway, other, "--vkey", vkey)
    assert status == 4 and "receipt  altered" in said
    status, said = verify(gateway, ":".join([head, sid, "999", leaf, size]), "--vkey", vkey)
    assert status == 4 and "receipt  not in this record" in said
    status, said = verify(gateway, ":".join([head, sid[:-12] + "000000000000", frame, leaf, size]), "--vkey", vkey)
    assert status == 4 and "receipt  not in this record" in said
    status, said = verify(gateway, ":".join([head, sid, frame, leaf, "99999"]), "--vkey", vkey)
    assert status == 4 and "receipt  altered" in said
    assert verify(gateway, receipt + "0" * 20)[0] == 2
    assert verify(gateway, "hsr1:x")[0] == 2
    # without a key from outside it is as good as the store is
    assert verify(gateway, receipt)[0] == 0
    # a store that was put back to an older state does not have it
    copy = gateway.dir / "old"
    shutil.copytree(gateway.store, copy)
    for path in (copy / "record" / "sessions").rglob(f"{sid}.*"):
        path.unlink()
    assert verify(gateway, receipt, store=copy)[0] in (0, 4)


def test_receipt_before_the_head_is_not_proven_yet(gateway):
    with psycopg2.connect(conninfo(gateway)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("show hansard.receipt")
        receipt = cursor.fetchone()[0]
        status, said = verify(gateway, receipt)
        assert status in (0, 3), said
    connection.close()


@pytest.mark.parametrize("hygiene", ["pinned", "open"])
def test_drivers(make_gateway, hygiene):
    g = make_gateway(hygiene=hygiene)
    with psycopg2.connect(conninfo(g)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW hansard.session")
        assert UUID.fullmatch(cursor.fetchone()[0])
        assert cursor.description[0].name == "hansard.session" and cursor.description[0].type_code == 25
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
        cursor.execute("SHOW hansard.receipt")
        assert RECEIPT.fullmatch(cursor.fetchone()[0])
    connection.close()
    with psycopg.connect(conninfo(g)) as connection:
        sid = connection.execute("show hansard.session").fetchone()[0]  # extended, and in a transaction
        assert UUID.fullmatch(sid)
        for binary in (False, True):
            row = connection.execute("SHOW hansard.receipt", prepare=True, binary=binary)
            assert row.description[0].name == "hansard.receipt"
            assert RECEIPT.fullmatch(row.fetchone()[0]).group(1) == sid
        with connection.pipeline():
            a = connection.execute("select 1")
            b = connection.execute("show hansard.receipt")
            c = connection.execute("select 2")
            assert a.fetchone() == (1,) and RECEIPT.fullmatch(b.fetchone()[0]) and c.fetchone() == (2,)
        connection.rollback()
        with pytest.raises(psycopg.errors.UndefinedObject):
            connection.execute("show hansard.nothing")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("show hansard.session")
        connection.rollback()
        frames = [int(RECEIPT.fullmatch(connection.execute("show hansard.receipt").fetchone()[0]).group(2)) for _ in range(3)]
        assert frames == sorted(set(frames))
    lab.wait_for(lambda: all(not s["open"] for s in g.json("sessions")), "both ends")
    g.stop()
    assert lab.python_verifier(g.store, "--contents").returncode == 0
    assert g.hansard("verify", "--contents", check=False).returncode == 0
    # the client's words and what the target was sent are on the record
    shown = g.hansard("show", sid).stdout
    assert "show hansard.session" in shown


@pytest.mark.parametrize("hygiene", ["pinned", "open"])
def test_claims(make_gateway, hygiene):
    g = make_gateway(hygiene=hygiene)
    connection = psycopg2.connect(conninfo(g), options="-c hansard.run_id=run-9 -c hansard.task=a\\ b")
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("show hansard.run_id")
        assert cursor.fetchone() == ("run-9",)
        cursor.execute("show hansard.task")
        assert cursor.fetchone() == ("a b",)
        cursor.execute("set hansard.reason = 'because'")
        cursor.execute("show hansard.reason")
        assert cursor.fetchone() == ("because",)
        connection.rollback()  # the target's settings are transactional as ever
        cursor.execute("select current_setting('hansard.reason', true)")
        assert cursor.fetchone()[0] in ("", None)
        cursor.execute("select set_config('hansard.reason', 'again', false)")
        cursor.execute("set hansard.password = 'hunter2'")
    connection.close()
    lab.wait_for(lambda: [s for s in g.json("sessions") if not s["open"]], "the end")
    assert "claimed reason again" in g.hansard("show", "@last").stdout.replace("  ", " ")
    assert claims_of(g) == [("claim.run_id", "run-9"), ("claim.task", "a b"), ("claim.reason", "because"), ("claim.reason", "again")]


def test_pins_stand_in_front(gateway):
    done = gateway.psql("set client_encoding = 'latin1'", check=False)
    assert "FATAL:  0A000" in done.stderr and "client_encoding is pinned: the statement was not sent" in done.stderr
    done = gateway.psql("select set_config('client_encoding', 'lat' || 'in1', false)", check=False)
    assert "FATAL:  0A000" in done.stderr and "client_encoding was changed" in done.stderr
    assert gateway.psql("set client_encoding = 'UTF-8'; set names 'utf8'").returncode == 0


# --- session_max ---


def with_max(make_gateway, session_max="2s", grace="60s"):
    g = make_gateway()
    g.connections["shop"].update({"session_max": session_max, "session_grace": grace})
    g.write_config()
    g.stop()
    g.start()
    return g


def test_session_max_idle(make_gateway):
    g = with_max(make_gateway)
    client = lab.Client(g, g.token())
    assert client.ask("select 1;") == "1"
    lab.wait_for(lambda: [s for s in g.json("sessions") if not s["open"]], "the end of the idle session")
    client.say("select 2;")
    _, err = client.process.communicate(timeout=20)
    assert "session_max" in err and "57P01" in err, err


def test_session_max_in_a_transaction(make_gateway):
    g = with_max(make_gateway)
    notices = []
    connection = psycopg.connect(conninfo(g))
    connection.add_notice_handler(lambda d: notices.append(d.message_primary))
    connection.execute("select 1")
    end = time.monotonic() + 20
    while not notices and time.monotonic() < end:
        connection.execute("select pg_sleep(0.2)")
    assert notices and "session_max (2 s)" in notices[0] and "60 s" in notices[0]
    connection.execute("select 1")
    connection.commit()  # what was begun goes through; then it is idle
    with pytest.raises(psycopg.OperationalError, match="session_max|closed"):
        for _ in range(20):
            connection.execute("select 1")
            connection.commit()
            time.sleep(0.1)
    connection.close()


@pytest.mark.parametrize("what", ["select pg_sleep(60)", "copy t from stdin", "begin"])
def test_session_max_grace(make_gateway, what):
    g = with_max(make_gateway, grace="1s")
    began = time.monotonic()
    connection = psycopg2.connect(conninfo(g))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("create temp table t(a int)")
        with pytest.raises(psycopg2.Error) as why:
            if what.startswith("copy"):
                class Slow:
                    def read(self, _n):
                        time.sleep(0.2)
                        return "1\n" * 2000  # more than libpq keeps to itself
                cursor.copy_expert(what, Slow())
            elif what == "begin":
                cursor.execute(what)
                time.sleep(4)
                cursor.execute("select 1")
            else:
                cursor.execute(what)
    if not what.startswith("copy"):  # libpq 15 forgets what was said while it sends
        assert "session_max" in str(why.value) or "closed" in str(why.value), why.value
    ended = lab.wait_for(lambda: [s for s in g.json("sessions") if not s["open"]], "the end")
    assert ended[0]["reason"] == "session_max reached", ended
    assert 2.5 < time.monotonic() - began < 15
    connection.close()


def test_session_max_while_rows_come(make_gateway):
    """The notice stands between two rows, and nothing of them is lost."""
    g = with_max(make_gateway)
    connection = psycopg2.connect(conninfo(g))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("select i, case when i % 1000 = 0 then pg_sleep(0.1)::text end from generate_series(1, 40000) i")
        rows = cursor.fetchall()
    assert [r[0] for r in rows] == list(range(1, 40001))
    assert any("session_max" in n for n in connection.notices), connection.notices
    connection.close()
