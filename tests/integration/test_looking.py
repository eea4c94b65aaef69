"""Reading comfortably: show, play, export and ls, held against what the server itself says."""

import base64
import json
import shutil
import subprocess
import time

import pytest

import lab
import libpq

VALUES = {
    "bool": ["true", "false"],
    "int2": ["-32768", "7"], "int4": ["-2147483648"], "int8": ["9223372036854775807"], "oid": ["4294967295"],
    "float4": ["0.1", "1e6", "123456.5", "-1e-05", "3.4028235e38", "1e-45", "NaN", "-Infinity", "-0"],
    "float8": ["0.1", "1e15", "123456789012345", "1234567890123456", "5e-324", "1.7976931348623157e308", "0.0001", "0.00001", "100", "Infinity", "9007199254740993", "2.5e-7"],
    "numeric": ["0", "-0.00012300", "12345678901234567890.123456789", "1e20", "NaN", "Infinity", "10000", "0.5", "99990000"],
    "text": ["naïve\\ \"quoted\"", ""], "varchar": ["x"], "bytea": ["\\x00ff41"],
    "json": ['{"a": [1,  2]}'], "jsonb": ['{"a": [1,  2]}'], "uuid": ["01234567-89ab-cdef-0123-456789abcdef"],
    "date": ["2024-02-29", "0044-03-15 BC", "infinity", "10000-01-01"], "time": ["13:07:24.64025", "24:00:00"], "timetz": ["13:07:24+05:30", "01:02:03-08"],
    "timestamp": ["1999-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC", "-infinity"], "timestamptz": ["2026-11-21 10:00:00.5+02"],
    "interval": ["0", "1 year 3 mons 2 days 00:00:01.5", "-1 day 00:00:01", "-14 mons", "1 day -04:05:06.007", "178000000 years", "-3 days -1:00:00"],
    "inet": ["10.0.0.1", "10.0.0.1/24", "fe80::1/64"], "cidr": ["10.0.0.0/8"], "macaddr": ["08:00:2b:01:02:03"],
    "int4range": ["empty", "[1,5)", "(,)", "[,7)"], "numrange": ["[1.5,2.5]"], "daterange": ["[2024-01-01,2024-02-01)"], "tsrange": ["[2024-01-01 10:00,)"], "tstzrange": ["(,2024-01-01 10:00+00]"],
    "int4multirange": ["{[1,3),[5,7)}", "{}"],
    "int4[]": ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={7,8}", "[2:3][-1:0]={{1,2},{3,4}}"],
    "text[]": ['{a,"b c","NULL",NULL,"","q\\"\\\\",{}}'.replace(",{}", ',"{}"'), "{null}"],
    "timestamp[]": ['{"2024-01-01 10:00:00"}'], "numeric[]": ["{1.50,NaN}"], "int4range[]": ['{"[1,5)",empty}'], "bytea[]": ['{"\\\\x00ff"}'],
}


def commands_of(gateway, sid="@last"):
    return json.loads(gateway.hansard("show", sid, "-o", "json").stdout)["command_list"]


def closed_session(gateway, before):
    """The newest session, once it is closed; `before` is how many there were."""
    return lab.wait_for(lambda: (lambda s: s[0]["id"] if len(s) > before and not s[0]["open"] else None)(gateway.json("sessions")), "the session's close")


@pytest.fixture(scope="module")
def gw(shared_gateway):
    return shared_gateway


@pytest.fixture
def talk(gw):
    """A function that runs `act` on a libpq connection and returns the id of the session."""
    def run(act):
        before = len(gw.json("sessions"))
        connection = libpq.Connection(gw.conninfo(), gw.token("--on-behalf-of", "mara@example.com"))
        try:
            act(connection)
        finally:
            connection.close()
        return closed_session(gw, before)
    return run


def test_binary_parameters_read_as_the_server_writes_them(gw, talk):
    want = []

    def act(c):
        c.simple("set timezone to 'UTC'")
        for name, texts in VALUES.items():
            for text in texts:
                raw = c.query(f"select $1::text::{name}", [text.encode()], result=1)[0][0]
                oid = c.types[0]
                want.append((name, c.query(f"select format('%s', $1::{name})", [raw], [oid], binary=1)[0][0].decode()))
    sid = talk(act)
    seen = [c["parameters"][0] for c in commands_of(gw, sid) if c["text"].startswith("select format(")]
    assert len(seen) == len(want)
    assert [(p["type"], p["value"]) for p in seen] == want


def test_show_tells_the_statement_behind_each_execute(gw, talk):
    def act(c):
        c.simple("create temp table t(a int, b text)")
        c.prepare("ins", "insert into t values ($1, $2) /*action='%2Fsave',traceparent='00-5bd6-9fb4-01'*/", [23, 25])
        for i in range(3):
            c.execute("ins", [i.to_bytes(4, "big"), None if i == 1 else b"v%d" % i], binary=1)
        with pytest.raises(libpq.Error):
            c.query("select 1 / $1::int", [b"0"])
        c.simple("do $$ begin raise notice 'careful'; end $$")
        c.simple("set application_name to 'later'")
        c.simple("listen chan; notify chan, 'hello'")
    sid = talk(act)
    shown = json.loads(gw.hansard("show", sid, "-o", "json").stdout)
    ins = [c for c in shown["command_list"] if c["kind"] == "execute" and c["statement"] == "ins"]
    assert len(ins) == 3 and all(c["text"].startswith("insert into t") and c["tag"] == "INSERT 0 1" for c in ins)
    assert [c["parameters"] for c in ins] == [[{"type_oid": 23, "type": "int4", "value": str(i)}, {"type_oid": 25, "type": "text", "value": None if i == 1 else f"v{i}"}] for i in range(3)]
    assert ins[0]["claimed"] == [{"key": "action", "value": "/save"}, {"key": "traceparent", "value": "00-5bd6-9fb4-01"}]
    assert ins[0]["total_ns"] == ins[0]["held_ns"] + ins[0]["target_ns"]
    failed = next(c for c in shown["command_list"] if c["status"] == "failed")
    assert failed["sqlstate"] == failed["error"]["sqlstate"] == "22012" and failed["error"]["message"] == "division by zero" and failed["error"]["routine"]
    assert [n["message"] for c in shown["command_list"] for n in c.get("notices", [])] == ["careful"]
    happened = {h["type"]: h for h in shown["happened"]}
    assert happened["parameter"]["name"] == "application_name" and happened["parameter"]["value"] == "later"
    assert happened["notification"]["channel"] == "chan" and happened["notification"]["payload"] == "hello"
    assert shown["learnt"]["server_version"] and int(shown["learnt"]["backend_pid"]) > 0 and shown["learnt"]["target_tls"].startswith("TLS")

    text = gw.hansard("show", sid).stdout
    for line in ("on behalf of   mara@example.com (verified)", "routed by      user", f"backend pid    {shown['learnt']['backend_pid']}", "target user    app", "  $1 int4 = \"2\"", "  $2 text = NULL",
                 '  claimed: action="/save" traceparent="00-5bd6-9fb4-01"', "  ! ERROR 22012: division by zero", "  ! NOTICE 00000: careful", "  = INSERT 0 1",
                 "channel chan", "the target says application_name = later"):
        assert line in text, line
    one = gw.hansard("show", sid, "--command", str(ins[2]["number"])).stdout
    assert '  $1 int4 = "2"' in one and "$1         type 23, binary" in one and "division by zero" not in one and "create temp table" not in one
    assert [c["number"] for c in json.loads(gw.hansard("show", sid, "--command", "2", "-o", "json").stdout)["command_list"]] == [2]
    for wrong, code in ((["--command", "999"], 1), (["--command", "0"], 2), (["--command", "x"], 2)):
        assert gw.hansard("show", sid, *wrong, check=False).returncode == code, wrong


def test_show_counts_and_cuts(gw, talk):
    long = "x" * 3000

    def act(c):
        c.query(f"select $1::text, '{long}'", [long.encode()])
        c.query("select generate_series(1, 40)")
    sid = talk(act)
    text = gw.hansard("show", sid).stdout
    assert "40 rows (" in text and long not in text and "(3000 bytes)" in text and "more bytes" in text
    assert gw.hansard("show", sid, "-o", "wide").stdout.count(long) == 2
    assert long in gw.hansard("show", sid, "--command", "1").stdout
    first = commands_of(gw, sid)[0]
    assert first["parameters"][0]["value"] == long and commands_of(gw, sid)[1]["rows"] == 40


def test_ls_says_roles_and_how_to_connect(gw, tmp_path):
    token = gw.token(subject="lister", groups=["agents"])
    everybody = gw.json("ls")
    assert [c["name"] for c in everybody] == ["shop"] and everybody[0]["roles"][0] == {"name": "default", "user": "app", "groups": ["agents"]}
    assert (everybody[0]["results"], everybody[0]["durable"], everybody[0]["hygiene"], everybody[0]["credentials"]) == ("full", "before-forward", "pinned", "redact")
    assert "default (agents), ro (agents)" in gw.hansard("ls").stdout
    stranger = gw.json("ls", "--group", "strangers")[0]
    assert "connect" not in stranger and not any(r["yours"] for r in stranger["roles"])
    assert all(r["yours"] for r in gw.json("ls", "--subject", "lister")[0]["roles"])
    assert gw.hansard("ls", "--subject", "nobody", check=False).returncode == 1
    env = {"PATH": "/usr/bin:/bin", "HANSARD_TOKEN": token}
    assert "default, ro" in gw.hansard("ls", env=env).stdout
    assert gw.hansard("ls", env={**env, "HANSARD_TOKEN": token[:-1] + ("0" if token[-1] != "0" else "1")}, check=False).returncode == 1
    for how in ("conninfo", "uri"):
        done = lab.run(["psql", everybody[0]["connect"][0][how], "-XAtc", "select current_user"], env={"PGPASSWORD": token, "PATH": "/usr/bin:/bin"})
        assert done.stdout == "app\n"
    alone = tmp_path / "h.yaml"
    alone.write_text(gw.config.read_text().replace("./data", str(tmp_path / "none")))
    assert lab.run([gw.binary, "ls", "--config", alone, "--group", "agents"]).stdout.count("default, ro") == 1
    alone.write_text("nonsense: 1\n")
    assert "hansard check" in lab.run([gw.binary, "ls", "--config", alone], check=False).stderr


def state_of(pg, database):
    return pg.sql(database, "select * from led order by id; select * from copied order by 1, 2; select count(*), max(v) from seqd;"
                            " select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1")


SCHEMA = "create table led(id int primary key, note text, amounts numeric[], at timestamptz, raw bytea, flag bool, span int4range);" \
         " create table copied(a int, b text); create table seqd(v int); grant all on led, copied, seqd to public;"


@pytest.fixture
def twins(pg):
    """Two databases with the same tables: one to speak with, one to replay into."""
    for name in ("twin_a", "twin_b"):
        pg.sql("postgres", f"create database {name}")
        pg.sql(name, SCHEMA + " grant all on schema public to public")
    yield "twin_a", "twin_b"
    for name in ("twin_a", "twin_b"):
        pg.sql("postgres", f"drop database {name} with (force)")


def test_sql_script_yields_the_same_state(binary, pg, twins, tmp_path):
    gw = lab.Gateway(binary, pg, allow=["shop", *twins]).start()
    try:
        c = libpq.Connection(gw.conninfo(dbname=twins[0]), gw.token())
        marker = tmp_path / "ran"
        c.simple("set timezone to 'UTC'")
        insert = "insert into led values ($1, $2, $3, $4, $5, $6, $7)"
        types = [23, 25, 1231, 1184, 17, 16, 3904]
        raws = []
        for text, cast in (("7", "int4"), ("it's \\ \"x\" $2 :y", "text"), ("{1.50,NULL}", "numeric[]"), ("2026-11-21 10:00:00.25+02", "timestamptz"),
                           ("\\x00ff27", "bytea"), ("t", "bool"), ("[1,5)", "int4range")):
            raws.append(c.query(f"select $1::text::{cast}", [text.encode()], result=1)[0][0])
        c.query(insert, raws, types, binary=1)
        c.query(insert, [b"8", b"caf\xc3\xa9", None, b"2026-01-01", b"\\x41", b"f", b"empty"], types)
        c.simple("insert into led(id, note) values (9, 'nine\\'), (10, $q$it's \\! touch " + str(marker) + "$q$)")
        for bad in ("insert into led(id) values (7)", f"insert into led(id) values (70) \\! touch {marker}\n", "insert into led(id) values (71); select 1/0"):
            with pytest.raises(libpq.Error):
                c.simple(bad)
        c.simple("begin")
        c.simple("insert into led(id) values (20)")
        with pytest.raises(libpq.Error):
            c.simple("nonsense")
        c.simple("commit")
        c.simple("begin; insert into led(id) values (21); savepoint a; insert into led(id) values (22); rollback to a; commit")
        c.simple("update led set note = (array['a','b','c'])[1:2]::text where id = 8")
        c.simple("create table made as select generate_series(1, 3) as n")
        c.simple("insert into seqd select generate_series(1, 50)")
        c.simple("begin")
        c.simple("insert into seqd values (999)")
        c.close()
        first = closed_session(gw, 0)
        data = tmp_path / "in.tsv"
        data.write_text("1\tplain\n2\tback\\\\slash\n3\t\\N\n")
        csv = tmp_path / "in.csv"
        csv.write_text('4,"two\nlines"\n')
        evil = tmp_path / "evil.csv"
        evil.write_text(f'5,"x\n\\.\n\\! touch {marker}\n"\n')
        gw.psql(["-c", f"\\copy copied from '{data}'", "-c", f"\\copy copied from '{csv}' csv", "-c", "\\copy copied from '/dev/null'", "-c", "\\copy copied to '/dev/null'",
                 "-c", "select 1 as \"a:b\", 'x:y', '{1,2}'::int[]"], dbname=twins[0])
        second = closed_session(gw, 1)
        gw.psql(["-c", f"\\copy copied from '{evil}' csv"], dbname=twins[0], check=False)
        third = closed_session(gw, 2)
        pg.sql(twins[0], "delete from copied where a = 5")
        for sid in (first, second, third):
            script = tmp_path / "script.sql"
            script.write_text(gw.hansard("export", sid, "--as", "sql").stdout)
            lab.run(["psql", "-h", pg.dir, "-p", str(pg.port), "-U", "app_super", "-d", twins[1], "-Xq", "-f", script])
            assert "\n\\!" not in "".join(line for line in script.read_text().split("$q$")[::2])
        assert state_of(pg, twins[0]) == state_of(pg, twins[1])
        assert not marker.exists()
        script = gw.hansard("export", first, "--as", "sql").stdout
        assert "-- not run: it failed" in script and "answered with ROLLBACK" in script and script.rstrip().endswith("ROLLBACK;")
        assert gw.hansard("export", first, "--as", "sql", "--events", check=False).returncode == 2
        assert gw.hansard("export", "--all", "--as", "sql").stdout.count("ON_ERROR_STOP") == 3
    finally:
        gw.stop()
        gw.remove()


def tshark(path, *args):
    return lab.run(["tshark", "-n", "-r", path, *args]).stdout


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_packets_are_what_the_record_says(gw, talk, tmp_path):
    long = "y" * 200000

    def act(c):
        c.simple("create temp table t(a int, b text)")
        for i in range(3):
            c.query("insert into t values ($1, $2)", [b"%d" % i, b"v"])
        c.simple(f"select length('{long}'), '{long}'")
        with pytest.raises(libpq.Error):
            c.simple("select nonsense")
    sid = talk(act)
    path = tmp_path / "s.pcapng"
    with open(path, "wb") as f:
        subprocess.run([gw.binary, "export", "--config", gw.config, sid, "--as", "pcapng"], stdout=f, check=True)
    lines = [json.loads(x) for x in gw.hansard("export", sid).stdout.split("\n") if x]
    commands = [x for x in lines if x["type"] == "command"]
    for interface in ("0", "1"):
        texts = [q for line in tshark(path, "-Y", f"pgsql && frame.interface_id == {interface}", "-T", "fields", "-e", "pgsql.query", "-E", "aggregator=\x1e").split("\n")
                 for q in line.split("\x1e") if q]
        texts = [t for t in texts if "pg_catalog.unnest(" not in t]  # the gateway's own look-ups
        assert texts == [c["text"] for c in commands if c["kind"] == "query" or c["text"].startswith("insert")], interface
        tags = [t for line in tshark(path, "-Y", f"pgsql.tag && frame.interface_id == {interface}", "-T", "fields", "-e", "pgsql.tag", "-E", "aggregator=\x1e").split("\n") for t in line.split("\x1e") if t]
        want = [c["result"]["tag"] for c in commands if c["status"] == "ok"]
        left = iter(tags)
        assert (tags == want if interface == "0" else all(t in left for t in want)), interface
        codes = tshark(path, "-Y", f"pgsql.code && frame.interface_id == {interface}", "-T", "fields", "-e", "pgsql.code").split()
        assert codes == ["42703"]
    wrong = tshark(path, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y",
                   "tcp.checksum.status != 1 || ip.checksum.status != 1 || tcp.analysis.lost_segment || tcp.analysis.retransmission || tcp.analysis.out_of_order")
    assert wrong == ""
    assert "not on the record" in tshark(path, "-T", "fields", "-e", "frame.comment")  # the password
    first = [float(x) for x in tshark(path, "-T", "fields", "-e", "frame.time_epoch").split()]
    assert first == sorted(first) and abs(first[0] - time.time()) < 300
    assert gw.hansard("export", sid, "--as", "pcapng", "--events", check=False).returncode == 2


def test_streams_in_packets_are_the_bytes_of_the_record(gw, talk, tmp_path):
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    sid = talk(lambda c: c.simple("select repeat('z', 70000)"))
    path = tmp_path / "s.pcapng"
    with open(path, "wb") as f:
        subprocess.run([gw.binary, "export", "--config", gw.config, sid, "--as", "pcapng"], stdout=f, check=True)
    events = [json.loads(x) for x in gw.hansard("export", sid, "--events").stdout.split("\n") if x]
    asked = b"".join(bytes.fromhex(x) for x in tshark(path, "-Y", "tcp.dstport == 5432 && tcp.len > 0 && frame.interface_id == 0", "-T", "fields", "-e", "tcp.payload").split())
    want = b""
    for e in events:
        if e["type"] == "event" and e["stream"] == "C" and e["event"] in ("raw", "dropped", "redacted"):
            data = base64.b64decode(e["base64"]) if "base64" in e else e["text"].encode() if "text" in e else b"p" + (e["length"] - 1).to_bytes(4, "big") + bytes(e["length"] - 5)
            want += b"" if data == bytes.fromhex("0000000804d2162f") else data
    assert asked == want


def test_play_at_its_pace(gw, talk):
    sid = talk(lambda c: (c.simple("select 1"), c.simple("select pg_sleep(1.5)"), c.simple("select 'end'")))
    plain = gw.hansard("play", sid).stdout

    def seconds(*args):
        begin = time.monotonic()
        assert gw.hansard("play", sid, *args).stdout == plain
        return time.monotonic() - begin
    at_once = seconds()
    assert seconds("--speed", "1") > 1.5 and seconds("--speed", "1", "--max-pause", "100ms") < at_once + 1.4
    assert seconds("--speed", "2x") > 0.75
    for wrong in ("fast", "", "-1", "1.x", "1.2345", "5000"):
        assert gw.hansard("play", sid, "--speed=" + wrong, check=False).returncode == 2, wrong
    assert gw.hansard("play", sid, "--json").stdout == gw.hansard("export", sid).stdout
    assert gw.hansard("play", sid, "--json", "--speed", "1", check=False).returncode == 2


def test_completion_knows_forms_sessions_and_connections(gw):
    def complete(*words):
        line = " ".join([gw.binary, *words])
        script = f'source <({gw.binary} completion bash); COMP_WORDS=({line} ""); COMP_CWORD={len(words) + 1}; _hansard; echo "${{COMPREPLY[@]}}"'
        return lab.run(["bash", "-c", script], env={"PATH": "/usr/bin:/bin", "HANSARD_CONFIG": str(gw.config)}).stdout.split()
    assert complete("export", "--as") == ["ndjson", "sql", "pcapng"]
    assert complete("sessions", "--connection") == ["shop"]
    known = complete("show")
    assert known[0] == "@last" and set(known[1:]) <= {s["id"] for s in gw.json("sessions", "--limit", "0")}
    assert complete("ls", "-o") == ["table", "wide", "json", "yaml"]
