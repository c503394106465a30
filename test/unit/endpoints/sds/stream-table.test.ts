import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import { StreamTable, type AnswerContent } from '../../../../src/endpoints/sds/stream-table.ts';

const content = (bundleSequence: number | undefined): AnswerContent => ({
  version: `v${bundleSequence}`,
  names: ['ROOTCA'],
  spiffeIds: [],
  expiresAt: undefined,
  bundleSequence,
});

const PROCESS = { pid: 7, uid: 1 };

function openTable(): { readonly table: StreamTable; readonly changes: () => number } {
  const table = new StreamTable(systemClock);
  let count = 0;
  table.changed.subscribe(() => (count += 1));
  return { table, changes: () => count };
}

test('a stream with our bundle is waited for until it acknowledges that or a later one, or ends', async () => {
  const { table, changes } = openTable();
  const first = table.open(PROCESS);
  const second = table.open({ pid: 8, uid: 1 });
  for (const stream of [first, second]) stream.holds(content(3), true);
  assert.deepEqual(table.pending(3), ['pid 7 of uid 1', 'pid 8 of uid 1']);
  await nextTurn();
  assert.equal(changes(), 1);
  first.acknowledged();
  assert.deepEqual(table.pending(3), ['pid 8 of uid 1']);
  assert.deepEqual(table.pending(4), ['pid 7 of uid 1', 'pid 8 of uid 1']);
  await nextTurn();
  assert.equal(changes(), 2);
  second[Symbol.dispose]();
  await nextTurn();
  assert.equal(changes(), 3);
  assert.deepEqual(table.pending(3), []);
});

test('a stream of certificates alone is nobody to wait for, and wakes nobody', async () => {
  const { table, changes } = openTable();
  {
    using stream = table.open(PROCESS);
    stream.holds(content(undefined), true);
    stream.acknowledged();
    assert.deepEqual(table.pending(1), []);
  }
  await nextTurn();
  assert.equal(changes(), 0);
});

test('a stream that asks for the bundle no more is waited for no more', async () => {
  const { table, changes } = openTable();
  using stream = table.open(PROCESS);
  stream.holds(content(1), true);
  await nextTurn();
  stream.holds(content(undefined), true);
  assert.deepEqual(table.pending(1), []);
  await nextTurn();
  assert.equal(changes(), 2);
});

test('of a thousand streams in one turn the listener hears once', async () => {
  const { table, changes } = openTable();
  for (let pid = 1; pid <= 1000; pid += 1) table.open({ pid, uid: 1 }).holds(content(1), true);
  await nextTurn();
  assert.equal(changes(), 1);
  assert.equal(table.pending(1).length, 1000);
});
