"""psycopg 3 (libpq, extended protocol, binary on demand, pipelines)."""

import psycopg

import steps

con = psycopg.connect("", autocommit=True)


def ask(sql, params=None, **kw):
    cur = con.execute(sql, params, **kw)
    return cur.fetchall() if cur.description else None


def attempt(function, *args):
    try:
        return function(*args)
    except psycopg.Error as failure:
        return steps.error(failure.sqlstate)


def query(step):
    return steps.rows(step, ask(step["sql"], binary=step["step"] == "types"))


def params(step):
    return steps.rows(step, ask(steps.placeholders(step["sql"], "%b"), step["params"], binary=True))


def prepared(step):
    return [steps.rows(step, ask(steps.placeholders(step["sql"], "%s"), p, prepare=True)) for p in step["params"]]


def pipeline(step):
    def work():
        with con.pipeline():
            cursors = [con.execute(steps.placeholders(step["sql"], "%s"), p) for p in step["params"]]
            return [c.fetchone()[0] for c in cursors]
    return attempt(work)


def sequence(step):
    got = [attempt(ask, sql) for sql in step["sql"]]
    return [steps.rows(step, g) if isinstance(g, list) else g for g in got]


def copy_text(step, text):
    with con.cursor().copy(step["sql"]) as copy:
        copy.write(text)


def copy_in(step):
    copy_text(step, steps.copy_lines(step))


def copy_fails(step):
    return attempt(copy_text, step, "x\ty\n")


def copy_out(step):
    with con.cursor().copy(step["sql"]) as copy:
        return steps.lines(b"".join(bytes(part) for part in copy).decode())


def notice(step):
    got = []
    handler = lambda diagnostic: got.append(diagnostic.message_primary)  # noqa: E731
    con.add_notice_handler(handler)
    ask(step["sql"])
    con.remove_notice_handler(handler)
    return got


def cancel(step):
    with steps.Canceller(con.cancel):
        return attempt(ask, step["sql"])


def cursor(step):
    with con.transaction(), con.cursor("hsd_c", binary=True) as c:
        c.itersize = step["fetch"]
        c.execute(step["sql"])
        return steps.totals(row[0] for row in c)


def transaction(step):
    with con.transaction():
        ask(step["sql"][0])
    with con.transaction():
        ask(step["sql"][1])
        raise psycopg.Rollback
    return steps.rows(step, ask(step["sql"][2]))


def autosave(step):
    with con.transaction():
        ask(step["sql"][0])
        try:
            with con.transaction():
                ask(step["sql"][1])
        except psycopg.Error:
            pass
        return steps.rows(step, ask(step["sql"][2]))


def batch(step):
    with con.cursor() as c:
        c.executemany(steps.placeholders(step["sql"], "%s"), step["params"])


def listen(step):
    """A notice that comes with an answer goes to handlers, one that comes alone to con.notifies."""
    got = []
    con.add_notify_handler(got.append)
    for sql in step["sql"]:
        ask(sql)
    while not got:
        ask("select 1")
    return [got[0].channel, got[0].payload]


def large_in(step):
    return steps.rows(step, ask(steps.placeholders(step["sql"], "%b"), ["y" * steps.LARGE]))


steps.run({f.__name__: f for f in (query, params, prepared, pipeline, sequence, copy_in, copy_fails, copy_out, notice, cancel, cursor, transaction, autosave,
                                   batch, listen, large_in)})
con.close()
