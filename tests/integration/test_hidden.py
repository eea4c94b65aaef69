"""Credentials in statements: the target gets them, the record does not."""

import json
import os

import pytest

import lab

SECRETS = ["hidden-Pass-1", "hidden-Pass-2", "hidden-Pass-3", "hidden-key-4", "hidden-param-5"]


def events_of(gateway, kind):
    lines = gateway.hansard("export", "@last", "--as", "ndjson", "--events").stdout.splitlines()
    return [e for e in map(json.loads, lines) if e["type"] == "event" and e["event"] == kind]


def store_bytes(gateway):
    """All files of the store, and what is compressed in them as `export` tells it."""
    found = b""
    for s in gateway.json("sessions"):
        found += gateway.hansard("export", s["id"], "--as", "ndjson", "--events").stdout.encode()
    for root, _, names in os.walk(gateway.store):
        for name in (x for x in names if os.path.isfile(os.path.join(root, x))):
            with open(os.path.join(root, name), "rb") as f:
                found += f.read()
    return found


def wait_closed(gateway):
    lab.wait_for(lambda: [s for s in gateway.json("sessions") if not s["open"]] and not [s for s in gateway.json("sessions") if s["open"]], "the session to close")


@pytest.fixture
def owner(pg):
    """The gateway's role may make roles."""
    pg.sql("shop", "alter role app createrole; create extension if not exists pgcrypto; create extension if not exists dblink")
    yield
    pg.sql("shop", "drop role if exists hidden_role; alter role app nocreaterole")


def test_passwords_reach_the_target_and_not_the_record(owner, gateway, pg):
    gateway.psql(f"create role hidden_role login password '{SECRETS[0]}'")
    gateway.psql(f"select dblink_connect('host=127.0.0.1 port=1 password={SECRETS[1]} connect_timeout=1')", check=False)
    gateway.psql(f"alter role hidden_role password '{SECRETS[0]}'")
    gateway.psql(f"create role hidden_role encrypted password '{SECRETS[2]}' nonsense", check=False)
    gateway.psql(f"select length(pgp_sym_encrypt('data', '{SECRETS[3]}')) > 0")
    lab.run(["psql", f"host=127.0.0.1 port={pg.port} user=hidden_role dbname=shop", "-XAtqc", "select 1"], env={**os.environ, "PGPASSWORD": SECRETS[0]})
    wait_closed(gateway)
    kept = store_bytes(gateway)
    for secret in SECRETS[:4]:
        assert secret.encode() not in kept, secret
    everything = "".join(gateway.hansard("show", s["id"]).stdout for s in gateway.json("sessions"))
    assert f"password '[redacted {len(SECRETS[0])} bytes, credential]'" in everything
    assert "connect_timeout=1" in everything
    gateway.stop()
    done = lab.python_verifier(gateway.store)
    assert done.returncode == 0, done.stdout


def test_the_hash_tells_equal_from_other(owner, gateway):
    gateway.psql(f"select 'password={SECRETS[0]}', 'password={SECRETS[1]}', 'password={SECRETS[0]}'")
    wait_closed(gateway)
    macs = [e["mac"] for e in events_of(gateway, "hidden")]
    assert len(macs) == 3 and macs[0] == macs[2] != macs[1]
    texts = [e["text_sha256"] for e in events_of(gateway, "command")]
    gateway.psql(f"select 'password={SECRETS[1]}', 'password={SECRETS[1]}', 'password={SECRETS[3]}'")
    wait_closed(gateway)
    assert [e["mac"] for e in events_of(gateway, "hidden")][0] == macs[1], "one key for the store"
    assert [e["text_sha256"] for e in events_of(gateway, "command")] == texts, "the hash is of what is kept"


def test_large_statements_are_looked_at_too(owner, gateway):
    filler = "x" * 300000
    script = gateway.dir / "large.sql"
    script.write_text(f"do $$ begin perform '{filler}'; perform crypt('{SECRETS[4]}', gen_salt('md5')); end $$;\n")
    lab.run(["psql", gateway.conninfo(), "-Xq", "-v", "ON_ERROR_STOP=1", "-f", script], env={**os.environ, "PGPASSWORD": gateway.token()})
    wait_closed(gateway)
    assert SECRETS[4].encode() not in store_bytes(gateway)
    assert len(events_of(gateway, "hidden")) == 1


def test_keep_keeps(binary, pg):
    gateway = lab.Gateway(binary, pg)
    gateway.connections["shop"]["record"]["credentials"] = "keep"
    gateway.write_config()
    gateway.start()
    try:
        gateway.psql(f"select 'password={SECRETS[0]}'")
        wait_closed(gateway)
        assert not events_of(gateway, "hidden")
        assert SECRETS[0] in gateway.hansard("show", "@last").stdout
    finally:
        gateway.stop()
        gateway.remove()
