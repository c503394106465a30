/** The decision log on disk, and kill -9 in the middle of its writes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { openRecordLog, readRecords } from '../../src/evidence/log/index.ts';
import { KILLED_LOG } from '../support/record-log-program.ts';
import { tempFolder } from '../support/temp-folder.ts';

const PROGRAM = fileURLToPath(new URL('../support/record-log-program.ts', import.meta.url));
const KILLS = Number(process.env['SVIDGATE_LOG_KILLS'] ?? 12);

/** Runs the program until it has said this many lines and a moment more, and gives the last number that it said. */
async function runAndKill(folder: string, run: { readonly first: number; readonly lines: number }): Promise<number> {
  const args = [PROGRAM, folder, String(run.first)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = 0;
  let last = -1;
  try {
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => {
      last = Number(line);
      said += 1;
      if (said === run.lines) setTimeout(() => child.kill('SIGKILL'), Math.random() * 20);
    });
    await Promise.all([once(child, 'exit'), once(reader, 'close')]);
  } finally {
    child.kill('SIGKILL');
  }
  assert.equal(child.signalCode, 'SIGKILL', 'it ends only because we ended it');
  return last;
}

test(`after each of ${KILLS} kills every record that was written is in the log, once and whole`, async () => {
  await using folder = await tempFolder();
  const log = join(folder.path, 'decisions');
  let expected = 0;
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const written = await runAndKill(log, { first: expected, lines: 5 + Math.floor(Math.random() * 400) });
    const there = await numbersIn(log);
    assert.equal(
      there.findIndex((number, index) => number !== index),
      -1,
      'all, once, in order',
    );
    assert.ok(there.length > written, `${written} was written, and ${there.length} are there`);
    expected = there.length;
  }
  const options = { folder: log, ...KILLED_LOG, clock: systemClock, logger: silentLogger, metrics: noMetrics };
  await (await openRecordLog(options))[Symbol.asyncDispose]();
  for (const name of (await readdir(log)).filter((file) => file.endsWith('.jsonl'))) {
    const text = await readFile(join(log, name), 'utf8');
    assert.ok(text.endsWith('}\n'), `${name} ends with a whole line`);
    for (const line of text.trimEnd().split('\n')) assert.doesNotThrow(() => JSON.parse(line), `${name}: ${line}`);
  }
  const reading = readRecords(log);
  for await (const record of reading) void record;
  assert.equal(reading.counts.losses.get('unclean_end')?.lines, KILLS, 'each end is told');
});

async function numbersIn(log: string): Promise<number[]> {
  const reading = readRecords(log);
  const numbers: number[] = [];
  for await (const record of reading) numbers.push(Number(record.decision_id));
  assert.deepEqual([reading.counts.damaged, reading.counts.missing], [0, 0]);
  return numbers;
}
