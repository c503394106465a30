import assert from 'node:assert/strict';
import { test } from 'node:test';
import { merge, supervise, Watchable } from '../../../src/core/index.ts';

test('a reader gets the present value first, then the newest, and never a backlog', async () => {
  const watchable = new Watchable(1);
  const stop = new AbortController();
  const reader = watchable.watch(stop.signal);
  assert.deepEqual(await reader.next(), { value: 1, done: false });
  watchable.set(2);
  watchable.set(3);
  assert.deepEqual(await reader.next(), { value: 3, done: false });
  const waiting = reader.next();
  watchable.set(4);
  assert.deepEqual(await waiting, { value: 4, done: false });
  stop.abort();
  assert.equal((await reader.next()).done, true);
});

test('setting the same value tells nobody', () => {
  const watchable = new Watchable('a');
  let told = 0;
  const unsubscribe = watchable.subscribe(() => (told += 1));
  watchable.set('a');
  assert.equal(told, 0);
  watchable.set('b');
  unsubscribe();
  watchable.set('c');
  assert.equal(told, 1);
});

test('the first task that fails stops the others, and all are waited for', async () => {
  let stopped = false;
  await assert.rejects(
    supervise(new AbortController().signal, [
      async (signal) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        stopped = true;
      },
      () => Promise.reject(new Error('boom')),
    ]),
    /boom/,
  );
  assert.equal(stopped, true);
});

test('merge yields from every source and ends with the first that ends', async () => {
  async function* count(from: number, times: number): AsyncGenerator<number> {
    for (let index = 0; index < times; index += 1) {
      await Promise.resolve();
      yield from + index;
    }
    if (from === 10) await new Promise((resolve) => setImmediate(resolve));
    if (from === 0) await new Promise(() => undefined);
  }
  const seen: number[] = [];
  for await (const value of merge([count(0, 3), count(10, 3)])) seen.push(value);
  assert.deepEqual(
    seen.toSorted((one, other) => one - other),
    [0, 1, 2, 10, 11, 12],
  );
});

test('merge throws what a source throws, after the values that came before', async () => {
  async function* failing(): AsyncGenerator<number> {
    yield 1;
    await Promise.resolve();
    throw new Error('source failed');
  }
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const value of merge([failing()])) seen.push(value);
  }, /source failed/);
  assert.deepEqual(seen, [1]);
});

test('merge closes every source when its reader stops, whichever source it was at', async () => {
  for (const stopAt of ['one', 'two']) {
    const closed: string[] = [];
    const source = async function* (name: string): AsyncGenerator<string> {
      try {
        for (;;) yield name;
      } finally {
        closed.push(name);
      }
    };
    for await (const value of merge([source('one'), source('two')])) if (value === stopAt) break;
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(closed.sort(), ['one', 'two']);
  }
});
