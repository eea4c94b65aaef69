"""asyncpg (its own protocol, everything binary and prepared)."""

import asyncio
import io
import ssl

import asyncpg

import steps

con = None


async def attempt(awaitable):
    try:
        return await awaitable
    except asyncpg.PostgresError as failure:
        return steps.error(failure.sqlstate)


async def query(step):
    return steps.rows(step, await con.fetch(step["sql"]))


async def params(step):
    return steps.rows(step, await con.fetch(step["sql"], *step["params"]))


async def prepared(step):
    statement = await con.prepare(step["sql"])
    return [steps.rows(step, await statement.fetch(*p)) for p in step["params"]]


async def sequence(step):
    got = []
    for sql in step["sql"]:
        g = await attempt(con.fetch(sql))
        got.append(g if isinstance(g, dict) else steps.rows(step, g) if "select" in sql else None)
    return got


async def copy_in(step):
    records = [(i, f"row {i}") for i in range(1, step["rows"] + 1)]
    await con.copy_records_to_table("c_rows", records=records)


async def copy_fails(step):
    return await attempt(con.copy_to_table("c_rows", source=io.BytesIO(b"x\ty\n")))


async def copy_out(step):
    out = io.BytesIO()
    await con.copy_from_query(step["sql"].split("(", 1)[1].rsplit(")", 1)[0], output=out)
    return steps.lines(out.getvalue().decode())


async def notice(step):
    got = []
    listener = lambda _, message: got.append(message.message)  # noqa: E731
    con.add_log_listener(listener)
    await con.execute(step["sql"])
    await asyncio.sleep(0)
    con.remove_log_listener(listener)
    return got


async def cancel(step):
    """A cancelled task makes asyncpg cancel on the server."""
    task = asyncio.ensure_future(con.fetch(step["sql"]))
    await asyncio.sleep(0.5)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return steps.error("57014")


async def cursor(step):
    async with con.transaction():
        return steps.totals([row[0] async for row in con.cursor(step["sql"], prefetch=step["fetch"])])


async def transaction(step):
    async with con.transaction():
        await con.execute(step["sql"][0])
    t = con.transaction()
    await t.start()
    await con.execute(step["sql"][1])
    await t.rollback()
    return steps.rows(step, await con.fetch(step["sql"][2]))


async def autosave(step):
    async with con.transaction():
        await con.execute(step["sql"][0])
        try:
            async with con.transaction():
                await con.execute(step["sql"][1])
        except asyncpg.PostgresError:
            pass
        return steps.rows(step, await con.fetch(step["sql"][2]))


async def batch(step):
    await con.executemany(step["sql"], step["params"])


async def listen(step):
    got = asyncio.get_running_loop().create_future()
    await con.add_listener("hsd_clients", lambda _c, _p, channel, payload: got.set_result([channel, payload]))
    await con.execute(step["sql"][1])
    return await asyncio.wait_for(got, 10)


async def large_in(step):
    return steps.rows(step, await con.fetch(step["sql"], "y" * steps.LARGE))


OPS = {f.__name__: f for f in (query, params, prepared, sequence, copy_in, copy_fails, copy_out, notice, cancel, cursor, transaction, autosave, batch, listen,
                               large_in)}
SAID = {"copy_in": 'COPY "c_rows"', "copy_fails": 'COPY "c_rows"', "listen": 'LISTEN "hsd_clients"'}


async def main():
    global con
    context = False
    if steps.SSLMODE != "disable":
        context = ssl.create_default_context(cafile=steps.ROOTCERT)
    con = await asyncpg.connect(host=steps.HOST, port=int(steps.PORT), user=steps.USER, database=steps.DATABASE, password=steps.PASSWORD, ssl=context)
    for step in steps.selected(OPS):
        result = await OPS[step["op"]](step)
        steps.say(step, result, **({"said": SAID[step["step"]]} if step["step"] in SAID else {}))
    await con.close()


asyncio.run(main())
