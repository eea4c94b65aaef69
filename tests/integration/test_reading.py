"""Reading the record: what people and programs are shown, and that looking is on the record too."""

import json
import re

import pytest

import lab

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp.exe\u200b\x7f"
# What may move a cursor, hide or reorder; a newline is ours.
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


@pytest.fixture(scope="module")
def talked(binary, pg):
    """A gateway with sessions of several kinds on its record; the newest says what a terminal must not see."""
    gateway = lab.Gateway(binary, pg).start()
    token = gateway.token("--on-behalf-of", "mara@example.com", "--context", "task=T-1")
    script = gateway.dir / "bench.sql"
    script.write_text("\\set k random(1, 9)\nselect id, item from orders where id = :k;\n")
    lab.run([lab.pg_bin() / "pgbench", gateway.conninfo(), "-n", "-c", "1", "-t", "3", "-M", "prepared", "-f", script],
            env={"PGPASSWORD": token, "PATH": "/usr/bin:/bin"})
    data = gateway.dir / "in.tsv"
    data.write_text("1\ta\n2\tb\n")
    gateway.psql(["-c", "create temp table c(a int, b text)", "-c", f"\\copy c from '{data}'", "-c", "\\copy c to stdout"], token)
    quoted = "'" + EVIL + "'"
    gateway.psql(["-c", f"select {quoted} as \"{EVIL}\", null as n, '' as empty, 'NULL' as word",
                  "-c", f"do $$ begin raise notice {quoted}; end $$"], token)
    lab.wait_for(lambda: len([s for s in gateway.json("sessions") if not s["open"] and s["commands"]]) >= 3, "closed sessions")
    yield gateway
    gateway.stop()
    gateway.remove()


def lines_of(gateway, *args):
    # not splitlines(): only a newline ends a line of NDJSON
    return [json.loads(line) for line in gateway.hansard("export", *args).stdout.split("\n") if line]


@pytest.mark.parametrize("command", [["play", "@last"], ["play", "@last", "-o", "wide"], ["show", "@last"], ["show", "@last", "-o", "json"],
                                     ["show", "@last", "-o", "yaml"], ["export", "@last"], ["export", "@last", "--events"], ["sessions", "-o", "wide"]])
def test_nothing_recorded_reaches_a_terminal_raw(talked, command):
    out = talked.hansard(*command).stdout
    assert not HARMFUL.findall(out)
    if command[0] == "play":
        assert "\\x1b[31mred" in out and "\\u{202e}" in out


def test_export_keeps_every_byte(talked):
    select = next(x for x in lines_of(talked, "@last") if x["type"] == "command")
    assert EVIL in select["text"]
    assert select["result"]["rows"] == [[EVIL, None, "", "NULL"]]
    assert select["result"]["columns"][0]["name"] == EVIL
    notice = [x for x in lines_of(talked, "@last") if x["type"] == "command"][1]["notices"][0]
    assert notice["message"] == EVIL and notice["severity"] == "NOTICE"


def test_null_is_not_empty(talked):
    table = talked.hansard("play", "@last").stdout.split("\n")
    row = next(line for line in table if "\"NULL\"" in line)
    assert re.search(r"  NULL +\"\" +\"NULL\"$", row)


def test_prepared_statements_and_parameters(talked):
    sid = next(s["id"] for s in talked.json("sessions") if s["commands"] == 3 and lines_of(talked, s["id"])[0]["open"]["client"]["application"] == "pgbench")
    commands = [x for x in lines_of(talked, sid) if x["type"] == "command"]
    assert [c["text"] for c in commands] == ["select id, item from orders where id = $1;"] * 3
    for c in commands:
        value = c["parameters"][0]["value"]
        assert c["result"]["rows"] == [[value, f"item {value}"]]
        assert c["total_ns"] == c["held_ns"] + c["target_ns"] and c["held_ns"] > 0
    assert "$1" in talked.hansard("play", sid).stdout


def test_copy_is_shown(talked):
    sid = talked.json("sessions")[1]["id"]
    commands = [x for x in lines_of(talked, sid) if x["type"] == "command"]
    assert "".join(c["text"] for c in commands[1]["result"]["copy"]) == "1\ta\n2\tb\n"
    assert commands[1]["result"]["copy_direction"] == "in" and commands[2]["result"]["copy_direction"] == "out"
    play = talked.hansard("play", sid).stdout
    assert "  > 1\ta\n" in play and "  < 2\tb\n" in play


def test_ids(talked):
    sessions = talked.json("sessions")
    newest = sessions[0]
    for name in (newest["id"], newest["id"].upper(), newest["id"].replace("-", ""), newest["sid"], newest["sid"][:30], "@last", "@last~0"):
        assert talked.json("show", name)["sid"] == newest["sid"]
    assert talked.json("show", "@last~1")["sid"] == sessions[1]["sid"]
    ambiguous = talked.hansard("show", newest["sid"][:4], check=False)
    assert ambiguous.returncode == 2 and newest["id"] in ambiguous.stderr and sessions[1]["id"] in ambiguous.stderr
    for wrong, code in (("@last~99", 1), ("@first", 2), ("abc", 2), ("zzzzzzzz", 1), ("../../etc", 2)):
        assert talked.hansard("show", wrong, check=False).returncode == code, wrong


def test_filters(talked):
    everything = talked.json("sessions")
    assert talked.json("sessions", "--limit", "1") == everything[:1]
    assert talked.json("sessions", "--connection", "nothere") == []
    assert talked.json("sessions", "--subject", "ci") == talked.json("sessions", "--subject", "local:ci") == everything
    assert talked.json("sessions", "--open") == []
    assert talked.json("sessions", "--since", "1h") == everything
    assert talked.json("sessions", "--until", "2020-01-01") == []
    assert {s["protocol"] for s in talked.json("sessions", "--acts")} == {"acts", "postgres"}


def test_looking_is_on_the_record(talked):
    newest = talked.json("sessions")[0]["sid"]
    talked.hansard("export", "@last")
    talked.hansard("verify", "@last", check=False)
    acts = next(s["sid"] for s in talked.json("sessions", "--acts") if s["protocol"] == "acts")
    seen = [x["act"] for x in lines_of(talked, acts) if x["type"] == "act"]
    for act in ("record.viewed", "record.exported", "record.verified"):
        assert any(x["act"] == act and x.get("session", newest) == newest for x in seen), act


def test_export_of_all(talked):
    lines = lines_of(talked, "--all")
    heads = [x["session"] for x in lines if x["type"] == "session"]
    assert len(heads) == len(set(heads)) == len(talked.json("sessions", "--acts"))
    assert any(x["type"] == "act" and x["act"]["act"] == "gateway.started" for x in lines)


def test_usage(talked):
    for wrong in (["export", "@last", "--as", "csv"], ["export"], ["export", "@last", "--all"], ["play", "@last", "-o", "json"], ["verify", "@last", "--all"],
                  ["sessions", "x"], ["sessions", "-o", "xml"], ["sessions", "--since", "tomorrow"], ["completion", "fish"], ["token", "sl"], ["why"]):
        assert talked.hansard(*wrong, check=False).returncode == 2, wrong
    assert talked.hansard("verify", "--vkey", "nonsense", check=False).returncode == 2
    assert talked.hansard("sessions", "--store", "/nonexistent", check=False).returncode == 1


def test_a_copy_is_read_and_an_altered_one_is_not_shown_as_true(talked):
    copy = talked.copy_store()
    plain = talked.hansard("export", "@last").stdout
    assert talked.hansard("export", "@last", "--store", copy).stdout == plain
    assert "not on the record" in talked.hansard("play", "@last", "--store", copy, "-v").stderr
    vkey = talked.json("status")["vkey"]
    newest = talked.json("sessions")[0]["sid"]
    part = next((copy / "record" / "sessions").rglob(f"{newest}.*.rec"))
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    # The journal still has the frame as it was, so that is what is shown.
    assert talked.hansard("export", "@last", "--store", copy).stdout == plain
    done = talked.hansard("verify", "--store", copy, "--vkey", vkey, check=False)
    assert done.returncode == 4 and "TAMPERED" in done.stdout and re.search(r"byte \d+", done.stdout)
    found = json.loads(talked.hansard("verify", "--store", copy, "-o", "json", check=False).stdout)
    assert found["result"] == "tampered" and any(s["state"] == "altered" for s in found["sessions"])
    for segment in (copy / "record" / "journal").iterdir():
        segment.unlink()
    done = talked.hansard("play", "@last", "--store", copy, check=False)
    assert done.returncode == 4 and re.search(r"frame \d+", done.stderr)


def test_one_session_is_verified_when_all_of_it_is_signed(talked):
    done = lab.wait_for(lambda: (lambda r: r if r.returncode == 0 else None)(talked.hansard("verify", "@last", "-o", "json", check=False)), "signed")
    session = json.loads(done.stdout)["sessions"][0]
    assert session["frames_signed"] == session["frames"] > 3 and session["closed"]


def test_without_a_gateway_asking_says_what_to_do(talked, tmp_path):
    config = tmp_path / "h.yaml"
    config.write_text(talked.config.read_text().replace("./data", str(tmp_path / "none")))
    for command in (["status"], ["token", "ls"], ["why", "k7m2-9xqe"]):
        done = lab.run([talked.binary, command[0], "--config", config, *command[1:]], check=False)
        assert done.returncode == 1 and "hansard serve" in done.stderr


def test_output_that_cannot_be_written_is_a_failure(talked):
    for command in (["export", "@last"], ["play", "@last"], ["sessions", "-o", "json"]):
        done = lab.run(["sh", "-c", 'exec "$0" "$@" > /dev/full', talked.binary, command[0], "--config", talked.config, *command[1:]], check=False)
        assert done.returncode == 1 and "cannot be written" in done.stderr, command


def test_token_arguments(talked):
    for wrong in (["--subject", "x"], ["--kind", "agent"], ["--subject", "x", "--kind", "agent", "--ttl", "soon"],
                  ["--subject", "x", "--kind", "agent", "--context", "novalue"]):
        assert talked.hansard("token", *wrong, check=False).returncode == 2, wrong
    done = lab.run([talked.binary, "token", "--config", talked.config, "--subject", b"\xff".decode(errors="surrogateescape"), "--kind", "agent"], check=False)
    assert done.returncode == 2 and "UTF-8" in done.stderr
