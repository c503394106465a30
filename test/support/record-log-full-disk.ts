/** Run by runOnSmallDisk with 24 MB: a decision log on a disk that fills up and is emptied again. Asserts, exits 0 or 1. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { openRecordLog, readRecords } from '../../src/evidence/log/index.ts';
import { recordLine } from './record-line.ts';
import { waitUntil } from './wait-until.ts';

const disk = process.argv[2] ?? '';
const ballast = join(disk, 'ballast');
const folder = join(disk, 'decisions');
const open = () =>
  openRecordLog({ folder, maxBytes: 2 ** 30, clock: systemClock, logger: silentLogger, metrics: noMetrics });
const lineOf = (number: number): string => recordLine(number, { padding: 100_000 });

/** Takes all room that is left, to the byte. */
function fill(): void {
  for (const size of [65_536, 4096, 1]) {
    try {
      for (;;) writeFileSync(ballast, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
}

let log = await open();
const cursor = log.cursor('sink');
const results: string[] = [];
const append = (number: number): void => void results.push(log.append([lineOf(number)]));
for (let number = 0; number < 20; number += 1) append(number);
fill();
for (let number = 20; number < 220; number += 1) append(number);
const written = results.filter((result) => result === 'written').length;
const waiting = results.filter((result) => result === 'waiting').length;
const lost = results.filter((result) => result === 'lost').length;
assert.ok(written >= 20 && waiting > 70 && lost > 50, JSON.stringify({ written, waiting, lost }));
assert.deepEqual([...new Set(results)], ['written', 'waiting', 'lost'], 'in this order');
assert.match(log.status().failure ?? '', /ENOSPC/);
assert.equal(log.status().waiting, waiting);
assert.deepEqual(log.status().lost, { disk: lost });
assert.equal(cursor.behind, written);

rmSync(ballast);
await waitUntil(
  'what waited to be written',
  5000,
  () => log.status().waiting === 0 && log.status().failure === undefined,
);
append(220);
assert.equal(results.at(-1), 'written');
await log[Symbol.asyncDispose]();

const reading = readRecords(folder);
const ids: number[] = [];
for await (const record of reading) ids.push(Number(record.decision_id));
assert.deepEqual(ids, [...Array.from({ length: written + waiting }, (_, index) => index), 220]);
assert.deepEqual(Object.fromEntries(reading.counts.losses), { disk: { lines: 1, records: lost, unknown: 0 } });
assert.equal(reading.counts.damaged, 0);

// A disk that is full at the start stops nobody.
rmSync(folder, { recursive: true });
fill();
log = await open();
assert.equal(log.append([lineOf(0)]), 'waiting');
rmSync(ballast);
await waitUntil('the record that waited', 5000, () => log.status().waiting === 0);
await log[Symbol.asyncDispose]();
