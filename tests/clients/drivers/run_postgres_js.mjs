// postgres.js: pipelines what is asked at once; binary never, prepared always.
import fs from 'node:fs';
import postgres from 'postgres';
import { Readable } from 'node:stream';
import { pipeline as stream } from 'node:stream/promises';
import { copyLines, digest, error, large, rows, run, totals } from './steps.mjs';

const notices = [];
const connect = () => postgres({
  host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER, database: process.env.PGDATABASE, password: process.env.PGPASSWORD,
  ssl: process.env.PGSSLMODE === 'disable' ? false : { ca: fs.readFileSync(process.env.PGSSLROOTCERT) },
  max: 1, fetch_types: false, onnotice: (n) => notices.push(n.message),
});
const sql = connect();

const attempt = (promise) => promise.catch((failure) => { if (!failure.code) throw failure; return error(failure.code); });
const ask = async (text, values = []) => (await sql.unsafe(text, values, { prepare: values.length > 0 }).values()).map((row) => [...row]);

const ops = {
  query: async (step) => rows(step, await ask(step.sql)),
  params: async (step) => rows(step, await ask(step.sql, step.params)),
  prepared: async (step) => {
    const got = [];
    for (const values of step.params) got.push(rows(step, await ask(step.sql, values)));
    return got;
  },
  pipeline: async (step) => attempt(sql.begin((t) => Promise.all(step.params.map((values) => t.unsafe(step.sql, values, { prepare: true }).values())))
    .then((got) => got.map((r) => r[0][0]))),
  copy_in: async (step) => { await stream(Readable.from([copyLines(step)]), await sql.unsafe(step.sql).writable()); return null; },
  copy_out: async (step) => {
    // On a connection of its own: postgres.js leaves its socket paused behind more than 16 KiB.
    const other = connect();
    let text = '';
    for await (const part of await other.unsafe(step.sql).readable()) text += part;
    await other.end({ timeout: 0 });
    return [String(text.split('\n').length - 1), digest(text)];
  },
  notice: async (step) => { notices.length = 0; await sql.unsafe(step.sql); return [...notices]; },
  cancel: async (step) => {
    const query = sql.unsafe(step.sql);
    const done = attempt(query.execute());
    await new Promise((resolve) => setTimeout(resolve, 500));
    query.cancel();
    return done;
  },
  cursor: async (step) => {
    const got = [];
    await sql.unsafe(step.sql).cursor(step.fetch, (some) => { got.push(...some.map((row) => Object.values(row)[0])); });
    return totals(got);
  },
  transaction: async (step) => {
    await sql.begin((t) => t.unsafe(step.sql[0]));
    await sql.begin(async (t) => { await t.unsafe(step.sql[1]); throw new Error('back'); }).catch(() => {});
    return rows(step, await ask(step.sql[2]));
  },
  autosave: (step) => sql.begin(async (t) => {
    await t.unsafe(step.sql[0]);
    await t.savepoint((s) => s.unsafe(step.sql[1])).catch(() => {});
    return rows(step, (await t.unsafe(step.sql[2]).values()).map((row) => [...row]));
  }),
  sequence: async (step) => {
    const got = [];
    for (const text of step.sql) {
      const g = await attempt(ask(text));
      got.push(Array.isArray(g) ? (g.length ? g : null) : g);
    }
    return got;
  },
  batch: async (step) => { await Promise.all(step.params.map((values) => sql.unsafe(step.sql, values))); return null; },
  large_in: async (step) => rows(step, await ask(step.sql, ['y'.repeat(large)])),
};

await run(ops);
await sql.end();
