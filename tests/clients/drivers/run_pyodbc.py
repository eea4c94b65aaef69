"""psqlodbc through unixODBC, spoken to by pyodbc: by server-side prepared statements and, for `cursor`, by DECLARE and FETCH."""

import pathlib

import pyodbc

import steps

DRIVER = next(pathlib.Path("/usr/lib").glob("*/odbc/psqlodbcw.so"))


def connect(**options):
    parts = {"Driver": DRIVER, "Servername": steps.HOST, "Port": steps.PORT, "Database": steps.DATABASE, "Uid": steps.USER, "Pwd": steps.PASSWORD,
             "SSLmode": steps.SSLMODE, "UseServerSidePrepare": 1, "BoolsAsChar": 0, **options}
    if steps.ROOTCERT:
        parts["pqopt"] = f"{{sslrootcert={steps.ROOTCERT}}}"
    return pyodbc.connect(";".join(f"{k}={v}" for k, v in parts.items()), autocommit=True)


con = connect()
cur = con.cursor()


def ask(sql, params=()):
    cur.execute(sql, *params)
    return cur.fetchall() if cur.description else None


def attempt(function, *args):
    try:
        return function(*args)
    except pyodbc.Error as failure:
        # ODBC has states of its own for some.
        return steps.error({"HY008": "57014", "S1008": "57014"}.get(failure.args[0], failure.args[0]))


def query(step):
    return steps.rows(step, ask(step["sql"]))


def params(step):
    return steps.rows(step, ask(steps.placeholders(step["sql"], "?"), step["params"]))


def prepared(step):
    return [steps.rows(step, ask(steps.placeholders(step["sql"], "?"), p)) for p in step["params"]]


def sequence(step):
    got = [attempt(ask, sql) for sql in step["sql"]]
    return [steps.rows(step, g) if isinstance(g, list) else g for g in got]


def cancel(step):
    with steps.Canceller(cur.cancel):
        return attempt(ask, step["sql"])


def cursor(step):
    with connect(UseDeclareFetch=1, Fetch=step["fetch"]) as other:
        other.autocommit = False
        c = other.cursor()
        return steps.totals(row[0] for row in c.execute(step["sql"]))


def transaction(step):
    con.autocommit = False
    ask(step["sql"][0])
    con.commit()
    ask(step["sql"][1])
    con.rollback()
    con.autocommit = True
    return steps.rows(step, ask(step["sql"][2]))


def autosave(step):
    """psqlodbc's own savepoints (Protocol=7.4-2)."""
    con.autocommit = False
    ask(step["sql"][0])
    attempt(ask, step["sql"][1])
    got = steps.rows(step, ask(step["sql"][2]))
    con.commit()
    con.autocommit = True
    return got


def batch(step):
    cur.executemany(steps.placeholders(step["sql"], "?"), step["params"])


def large_in(step):
    return steps.rows(step, ask(steps.placeholders(step["sql"], "?"), ["y" * steps.LARGE]))


steps.run({f.__name__: f for f in (query, params, prepared, sequence, cancel, cursor, transaction, autosave, batch, large_in)})
con.close()
