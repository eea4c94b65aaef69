// What the programs for Node share: the steps, the results' form, the lines.
import crypto from 'node:crypto';
import fs from 'node:fs';

export const large = Number(process.env.HSD_LARGE || 1000);
export const digest = (text) => crypto.createHash('sha256').update(text, 'utf8').digest('hex').slice(0, 16);
export const error = (state) => ({ error: state });
export const totals = (values) => [String(values.length), String(values.reduce((a, v) => a + Number(v), 0))];
export const copyLines = (step) => Array.from({ length: step.rows }, (_, i) => `${i + 1}\trow ${i + 1}\n`).join('');

const column = (v) => (v === null || v === undefined ? null : Buffer.isBuffer(v) || v instanceof Uint8Array ? Buffer.from(v).toString('hex') : String(v));

export function rows(step, result) {
  const got = result.map((row) => [...row].map(column));
  if (!step.digest) return got;
  return [String(got.length), digest(got.map((row) => row.map((c) => (c === null ? '\\N' : c)).join('\t')).join('\n'))];
}

export async function run(ops) {
  const only = process.env.HSD_STEPS;
  for (const step of JSON.parse(fs.readFileSync(new URL('../steps.json', import.meta.url)))) {
    if (!ops[step.op] || !ops[step.needs ?? step.op] || (only && !only.split(',').includes(step.step))) continue;
    if (typeof step.sql === 'string') step.sql = step.sql.replace('{large}', String(large));
    process.stdout.write(`${JSON.stringify({ step: step.step, result: (await ops[step.op](step)) ?? null })}\n`);
  }
}
