import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readRecords } from '../../src/evidence/log/index.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** Whether a JSON value is a line of the decision log. */
export function isDecisionLogLine(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return 'svidgate_loss' in value || ('decision_id' in value && 'svidgate' in value);
}

/** Rejects when a reader of the log finds fault with it. */
export async function checkDecisionLogLine(value: unknown): Promise<void> {
  await using folder = await tempFolder();
  const file = join(folder.path, 'log.jsonl');
  await writeFile(file, `${JSON.stringify(value)}\n`);
  const reading = readRecords(file);
  for await (const record of reading) assert.equal(typeof record.decision_id, 'string');
  assert.deepEqual([reading.counts.damaged, reading.counts.records + reading.counts.losses.size], [0, 1]);
}
