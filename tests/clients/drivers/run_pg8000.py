"""pg8000 (pure Python; Debian's is too old to speak SCRAM)."""

import io
import ssl

import pg8000.dbapi as api

import steps

context = False  # None would try TLS
if steps.SSLMODE != "disable":
    context = ssl.create_default_context(cafile=steps.ROOTCERT)
con = api.connect(host=steps.HOST, port=int(steps.PORT), user=steps.USER, database=steps.DATABASE, password=steps.PASSWORD, ssl_context=context)
con.autocommit = True
cur = con.cursor()


def ask(sql, params=()):
    """Without parameters it is a simple query, as it stands."""
    cur.execute(steps.placeholders(sql, "%s") if params else sql, params)
    return cur.fetchall() if cur.description else None


def attempt(function, *args, **kw):
    try:
        return function(*args, **kw)
    except (api.DatabaseError, api.InterfaceError) as failure:
        return steps.error(failure.args[0]["C"])


def query(step):
    return steps.rows(step, ask(step["sql"]))


def params(step):
    return steps.rows(step, ask(step["sql"], step["params"]))


def prepared(step):
    return [steps.rows(step, ask(step["sql"], p)) for p in step["params"]]


def sequence(step):
    got = [attempt(ask, sql) for sql in step["sql"]]
    return [steps.rows(step, g) if isinstance(g, (list, tuple)) else g for g in got]


def copy_in(step):
    cur.execute(step["sql"], stream=io.BytesIO(steps.copy_lines(step).encode()))


def copy_fails(step):
    return attempt(cur.execute, step["sql"], stream=io.BytesIO(b"x\ty\n"))


def copy_out(step):
    out = io.BytesIO()
    cur.execute(step["sql"], stream=out)
    return steps.lines(out.getvalue().decode())


def notice(step):
    con.notices.clear()
    cur.execute(step["sql"])
    return [n[b"M"].decode() for n in con.notices]


def transaction(step):
    con.autocommit = False
    ask(step["sql"][0])
    con.commit()
    ask(step["sql"][1])
    con.rollback()
    con.autocommit = True
    return steps.rows(step, ask(step["sql"][2]))


def batch(step):
    cur.executemany(steps.placeholders(step["sql"], "%s"), step["params"])


def listen(step):
    for sql in step["sql"]:
        ask(sql)
    ask("select 1")
    return list(con.notifications[0])[1:]


def large_in(step):
    return steps.rows(step, ask(step["sql"], ["y" * steps.LARGE]))


steps.run({f.__name__: f for f in (query, params, prepared, sequence, copy_in, copy_fails, copy_out, notice, transaction, batch, listen, large_in)})
con.close()
