import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { TurnTaker } from '../../../../src/policy/activation/turn-taker.ts';

const never = new AbortController().signal;

test('one thing at a time, in order, whatever fails', async () => {
  const turns = new TurnTaker();
  const said: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    said.push(`${name} begins`);
    await nextTurn();
    said.push(`${name} ends`);
    if (name === 'a') throw new Error('a fails');
  };
  const all = ['a', 'b', 'c'].map((name) => turns.take(work(name)));
  assert.deepEqual(
    (await Promise.allSettled(all)).map(({ status }) => status),
    ['rejected', 'fulfilled', 'fulfilled'],
  );
  assert.deepEqual(
    said,
    ['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]),
  );
});

test('what interrupts comes next, and what was interrupted begins anew after it', async () => {
  const turns = new TurnTaker();
  const said: string[] = [];
  const begun = Promise.withResolvers<void>();
  let attempts = 0;
  const reload = turns.takeInterruptibly(never, async (signal) => {
    attempts += 1;
    begun.resolve();
    if (attempts > 1) return void said.push('reload');
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    said.push('reload gives way');
  });
  await begun.promise;
  const waiting = turns.takeInterruptibly(never, () => Promise.resolve(void said.push('another reload')));
  await turns.interrupt(() => Promise.resolve(void said.push('rollback')));
  await Promise.all([reload, waiting]);
  assert.deepEqual(said.slice(0, 2), ['reload gives way', 'rollback']);
  assert.deepEqual(said.slice(2).sort(), ['another reload', 'reload']);
});

test('what was given up does not begin anew', async () => {
  const turns = new TurnTaker();
  const giveUp = new AbortController();
  let attempts = 0;
  const reload = turns.takeInterruptibly(giveUp.signal, async (signal) => {
    attempts += 1;
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  });
  await nextTurn();
  giveUp.abort();
  await reload;
  await turns.idle();
  assert.equal(attempts, 1);
});

test('what interrupts and fails is told so, and the rest goes on', async () => {
  const turns = new TurnTaker();
  await assert.rejects(
    turns.interrupt(() => Promise.reject(new Error('refused'))),
    { message: 'refused' },
  );
  let isDone = false;
  await turns.takeInterruptibly(never, () => Promise.resolve(void (isDone = true)));
  assert.equal(isDone, true);
});
