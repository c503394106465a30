import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { SendTurns } from '../../../src/discovery/send-turns.ts';

const MIB = 1024 * 1024;

test('streams that are told at once send in as many turns of the event loop as it takes, in their order', async () => {
  const turns = new SendTurns(MIB);
  const sent: number[] = [];
  const send = async (stream: number): Promise<void> => {
    while (turns.isOver) await turns.next();
    turns.took(MIB / 2);
    sent.push(stream);
  };
  const all = Promise.all(Array.from({ length: 7 }, (_, stream) => send(stream)));
  const counts = [sent.length];
  while (sent.length < 7) {
    await nextTurn();
    counts.push(sent.length);
  }
  await all;
  assert.deepEqual(sent, [0, 1, 2, 3, 4, 5, 6]);
  assert.deepEqual(counts, [2, 4, 6, 7]);
});

test('what is larger than a turn is sent, and the next one waits', async () => {
  const turns = new SendTurns(MIB);
  turns.took(100 * MIB);
  assert.equal(turns.isOver, true);
  await turns.next();
  assert.equal(turns.isOver, false);
});
