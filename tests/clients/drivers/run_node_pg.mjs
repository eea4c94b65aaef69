// node-postgres with pg-cursor and pg-copy-streams.
import fs from 'node:fs';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { pipeline as stream } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { copyLines, digest, error, large, rows, run, totals } from './steps.mjs';

const settings = { ssl: process.env.PGSSLMODE === 'disable' ? false : { ca: fs.readFileSync(process.env.PGSSLROOTCERT) } };
const con = new pg.Client(settings);
await con.connect();

const ask = async (text, values) => (await con.query({ text, values, rowMode: 'array' })).rows;
const attempt = (promise) => promise.catch((failure) => { if (!failure.code) throw failure; return error(failure.code); });
const raw = { getTypeParser: (oid) => (oid === 17 ? pg.types.getTypeParser(17) : oid === 16 ? (v) => v === 't' : String) };

const ops = {
  query: async (step) => rows(step, (await con.query({ text: step.sql, rowMode: 'array', types: step.step === 'types' ? raw : undefined })).rows),
  params: async (step) => rows(step, await ask(step.sql, step.params)),
  prepared: async (step) => {
    const got = [];
    for (const values of step.params) got.push(rows(step, (await con.query({ name: 'hsd_p', text: step.sql, values, rowMode: 'array' })).rows));
    return got;
  },
  sequence: async (step) => {
    const got = [];
    for (const sql of step.sql) {
      const g = await attempt(ask(sql));
      got.push(Array.isArray(g) ? (g.length ? g : null) : g);
    }
    return got;
  },
  copy_in: async (step) => { await stream(Readable.from([copyLines(step)]), con.query(copyFrom(step.sql))); return null; },
  copy_fails: async (step) => attempt(stream(Readable.from(['x\ty\n']), con.query(copyFrom(step.sql)))),
  copy_out: async (step) => {
    let text = '';
    for await (const part of con.query(copyTo(step.sql))) text += part;
    return [String(text.split('\n').length - 1), digest(text)];
  },
  notice: async (step) => {
    const got = [];
    const take = (n) => got.push(n.message);
    con.on('notice', take);
    await con.query(step.sql);
    con.off('notice', take);
    return got;
  },
  cancel: async (step) => {
    // Client.cancel is the only way of the library itself: a second client that sends nothing else.
    const query = new pg.Query(step.sql);
    const done = new Promise((resolve) => { query.on('error', (e) => resolve(error(e.code))); query.on('end', () => resolve(null)); });
    con.query(query);
    const timer = setInterval(() => {
      const other = new pg.Client({ ...settings, host: process.env.PGHOST, port: Number(process.env.PGPORT) });
      other.on('error', () => {});
      other.cancel(con, query);
    }, 300);
    const got = await done;
    clearInterval(timer);
    return got;
  },
  cursor: async (step) => {
    await con.query('begin');
    const cursor = con.query(new Cursor(step.sql, [], { rowMode: 'array' }));
    const got = [];
    for (;;) {
      const some = await cursor.read(step.fetch);
      if (!some.length) break;
      got.push(...some.map((row) => row[0]));
    }
    await cursor.close();
    await con.query('commit');
    return totals(got);
  },
  batch: async (step) => { await Promise.all(step.params.map((values) => con.query(step.sql, values))); return null; },
  listen: async (step) => {
    const came = new Promise((resolve) => con.once('notification', (n) => resolve([n.channel, n.payload])));
    for (const sql of step.sql) await con.query(sql);
    return came;
  },
  large_in: async (step) => rows(step, await ask(step.sql, ['y'.repeat(large)])),
};

await run(ops);
await con.end();
