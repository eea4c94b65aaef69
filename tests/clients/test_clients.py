"""The clients of Debian and npm, on PostgreSQL 12 to 18."""

import shutil

import lab
import pytest
import rig

PYTHON_MODULES = {"psycopg2": "psycopg2", "psycopg3": "psycopg", "asyncpg": "asyncpg", "psqlodbc": "pyodbc"}

# What runs it, and what rig.check must know about it.
CLIENTS = {
    # It says large values within the statement: from 32 MiB on, export has such a text in the events only.
    "psql": (lambda: rig.python("run_psql.py"), {"without": {"params", "pipeline", "batch"}, "parsed": {"large_in"} if rig.LONG else set()}),
    "psycopg2": (lambda: rig.python("run_psycopg2.py"), {"without": {"pipeline", "autosave"}}),
    "psycopg3": (lambda: rig.python("run_psycopg3.py"), {}),
    "asyncpg": (lambda: rig.python("run_asyncpg.py"), {"without": {"pipeline"}, "parsed": {"error", "aborted"}}),
    "node-postgres": (lambda: rig.node("run_node_pg.mjs"), {"without": {"pipeline", "transaction", "autosave"}}),
    "postgres.js": (lambda: rig.node("run_postgres_js.mjs"), {"without": {"copy_fails", "listen"}}),
    "DBD::Pg": (lambda: ["/usr/bin/perl", str(rig.DIR / "drivers/run_dbd_pg.pl")], {"without": {"pipeline"}}),
    "ruby-pg": (lambda: ["/usr/bin/ruby", str(rig.DIR / "drivers/run_ruby_pg.rb")], {"without": {"autosave", "batch"}}),
    "php-pgsql": (lambda: ["/usr/bin/php", str(rig.DIR / "drivers/run_php.php")], {"without": {"pipeline", "copy_fails", "transaction", "autosave", "batch"}}),
    # Its savepoints keep a failed transaction going.
    "psqlodbc": (lambda: rig.python("run_pyodbc.py"), {"without": {"pipeline", "copy_in", "copy_out", "copy_fails", "notice", "listen"}, "differs": {"aborted"}}),
}
EVERYWHERE = ("psql", "psycopg2", "node-postgres")
PAIRS = [(client, version) for version in ("15", "12", "16", "17", "18") for client in CLIENTS if rig.LONG or version == "15" or client in EVERYWHERE]


def installed(client, command):
    """A skip with a reason where the machine lacks the client (tools/deps.sh check installs all)."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: make deps")
    probes = {"DBD::Pg": ["-MDBD::Pg", "-e1"], "ruby-pg": ["-e", "require 'pg'"], "php-pgsql": ["-r", "exit(function_exists('pg_connect') ? 0 : 1);"]}
    if client in PYTHON_MODULES:
        probes[client] = ["-c", f"import {PYTHON_MODULES[client]}"]
    if client in probes and lab.run([command[0], *probes[client]], check=False).returncode != 0:
        pytest.skip(f"{client} is not installed: make deps")


@pytest.mark.limit(2400 if rig.LONG else 180)
@pytest.mark.parametrize(("client", "version"), PAIRS)
def test_client(bench, client, version):
    command, facts = CLIENTS[client]
    command = command()
    installed(client, command)
    rig.check(bench(version), command, **facts)
