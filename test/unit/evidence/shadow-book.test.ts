import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noMetrics, silentLogger, SvidgateError, Watchable, type LogFields } from '../../../src/core/index.ts';
import type { ShadowCount, ShadowStore } from '../../../src/datastore/index.ts';
import { ShadowBook } from '../../../src/evidence/shadow-book.ts';
import { ShadowTable } from '../../../src/evidence/shadow-table.ts';
import { createTestClock } from '../../support/test-clock.ts';

const DAY_MS = 86_400_000;

/** A store that fails while it is told to. */
function stage() {
  const clock = createTestClock();
  const disk = new Map<string, ShadowCount>();
  const lines: string[] = [];
  const state = { isFailing: false, writes: 0, failures: 0 };
  const fail = (): void => {
    if (state.isFailing) throw new SvidgateError('datastore_failed', 'no room');
  };
  const store: ShadowStore = {
    async list() {
      fail();
      return [...disk.values()];
    },
    async apply({ put = [], deleted = [] }) {
      fail();
      state.writes += 1;
      for (const id of deleted) disk.delete(id);
      for (const row of put) disk.set(row.id, row);
    },
  };
  const log = (_fields: LogFields, message: string): void => void lines.push(message);
  const table = new ShadowTable();
  const open = (own: ShadowTable = table): ShadowBook =>
    new ShadowBook({
      table: own,
      store,
      policies: { status: new Watchable(new Map([['candidate', { state: 'active', digest: 'now' } as const]])) },
      clock,
      logger: { ...silentLogger, info: log, warn: log },
      metrics: { ...noMetrics, count: () => void (state.failures += 1) },
    });
  const record = (digest = 'now', route = '/a'): void =>
    table.record({
      policy: 'candidate',
      digest,
      livePolicy: 'default',
      subject: { principal: 'unverified', method: 'GET', route },
      comparison: 'same',
      live: { kind: 'allow', reason: '' },
      candidate: { kind: 'allow', reason: '' },
      decisionId: 'id',
      at: clock.now(),
    });
  const counts = (): readonly number[] => [...disk.values()].map(({ count }) => count);
  return { clock, disk, lines, state, table, open, record, counts };
}

test('counts are written within a second, and once more at the end', async () => {
  const { clock, open, record, counts, state } = stage();
  const stop = new AbortController();
  const book = open();
  await book.load();
  const running = book.run(stop.signal);
  record();
  await clock.advance(1000);
  assert.deepEqual(counts(), [1]);
  await clock.advance(10_000);
  assert.ok(state.writes > 0);
  record();
  stop.abort();
  await running;
  assert.deepEqual(counts(), [2]);
});

test('a store that fails loses nothing that the process lives to write, and is told of once', async () => {
  const { clock, open, record, counts, state, lines } = stage();
  const stop = new AbortController();
  const book = open();
  await book.load();
  const running = book.run(stop.signal);
  state.isFailing = true;
  for (let second = 0; second < 30; second += 1) {
    record();
    await clock.advance(1000);
  }
  assert.deepEqual(counts(), []);
  assert.ok(state.failures > 1);
  assert.deepEqual(lines, ['counts of shadow policies cannot be written, trying again']);
  await assert.rejects(book.writeOrThrow(), { code: 'datastore_failed' });
  state.isFailing = false;
  await clock.advance(60_000);
  assert.deepEqual(counts(), [30]);
  assert.equal(lines.at(-1), 'counts of shadow policies are written again');
  stop.abort();
  await running;
});

test('what was there before is added to, also when it can be read only later', async () => {
  const before = stage();
  before.record();
  await before.open().write();
  assert.deepEqual(before.counts(), [1]);
  const { disk, state, clock } = before;
  const table = new ShadowTable();
  const book = before.open(table);
  state.isFailing = true;
  await book.load();
  table.record({
    policy: 'candidate',
    digest: 'now',
    livePolicy: 'default',
    subject: { principal: 'unverified', method: 'GET', route: '/a' },
    comparison: 'same',
    live: { kind: 'allow', reason: '' },
    candidate: { kind: 'allow', reason: '' },
    decisionId: 'id',
    at: clock.now(),
  });
  state.isFailing = false;
  await book.writeOrThrow();
  assert.deepEqual(
    [...disk.values()].map(({ count }) => count),
    [2],
  );
});

test('thousands of rows go in several transactions, and old versions go after 30 days', async () => {
  const { clock, open, record, disk, state } = stage();
  const stop = new AbortController();
  const book = open();
  await book.load();
  const running = book.run(stop.signal);
  for (let at = 0; at < 2500; at += 1) record('before', `/${at}`);
  record('now');
  await clock.advance(1000);
  assert.equal(disk.size, 2501);
  assert.equal(state.writes, 11);
  for (let day = 0; day < 32; day += 1) {
    clock.set(clock.now() + DAY_MS);
    await clock.advance(1000);
    assert.equal(disk.size, day < 29 ? 2501 : 1, `day ${day}`);
  }
  stop.abort();
  await running;
});
