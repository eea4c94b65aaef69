"""Relations as they were called at first sight: asked for between transactions, unnoticed."""

import json

import lab
from test_hidden import wait_closed
from test_results import recorded  # noqa: F401 (a fixture)


def events(gateway, session="@last"):
    return [e for e in map(json.loads, gateway.hansard("export", session, "--as", "ndjson", "--events").stdout.splitlines()) if e["type"] == "event"]


def relations(gateway, name="relation"):
    values = [e["text"] for e in events(gateway) if e["event"] == "fact" and e["name"] == name]
    return [json.loads(v) for v in values] if name == "relation" else values


def by_name(gateway):
    return {r["name"]: r for r in relations(gateway) if "name" in r}


def lookups(gateway):
    return [e for e in events(gateway) if e["event"] == "injected" and e["stream"] == "U" and e["why"] == 10]


def test_a_relation_is_frozen_at_first_sight(gateway, pg):
    gateway.psql(["-c", "select id from orders limit 1", "-c", "select * from orders limit 1", "-c", "insert into orders values (777, 'x', 1)", "-c", "delete from public.orders where id = 777"])
    wait_closed(gateway)
    found = relations(gateway)
    assert [r["name"] for r in found] == ["orders"] and found[0]["schema"] == "public" and found[0]["kind"] == "table"
    assert found[0]["oid"] >= 16384 and found[0]["columns"][0][1] == "id", found
    assert len(lookups(gateway)) <= 2
    # Readers put the name behind the OID.
    lines = [json.loads(x) for x in gateway.hansard("export", "@last", "--as", "ndjson").stdout.splitlines()]
    assert [x["relation"] for x in lines if x["type"] == "relation"] == found
    column = next(x for x in lines if x["type"] == "command")["result"]["columns"][0]
    assert column["table_oid"] == found[0]["oid"] and column["attnum"] == found[0]["columns"][0][0]
    assert gateway.json("show", "@last")["relations"] == found
    for command in ("show", "play"):
        assert f"relation public.orders, oid {found[0]['oid']}, table: id " in gateway.hansard(command, "@last").stdout


def test_transactions_temporary_tables_and_what_is_gone(gateway):
    gateway.psql(["-c", "begin", "-c", "create temp table names_t(a int, \"B c\" text)", "-c", "select * from names_t", "-c", "create temp table names_gone()", "-c", "select * from names_gone",
                  "-c", "drop table names_gone", "-c", "commit", "-c", "create view pg_temp.names_v as select 1 as x", "-c", "select * from pg_temp.names_v"])
    wait_closed(gateway)
    found = relations(gateway)
    frozen = by_name(gateway)
    assert frozen["names_t"]["columns"] == [[1, "a", "integer"], [2, "B c", "text"]] and frozen["names_t"]["schema"].startswith("pg_temp")
    assert frozen["names_gone"] == {"name": "names_gone", "found": False} or [r for r in found if r.get("found") is False and r.get("oid")], found
    assert frozen["names_v"]["kind"] == "view" and frozen["names_v"]["columns"] == [[1, "x", "integer"]]
    # Nothing was asked inside the transaction: the record tells in which order it went.
    said = [(e["event"], e.get("why"), e.get("text", "")) for e in events(gateway) if e["event"] in ("raw", "injected") and e["stream"] in "CU"]
    begin = next(i for i, e in enumerate(said) if "begin" in e[2])
    commit = next(i for i, e in enumerate(said) if "commit" in e[2])
    assert not [e for e in said[begin:commit] if e[0] == "injected"]


def test_a_renamed_table_is_told_again(gateway, pg):
    pg.sql("shop", "drop table if exists names_a, names_b; create table names_a(x int); grant all on names_a to app; alter table names_a owner to app")
    gateway.psql(["-c", "select * from names_a", "-c", "alter table names_a rename to names_b", "-c", "alter table names_b add y text", "-c", "select * from names_b"])
    wait_closed(gateway)
    a, b = by_name(gateway)["names_a"], [r for r in relations(gateway) if r.get("name") == "names_b"][-1]
    assert a["oid"] == b["oid"] and a["columns"] == [[1, "x", "integer"]] and b["columns"] == [[1, "x", "integer"], [2, "y", "text"]]
    pg.sql("shop", "drop table names_b")


def test_a_foreign_search_path_and_state_are_left_alone(gateway, pg):
    """Functions and operators of the client's search_path are not called, and what it can see of its session is as before."""
    pg.sql("shop", "drop schema if exists names_evil cascade; create schema names_evil; grant all on schema names_evil to app")
    evil = ("create function names_evil.unnest(anyarray) returns setof anyelement language sql as 'select 1/0 from orders'", "create function names_evil.format_type(oid, int4) returns text language sql as 'select 1/0'",
            "create function names_evil.eq(oid, oid) returns bool language sql as 'select 1/0 = 1'", "create operator names_evil.= (leftarg = oid, rightarg = oid, function = names_evil.eq)")
    done = gateway.psql([x for s in (*evil, "set search_path = names_evil, pg_catalog, public", "set client_min_messages = debug1", "prepare mine as select 1", "select * from orders limit 1",
                                     "select name from pg_prepared_statements", "select count(*) from pg_cursors", "select xact_start is null from pg_stat_activity where pid <> pg_backend_pid() and false", "execute mine") for x in ("-c", s)])
    wait_closed(gateway)
    assert "mine\n0\n1\n" in done.stdout and "hansard" not in done.stdout + done.stderr
    assert by_name(gateway)["orders"]["schema"] == "public" and not relations(gateway, "relation.failed")
    pg.sql("shop", "drop schema names_evil cascade")


def test_a_failing_look_up_is_given_up(gateway):
    """A statement of the client's has the name that the gateway uses: it stays the client's."""
    statements = ["prepare hansard_names as select 'mine'"] + [x for i in range(4) for x in (f"create temp table names_f{i}()", f"select * from names_f{i}")] + ["execute hansard_names"]
    done = gateway.psql([x for s in statements for x in ("-c", s)])
    wait_closed(gateway)
    assert done.stdout.endswith("mine\n") and not relations(gateway)
    told = relations(gateway, "relation.failed")
    assert told == ["42P05", "42P05", "42P05; there will be no more look-ups"], told


def test_off(recorded):
    gateway = recorded({"names": "off"})
    gateway.psql("select * from orders limit 1")
    wait_closed(gateway)
    assert not relations(gateway) and not lookups(gateway)
    assert json.loads(gateway.hansard("export", "@last", "--as", "ndjson").stdout.splitlines()[0])["type"]
