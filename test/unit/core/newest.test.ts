import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { newest } from '../../../src/core/index.ts';

async function* numbers(last: number, then?: Error): AsyncGenerator<number, void, void> {
  for (let number = 1; number <= last; number += 1) {
    await nextTurn();
    yield number;
  }
  if (then !== undefined) throw then;
}

test('values are kept as they come, and a reader that is slow is told once', async () => {
  const kept: number[] = [];
  const changes = newest(numbers(5), (value) => kept.push(value));
  assert.equal((await changes.next()).done, false);
  assert.deepEqual(kept, [1]);
  for (let turn = 0; turn < 20; turn += 1) await nextTurn();
  assert.deepEqual(kept, [1, 2, 3, 4, 5]);
  assert.deepEqual(
    [(await changes.next()).done, (await changes.next()).done],
    [false, true],
    'once for the four, then the end',
  );
});

test('an error of the source comes after its last value', async () => {
  const kept: number[] = [];
  const changes = newest(numbers(1, new Error('no more')), (value) => kept.push(value));
  await changes.next();
  await assert.rejects(changes.next(), /no more/);
  assert.deepEqual(kept, [1]);
});
