"""psycopg2 (libpq)."""

import io
import select

import psycopg2
import psycopg2.extras

import steps

con = psycopg2.connect("")
con.autocommit = True
cur = con.cursor()


def ask(sql, params=None):
    cur.execute(sql, params)
    return cur.fetchall() if cur.description else None


def query(step):
    return steps.rows(step, ask(step["sql"]))


def params(step):
    return steps.rows(step, ask(steps.placeholders(step["sql"], "%s"), step["params"]))


def prepared(step):
    """By SQL: psycopg2 has no other way."""
    ask("prepare hsd_p as " + step["sql"])
    got = [steps.rows(step, ask("execute hsd_p(%s, %s)", p)) for p in step["params"]]
    ask("deallocate hsd_p")
    return got


def attempt(function, *args):
    try:
        return function(*args)
    except psycopg2.Error as failure:
        return steps.error(failure.pgcode)


def sequence(step):
    got = [attempt(ask, sql) for sql in step["sql"]]
    return [steps.rows(step, g) if isinstance(g, list) else g for g in got]


def copy_in(step):
    cur.copy_expert(step["sql"], io.StringIO(steps.copy_lines(step)))


def copy_fails(step):
    return attempt(cur.copy_expert, step["sql"], io.StringIO("x\ty\n"))


def copy_out(step):
    out = io.StringIO()
    cur.copy_expert(step["sql"], out)
    return steps.lines(out.getvalue())


def notice(step):
    con.notices.clear()
    ask(step["sql"])
    return [n.split(":", 1)[1].strip() for n in con.notices]


def cancel(step):
    with steps.Canceller(con.cancel):
        return attempt(ask, step["sql"])


def cursor(step):
    con.autocommit = False
    with con.cursor("hsd_c") as c:
        c.itersize = step["fetch"]
        c.execute(step["sql"])
        got = steps.totals(row[0] for row in c)
    con.commit()
    con.autocommit = True
    return got


def transaction(step):
    con.autocommit = False
    ask(step["sql"][0])
    con.commit()
    ask(step["sql"][1])
    con.rollback()
    con.autocommit = True
    return steps.rows(step, ask(step["sql"][2]))


def batch(step):
    psycopg2.extras.execute_batch(cur, steps.placeholders(step["sql"], "%s"), step["params"])


def listen(step):
    for sql in step["sql"]:
        ask(sql)
    while not con.notifies:
        select.select([con], [], [], 10)
        con.poll()
    got = con.notifies.pop(0)
    return [got.channel, got.payload]


def large_in(step):
    return steps.rows(step, ask(steps.placeholders(step["sql"], "%s"), ["y" * steps.LARGE]))


steps.run({f.__name__: f for f in (query, params, prepared, sequence, copy_in, copy_fails, copy_out, notice, cancel, cursor, transaction, batch, listen, large_in)})
con.close()
