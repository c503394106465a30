import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SvidgateError, type Logger } from '../../../src/core/index.ts';
import type { IssuedSvid } from '../../../src/datastore/index.ts';
import { createWriteBehind, type IssuedTable } from '../../../src/datastore/issued-store.ts';
import { issuedOf } from '../../support/datastore-fixtures.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';

/** A table in memory whose writes can be made to fail, or to wait. */
function createTable() {
  const rows = new Map<string, IssuedSvid>();
  const groups: number[] = [];
  const table: IssuedTable = {
    async write(svids) {
      await gate.wait;
      if (gate.isBroken) throw new SvidgateError('datastore_failed', 'no room');
      groups.push(svids.length);
      for (const svid of svids) rows.set(svid.serial, svid);
    },
    find: (serial) => Promise.resolve(rows.get(serial)),
    prune: () => Promise.resolve(),
  };
  const gate = { isBroken: false, wait: Promise.resolve() };
  return { table, rows, groups, gate };
}

function setUp(options: { maxWaiting?: number } = {}) {
  const clock: TestClock = createTestClock();
  const logged: { readonly level: string; readonly message: string; readonly count?: number | undefined }[] = [];
  const log =
    (level: string): Logger['info'] =>
    ({ count }, message) =>
      void logged.push({ level, message, ...(count !== undefined && { count }) });
  const logger: Logger = {
    debug: log('debug'),
    info: log('info'),
    warn: log('warn'),
    error: log('error'),
    child: () => logger,
  };
  const parts = createTable();
  return { ...parts, clock, logged, store: createWriteBehind({ table: parts.table, clock, logger, ...options }) };
}

test('what is recorded within a tenth of a second is written together', async () => {
  const { store, clock, groups, logged } = setUp();
  for (let serial = 0; serial < 1000; serial += 1) store.record(issuedOf(String(serial)));
  await clock.advance(99);
  assert.deepEqual(groups, []);
  await clock.advance(1);
  assert.deepEqual(groups, [1000]);
  await clock.advance(60_000);
  store.record(issuedOf('late'));
  await clock.advance(100);
  assert.deepEqual(groups, [1000, 1]);
  assert.equal(clock.sleeping, 0, 'nothing runs when nothing waits');
  assert.deepEqual(logged, []);
  await store.close();
});

test('a write that fails is logged once, tried again ever more seldom, and loses nothing', async () => {
  const { store, clock, gate, rows, logged } = setUp();
  gate.isBroken = true;
  store.record(issuedOf('1'));
  await clock.advance(100);
  store.record({ ...issuedOf('1'), authorityId: 'newer' });
  store.record(issuedOf('2'));
  await clock.advance(120_000);
  assert.equal((await store.find('1'))?.authorityId, 'newer');
  await assert.rejects(store.flush(), { code: 'datastore_failed' });
  gate.isBroken = false;
  await clock.advance(30_000);
  assert.deepEqual([...rows.keys()].sort(), ['1', '2']);
  assert.equal(rows.get('1')?.authorityId, 'newer');
  assert.deepEqual(logged, [
    { level: 'warn', message: 'issued SVIDs cannot be recorded, trying again', count: 1 },
    { level: 'info', message: 'issued SVIDs are recorded again' },
  ]);
  await store.close();
});

test('what waits is bounded: the oldest are dropped, and counted when writing works again', async () => {
  const { store, clock, gate, rows, logged } = setUp({ maxWaiting: 3 });
  gate.isBroken = true;
  for (const serial of ['1', '2', '3']) store.record(issuedOf(serial));
  await clock.advance(100);
  for (const serial of ['4', '5']) store.record(issuedOf(serial));
  gate.isBroken = false;
  await store.flush();
  assert.deepEqual([...rows.keys()], ['3', '4', '5']);
  assert.deepEqual(logged.at(-1), { level: 'warn', message: 'records of issued SVIDs were dropped', count: 2 });
  await store.close();
});

test('a record is found while it is being written, and what comes meanwhile is written next', async () => {
  const { store, clock, gate, groups } = setUp();
  let release = (): void => undefined;
  gate.wait = new Promise((resolve) => (release = resolve));
  store.record(issuedOf('1'));
  await clock.advance(100);
  store.record(issuedOf('2'));
  assert.deepEqual(await store.find('1'), issuedOf('1'));
  assert.deepEqual(await store.find('2'), issuedOf('2'));
  const flushed = store.flush();
  release();
  await flushed;
  assert.deepEqual(groups, [1, 1]);
  await store.close();
});

test('closing writes what waits; what cannot be written is logged and holds nothing up', async () => {
  const fine = setUp();
  fine.store.record(issuedOf('1'));
  await fine.store.close();
  assert.deepEqual([...fine.rows.keys()], ['1']);
  assert.equal(fine.clock.sleeping, 0);
  const broken = setUp();
  broken.gate.isBroken = true;
  broken.store.record(issuedOf('1'));
  await broken.store.close();
  assert.deepEqual(broken.logged.at(-1), { level: 'warn', message: 'issued SVIDs were not recorded', count: 1 });
  assert.equal(broken.clock.sleeping, 0);
});
