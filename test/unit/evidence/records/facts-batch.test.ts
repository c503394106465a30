import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FactsBatch, type PackedFacts } from '../../../../src/evidence/records/facts-batch.ts';

const FACTS: PackedFacts = {
  decisionId: 'd1',
  at: 0,
  durationNs: 0,
  requestNumber: 1,
  policy: 'default',
  outcome: 'allow',
  reason: '',
  httpStatus: 0,
  caller: 'attested',
  listener: 'gate',
  evaluated: { cached: false, entrypoint: 'a/allow', recorded: 1 },
};

test('a batch is full by its inputs too, and takes none that is too large', () => {
  const batch = new FactsBatch();
  const input = new Uint8Array(2 ** 20);
  batch.add(FACTS, new Uint8Array(2 ** 20 + 1));
  assert.ok(batch.bytes < 1000);
  for (let count = 1; count < 8; count += 1) batch.add(FACTS, input);
  assert.equal(batch.isFull, false);
  batch.add(FACTS, input);
  assert.equal(batch.isFull, true);
});
