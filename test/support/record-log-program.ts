/**
 * A decision log that is written as fast as it can be, for a test that kills it: `node record-log-program.ts FOLDER FIRST`.
 * Each line of its output is the number of the last record that is in the log.
 */
import { writeSync } from 'node:fs';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { openRecordLog } from '../../src/evidence/log/index.ts';
import { recordLine } from './record-line.ts';

/** Small segments, so that kills hit rotations, too; large enough that nothing is removed. */
export const KILLED_LOG = { maxBytes: 2 ** 30, segmentBytes: 100_000 } as const;

async function main(folder: string, first: number): Promise<void> {
  const log = await openRecordLog({
    folder,
    ...KILLED_LOG,
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const lineOf = (number: number): string => recordLine(number, { padding: number % 3000 });
  for (let next = first; ;) {
    const count = 1 + (next % 7);
    const result = log.append(Array.from({ length: count }, (_, index) => lineOf(next + index)));
    if (result !== 'written') throw new Error(result);
    next += count;
    writeSync(1, `${next - 1}\n`);
    if (next % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

if (import.meta.main) await main(process.argv[2] ?? '', Number(process.argv[3]));
