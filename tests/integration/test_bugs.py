"""Bugs that others had, tried on us by hostile clients and hostile servers. bugs.md is the list.

Most have their transcript or unit test as well (bugs.md names them); here the whole gateway stands
between a peer that is right and one that is not. After each the gateway must serve the next client.
"""

import os
import pathlib
import re
import struct
import subprocess
import threading
import time

import pytest

import fakepg
import lab
from fakepg import FLUSH, IDLE, KEY, ONE_ROW, PARAMETERS, SYNC, RawClient, bind, close, describe, error, execute, kinds, message, notice, parse, query, row, sqlstate, zero

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def fake():
    server = fakepg.FakePg()
    yield server
    server.close()
    assert not server.failures


@pytest.fixture(scope="module")
def gateway(binary, pg, fake):
    """`shop` is the real server, `fake` one by trust, `scram` the same by SCRAM, `tls` the same with TLS required."""
    def at_fake(mode="disable", **role):
        return {"protocol": "postgres", "address": f"127.0.0.1:{fake.port}", "databases": {"default": "shop", "allow": ["shop"]}, "tls": {"mode": mode},
                "roles": {"default": {"user": "app", **role}}, "record": {"durable": "before-forward", "results": "full"}, "access": [{"groups": ["agents"], "roles": ["default"]}]}
    scram = {"auth": "scram-sha-256", "password": {"env": "PW_APP"}}
    roles = {"default": {"user": "app_trust", "auth": "trust"}, "expired": {"user": "app_expired", "auth": "scram-sha-256", "password": {"env": "PW_APP"}}}
    g = lab.Gateway(binary, pg, tls="disable", roles=roles, hygiene="open",
                    connections={"fake": at_fake(auth="trust"), "scram": at_fake(**scram), "tls": at_fake("require", **scram)})
    g.start()
    yield g
    g.stop()
    g.remove()


@pytest.fixture(scope="module")
def token(gateway):
    return gateway.token()


@pytest.fixture(autouse=True)
def serves_the_next(gateway, fake, token):
    """Whatever happened: the same processes serve the next client."""
    before = gateway.children()
    yield
    fake.behave = fakepg.well_behaved
    for user in ("shop", "fake"):
        client = RawClient(gateway, token, user)
        assert kinds(client.ask(query("select 1"))) == b"TDCZ"
        client.close()
    assert gateway.children() == before, "a process was replaced"


def login_at(gateway, fake, token, behave, user="fake"):
    """What a client sees of a login at a server that behaves so."""
    fake.behave = behave
    client = RawClient(gateway, token, user)
    seen = client.greeting
    client.close()
    return seen


def ask_at(gateway, fake, token, answer, *parts, user="fake"):
    """What a client sees when a server answers the first message with these bytes and ends."""
    def behave(conn):
        fakepg.let_in(conn)
        conn.next()
        conn.send(answer)
        conn.s.settimeout(1)
        conn.next()
    fake.behave = behave
    client = RawClient(gateway, token, user)
    assert client.is_in(), client.greeting
    seen = client.ask(*parts or [query("select 1")])
    client.close()
    return seen


# --- who is let in: 2, 3, 4, 5, 8 ---


def test_search_path_of_the_client_is_nobody_elses(gateway, pg, token):
    """3: what the gateway asks the server itself must not run what a client's search_path offers instead."""
    names = ("set_config(text, text, bool)", "format_type(oid, int)", "current_setting(text)", "version()")
    pg.sql("shop", "create schema evil; create table evil.called(what text); grant usage on schema evil to public; grant all on evil.called to public;" + "".join(
        f"create function evil.{n} returns text language sql volatile as $$ insert into evil.called values ('{n}') returning what $$;" for n in names)
        + "create view evil.pg_class as select oid, relname, relnamespace, relkind from pg_catalog.pg_class where pg_catalog.set_config('evil.seen', 'yes', false) is not null; grant select on evil.pg_class to public;")
    client = RawClient(gateway, token, search_path="evil, pg_catalog")
    assert client.is_in()
    assert kinds(client.ask(query("select * from public.orders limit 1"))) == b"TDCZ"
    assert client.ask(query("show search_path"))[1][1][6:] == b"evil, pg_catalog"
    assert client.ask(query("select pg_catalog.current_setting('evil.seen', true) is null"))[1][1][6:] == b"t"
    client.close()
    assert pg.sql("shop", "select count(*) from evil.called") == "0\n"
    pg.sql("shop", "drop schema evil cascade")


def test_expired_password_at_the_server(gateway, pg, token):
    """4: the server's refusal is the end, and says nothing of the role to the client."""
    pg.sql("postgres", f"create role app_expired login password '{pg.passwords['app']}' valid until '2020-01-01'")
    with open(pg.data / "pg_hba.conf", "r+", encoding="utf-8") as f:
        text = f.read()
        f.seek(0)
        f.write("host all app_expired all scram-sha-256\n" + text)
    pg.sql("postgres", "select pg_reload_conf()")
    lab.wait_for(lambda: pg.sql("postgres", "select count(*) from pg_hba_file_rules where user_name = '{app_expired}'").strip() == "1", "the server's rule")
    seen = RawClient(gateway, token, "expired.shop").greeting
    assert kinds(seen)[-1:] == b"E" and sqlstate(seen) == "08006"


def test_expired_token(gateway):
    """4, our own: a token that was good a second ago."""
    short = gateway.token(ttl="1s")
    lab.wait_for(lambda: sqlstate(RawClient(gateway, short).greeting) == "28000", "the token to expire", 10)


LENGTHS = [0, 3, 4, 7, 8, 9, 10001, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff]


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_before_login(gateway, length):
    """5: every length that overflows something, as startup packet and as password, inside TLS."""
    for first in (b"", lab.startup() + b"p"):
        s = fakepg.Stream(fakepg.in_tls(gateway))
        s.send(first + struct.pack("!I", length) + struct.pack("!i", 196608) + b"user\0shop\0\0" + b"x" * 64)
        # A length that is too long waits for more; the close is the end of it.
        s.close()


def test_lengths_in_a_session(gateway, token):
    """5: after login: nothing of such a message reaches the server, and the session ends."""
    for kind in (b"Q", b"P", b"B", b"D", b"E", b"d"):
        for length in (0, 3, 0x80000000, 0xffffffff):
            client = RawClient(gateway, token)
            seen = client.ask(kind + struct.pack("!I", length) + b"x" * 32)
            assert sqlstate(seen) == "08P01", (kind, length, seen)
            client.close()


@pytest.mark.parametrize("database", ["pgbouncer", "hansard", "admin"])
def test_no_console_in_the_protocol(gateway, token, database):
    """8: PgBouncer has an administrator's database; here a name is a name, and verbs are the server's business."""
    client = RawClient(gateway, token, database=database)
    assert not client.is_in() and sqlstate(client.greeting) in ("28000", "3D000")
    client = RawClient(gateway, token)
    for verb in ("SHUTDOWN", "RELOAD", "KILL shop", "SHOW POOLS", "PAUSE"):
        assert sqlstate(client.ask(query(verb))) in ("42601", "42704"), verb
    client.close()


# --- cancels: 9, 10 ---


def test_late_cancel_hits_nothing(gateway, token):
    """9: a cancel that meets the end of its command never ends the next one."""
    client = RawClient(gateway, token)
    hit = 0
    for n in range(40):
        client.send(query("select pg_sleep(0.01)"))
        canceller = threading.Thread(target=client.cancel)
        time.sleep(0.0005 * n)
        canceller.start()
        hit += sqlstate(client.until(b"Z")) == "57014"
        # As libpq: what is said after the cancel's connection was closed is not what it was meant for.
        canceller.join()
        assert sqlstate(client.ask(query("select count(*) from generate_series(1, 3000)"))) is None, f"round {n}"
        assert sqlstate(client.ask(query("select 1"))) is None, f"round {n}"
    client.close()
    print(f"{hit} of 40 cancels were in time")


def test_flood_of_cancels(gateway, token):
    """10: wrong keys and right ones, many at once: others log in meanwhile, and the right one still works."""
    client = RawClient(gateway, token)
    wrong = [struct.pack("!i", n) + os.urandom(4) for n in range(100)]
    threads = [threading.Thread(target=client.cancel, args=(key,)) for key in wrong] + [threading.Thread(target=client.cancel) for _ in range(20)]
    client.send(query("select pg_sleep(60)"))
    time.sleep(0.2)
    for t in threads:
        t.start()
    other = RawClient(gateway, token)
    assert other.is_in()
    assert sqlstate(client.until(b"Z")) == "57014"
    for t in threads:
        t.join()
    assert kinds(client.ask(query("select 1"))) == b"TDCZ"
    for c in (client, other):
        c.close()


# --- the flow: 13, 15, 16, 22, 24, 25, 27, 28, 31 ---


def test_pgbench_initializes(gateway, token):
    """13: COPY and vacuum by pgbench -i."""
    done = subprocess.run([str(lab.pg_bin() / "pgbench"), "-i", "-q", "-h", "127.0.0.1", "-p", str(gateway.port), "-U", "shop", "shop"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "PGPASSWORD": token, "PGSSLMODE": "require"}, timeout=120, cwd=gateway.dir)
    assert done.returncode == 0, done.stdout
    assert gateway.psql("select count(*) from pgbench_accounts", token).stdout == "100000\n"


def test_flush_only_client(gateway, token):
    """15: P D H, B E H, the Sync later (Sequelize)."""
    client = RawClient(gateway, token)
    client.send(parse("", "select 42"), describe(b"S", ""), FLUSH)
    assert kinds(client.until(b"T")) == b"1tT"
    client.send(bind("", ""), execute(), FLUSH)
    assert kinds(client.until(b"C")) == b"2DC"
    assert kinds(client.ask(SYNC)) == b"Z"
    client.send(parse("", "select 1/0"), bind("", ""), execute(), FLUSH)
    assert kinds(client.until(b"E"))[-1:] == b"E"
    assert kinds(client.ask(SYNC)) == b"Z"
    client.close()


def test_query_behind_a_failed_execute(gateway, token):
    """16: no Sync between them: the server ignores up to Sync, so does the bookkeeping."""
    client = RawClient(gateway, token)
    client.send(parse("", "select 1/0"), bind("", ""), execute(), query("select 'ignored'"), SYNC)
    assert kinds(client.until(b"Z")).count(b"Z") == 1
    assert kinds(client.ask(query("select 1"))) == b"TDCZ"
    client.close()


def test_notification_without_a_request(gateway, pg, token):
    """22: NOTIFY arrives while nobody asks."""
    client = RawClient(gateway, token)
    client.ask(query("listen bell"))
    pg.sql("shop", "notify bell, 'rings'")
    kind, body = client.next()
    assert kind == b"A" and body.endswith(b"bell\0rings\0")
    client.close()


def test_names_that_are_not_there(gateway, token):
    """24, 25: Close of what is unknown is fine; Bind and Describe of it are errors that the session survives."""
    client = RawClient(gateway, token)
    assert kinds(client.ask(close(b"S", "nope"), close(b"P", "nope"), SYNC)) == b"33Z"
    assert sqlstate(client.ask(bind("", "nope"), execute(), SYNC)) == "26000"
    assert sqlstate(client.ask(describe(b"P", "nope"), SYNC)) == "34000"
    assert kinds(client.ask(parse("s", "select 1"), bind("p", "s"), describe(b"P", "p"), execute("p"), close(b"P", "p"), close(b"S", "s"), SYNC)) == b"12TDC33Z"
    client.close()


def test_null_parameters_and_a_failed_parse(gateway, token):
    """27: NULL is no value of length 0; a Parse that failed leaves no statement behind."""
    client = RawClient(gateway, token)
    seen = client.ask(parse("", "select $1::text is null, $2::text = ''"), bind("", "", None, b""), execute(), SYNC)
    assert [body for kind, body in seen if kind == b"D"] == [b"\0\2\0\0\0\1t\0\0\0\1t"]
    assert sqlstate(client.ask(parse("s", "selec 1"), SYNC)) == "42601"
    assert sqlstate(client.ask(bind("", "s"), execute(), SYNC)) == "26000"
    assert kinds(client.ask(parse("s", "select 1"), bind("", "s"), execute(), SYNC)) == b"12DCZ"
    client.close()


def test_copy_data_in_any_pieces(gateway, pg, token):
    """28: a CSV value with line ends and quotes over many CopyData, and `\\.` as data."""
    pg.sql("shop", "create table pieces(a int, b text); grant all on pieces to app_trust")
    value = 'he said ""no"",\n\\.\nand, "'
    data = f'1,"{value[:-1]}"\n2,"{"x" * 5000}"\n'.encode()
    client = RawClient(gateway, token)
    client.send(query("copy pieces from stdin csv"))
    assert kinds(client.until(b"G", b"E")) == b"G"
    for n in range(0, len(data), 7):
        client.send(message(b"d", data[n:n + 7]))
    assert kinds(client.ask(message(b"c"))) == b"CZ"
    length = len(value[:-1].replace('""', '"'))
    assert pg.sql("shop", "select length(b) from pieces order by a") == f"{length}\n5000\n"
    client.close()


def test_who_asks_much_before_reading(gateway, token):
    """31: both directions full at once: nothing is lost or stuck when the client reads at last."""
    client = RawClient(gateway, token)
    one = parse("", "select repeat('d', 20000)") + bind("", "") + execute() + SYNC
    count = 400
    sender = threading.Thread(target=client.send, args=(one * count,), daemon=True)
    sender.start()
    time.sleep(0.5)
    got = 0
    for _ in range(count):
        got += sum(len(body) for kind, body in client.until(b"Z") if kind == b"D")
    sender.join()
    assert got == count * 20006
    client.close()


# --- servers that are not right: 6, 7, 12, 21, 29, 32, 33 ---


def refused_login(seen):
    """AuthenticationOk may have been said; then one error, of ours, and the end."""
    assert kinds(seen) in (b"RE", b"RRE"), seen
    assert sqlstate(seen) == "08006"


@pytest.mark.parametrize("challenge", [
    b"r=%s" + b"N" * 100_000 + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", b"r=%s,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", b"r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2000000000", b"r=%sx,s=" + b"A" * 90_000 + b",i=4096", b"", b"\0" * 40])
def test_scram_challenges(gateway, fake, token, challenge):
    """6: nonces, salts and counts without bound, without end, or not ours."""
    def behave(conn):
        conn.start()
        conn.send(message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
        _, body = conn.next()
        nonce = re.search(rb"r=([^,]+)", body).group(1)
        conn.send(message(b"R", struct.pack("!i", 11) + challenge.replace(b"%s", nonce)))
        conn.next()
    refused_login(login_at(gateway, fake, token, behave, "scram"))


@pytest.mark.parametrize("code", [0, 2, 3, 5, 7, 9, 10, 12, 99])
def test_authentication_not_of_the_role(gateway, fake, token, code):
    """6, 32: a server that asks for another proof than the role has, or lets in at once, gets no password and no session."""
    said = []

    def behave(conn):
        conn.start()
        conn.send(message(b"R", struct.pack("!i", code) + (b"salt" if code == 5 else b"OTHER\0\0" if code == 10 else b"")), PARAMETERS, KEY, IDLE)
        said.append(conn.next())
    refused_login(login_at(gateway, fake, token, behave, "scram"))
    assert not [m for m in said if m[0] == b"p"]


ODD_ERRORS = {"no code": zero("SERROR", "Mwrong") + b"\0", "nothing": b"\0", "no fields at all": b"", "no end": zero("SERROR", "C42601", "Mwrong"), "unknown fields": zero("SERROR", "C42601", "Mwrong", "?x", "\x01y") + b"\0",
              "long": zero("SERROR", "C42601", "M" + "w" * 200_000) + b"\0", "not UTF-8": b"SERROR\0C42601\0M\xff\xfe\0\0"}


@pytest.mark.parametrize("body", ODD_ERRORS.values(), ids=ODD_ERRORS.keys())
def test_odd_errors(gateway, fake, token, body):
    """7: in the login and in a session."""
    seen = login_at(gateway, fake, token, lambda conn: (conn.start(), conn.send(message(b"E", body))))
    assert kinds(seen) == b"RE" and sqlstate(seen)
    seen = ask_at(gateway, fake, token, message(b"E", body) + IDLE)
    assert kinds(seen) in (b"EZ", b"E")
    if kinds(seen) == b"EZ":
        assert seen[0][1] == body, "an error is passed on as it came"


def test_no_key_is_invented(gateway, fake, token):
    """12: a server without BackendKeyData: the client gets none."""
    seen = login_at(gateway, fake, token, lambda conn: (fakepg.let_in(conn, key=b""), conn.next()))
    assert b"K" not in kinds(seen) and kinds(seen)[-1:] == b"Z"


def test_notice_in_the_login(gateway, fake, token):
    """21: a login goes on behind notices."""
    seen = login_at(gateway, fake, token, lambda conn: (fakepg.let_in(conn, before=notice("hello") * 3), conn.next()))
    assert kinds(seen)[-1:] == b"Z"


@pytest.mark.parametrize("ends", ["with words", "without"])
def test_one_error_when_the_server_goes(gateway, fake, token, ends):
    """29: the server's own FATAL is the last word."""
    fatal = error("FATAL", "57P01", "terminating connection due to administrator command")

    def behave(conn):
        fakepg.let_in(conn)
        conn.next()
        conn.send(ONE_ROW[:-3] if ends == "without" else fatal)
    fake.behave = behave
    client = RawClient(gateway, token, "fake")
    assert client.is_in()
    seen = client.ask(query("select 1"))
    assert kinds(seen) == (b"E" if ends == "with words" else b"TD") or (ends == "without" and kinds(seen) == b"TDE")
    assert sqlstate(seen) == ("57P01" if ends == "with words" else sqlstate(seen))
    client.close()


@pytest.mark.parametrize("answer", [b"N", b"E", b"SN", b"SS", b"\0", b"S" + fakepg.AUTH_OK, message(b"E", b"SFATAL\0C08P01\0Mno TLS\0\0")])
def test_answers_to_sslrequest(gateway, fake, token, answer):
    """32: only one S is yes; what comes behind it before TLS is said by nobody."""
    heard = []

    def behave(conn):
        heard.append(conn.start()[0])
        conn.send(answer)
        heard.append(conn.start()[0])
    refused_login(login_at(gateway, fake, token, behave, "tls"))
    assert heard[0] == fakepg.SSL_REQUEST and 196608 not in heard, "a StartupMessage outside TLS"


@pytest.mark.parametrize("first", [IDLE, PARAMETERS, KEY, ONE_ROW, row(b"leaked"), message(b"A", struct.pack("!i", 1) + zero("a", "b")), b"HTTP/1.1 400 Bad Request\r\n\r\n", message(b"W", b"\0\0\0")])
def test_answers_before_authentication(gateway, fake, token, first):
    """33: nothing a server says before it has let us in reaches the client."""
    refused_login(login_at(gateway, fake, token, lambda conn: (conn.start(), conn.send(first), conn.next())))


@pytest.mark.parametrize("answer", [b"T\0\0\0\3", b"D\xff\xff\xff\xff", b"D\x7f\xff\xff\xff" + b"x" * 100, message(b"Z", b""), message(b"Z", b"?"), message(b"T", b"\0\5c\0"), message(b"\0", b"x"), message(b"R", struct.pack("!i", 3)),
                                    message(b"W", b"\0\0\0"), message(b"1") + IDLE, message(b"2") + IDLE, message(b"H", b"\0\xff\xff"), message(b"S", b"client_encoding")])
def test_answers_that_are_none(gateway, fake, token, answer):
    """5, 32: lengths, types and answers that make no sense end the session; what was forwarded before stays right."""
    seen = ask_at(gateway, fake, token, answer)
    assert b"Z" not in kinds(seen) or kinds(seen) in (b"1Z", b"2Z"), seen


def test_two_ready_for_one_query(gateway, fake, token):
    """14, 33: an answer that nobody asked for is no answer to the next one."""
    seen = ask_at(gateway, fake, token, ONE_ROW + IDLE + ONE_ROW + IDLE, query("select 1"))
    assert kinds(seen) == b"TDCZ"


# --- the list itself ---


def test_every_bug_has_a_test():
    """bugs.md: 1 to 33, and what it names is there."""
    rows = [line.split("|")[1:4] for line in (HERE / "bugs.md").read_text().splitlines() if re.match(r"\| \d+ ", line)]
    assert [int(cells[0]) for cells in rows] == list(range(1, 34))
    for cells in rows:
        named = re.findall(r"`([^`]+)`", cells[2])
        assert named, cells
        for name in named:
            path, _, function = name.partition("::")
            text = (lab.ROOT / path).read_text()
            assert not function or re.search(rf"(def |TEST\(){function}\b", text), name


def test_every_fuzz_target_is_listed():
    """CONTRIBUTING.md says whose bytes each reads."""
    listed = set(re.findall(r"`(src/\S+_fuzz\.c)`", (lab.ROOT / "CONTRIBUTING.md").read_text()))
    assert listed == {str(path.relative_to(lab.ROOT)) for path in (lab.ROOT / "src").rglob("*_fuzz.c")}
