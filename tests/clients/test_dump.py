"""pg_dump and pg_restore through the gateway carry a database over whole: 64 MiB, 1 GiB in check-long."""

import os
import shutil

import lab
import pytest
import rig

MIB = 1024 if rig.LONG else 64
TABLES = 4
# Incompressible text, bytes, nulls, arrays, JSON; an index, a view, a function, a large object.
MAKE = """
create table t{n}(id int primary key, words text, raw bytea, list int[], doc jsonb);
insert into t{n} select g, case when g % 17 = 0 then null else md5(g::text || {n}) || E'\\t\\\\\\n' || repeat('ä€', g % 40) end,
	decode(md5(g::text) || repeat(md5((g * {n})::text), 27), 'hex'), array[g, null, {n}], jsonb_build_object('a', g, 'b', null)
	from generate_series(1, {rows}) g;
create index on t{n}(words); create view v{n} as select id from t{n};
create function f{n}(int) returns int language sql as $$ select $1 + {n} -- a comment; with ' in it
$$;
select lo_from_bytea(0, decode(repeat('00ff41', 100000), 'hex'));
"""


@pytest.fixture(scope="module")
def gateway():
    """Two databases of one owner: what is dumped and what is restored into."""
    with lab.Postgres(lab.short_dir("dump"), {"max_wal_size": "'4GB'"}) as pg:
        pg.sql("postgres", "create database source owner app")
        # A row takes about 700 bytes in the table and 1200 in the dump, where bytes are hexadecimal.
        rows = (MIB << 20) // TABLES // 650
        for n in range(1, TABLES + 1):
            pg.sql("source", "set role app; set client_min_messages = error; " + MAKE.format(n=n, rows=rows))
        assert int(pg.sql("source", "select pg_database_size('source')")) > MIB << 20
        gateway = lab.Gateway(lab.hansard_binary(), pg, allow=["shop", "source", "target"])
        gateway.start()
        gateway.sums = sums(pg, "source")
        yield gateway
        gateway.stop()
        gateway.remove()


def sums(pg, database):
    """Per table: rows and a checksum of every value; large objects and definitions too."""
    each = [f"select 't{n}', count(*), md5(string_agg(md5(t::text), '' order by id)) from t{n} t" for n in range(1, TABLES + 1)]
    each.append("select 'large objects', count(*), md5(string_agg(md5(lo_get(oid)), '' order by oid)) from pg_largeobject_metadata")
    each.append("select 'names', count(*), md5(string_agg(relname, ' ' order by relname)) from pg_class where relnamespace = 'public'::regnamespace")
    each.append("select 'functions', count(*), md5(string_agg(pg_get_functiondef(p.oid), ' ' order by proname)) from pg_proc p where pronamespace = 'public'::regnamespace")
    return [pg.sql(database, sql) for sql in each]


WAYS = {"custom": (["-Fc", "-Z0"], [], 1), "directory": (["-Fd", "-Z1"], [], 1), "directory-parallel": (["-Fd", "-Z1", "-j4"], ["-j4"], 5)}


@pytest.mark.limit(1800 if rig.LONG else 150)
@pytest.mark.parametrize("way", WAYS)
def test_dump_and_restore(gateway, way):
    dump_args, restore_args, sessions = WAYS[way]
    pg = gateway.pg
    pg.sql("postgres", "drop database if exists target")
    pg.sql("postgres", "create database target owner app")
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGPASSWORD": gateway.token()}
    out = gateway.dir / "dump"
    before = len(gateway.json("sessions"))
    lab.run([lab.pg_bin() / "pg_dump", "-d", gateway.conninfo(dbname="source"), *dump_args, "-f", out], env=env, timeout=1500)
    lab.run([lab.pg_bin() / "pg_restore", "-d", gateway.conninfo(dbname="target"), "--no-comments", *restore_args, out], env=env, timeout=1500)
    assert sums(pg, "target") == gateway.sums
    assert len(gateway.json("sessions")) - before >= 2 * sessions
    shutil.rmtree(out) if out.is_dir() else out.unlink()
