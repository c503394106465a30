import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { noMetrics, silentLogger, systemClock, type LogFields } from '../../../src/core/index.ts';
import { EnvoyTable } from '../../../src/discovery/envoy-table.ts';
import type { EncodedResource, ResourceFacts } from '../../../src/discovery/resource-view.ts';
import type { ResourceVersion } from '../../../src/discovery/stream-books.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';
import { waitUntil } from '../../support/wait-until.ts';

const PROCESS = { pid: 7, uid: 1 };
const NODE = { id: 'gateway-1', cluster: 'edge', version: undefined, disableSpiffeCertValidation: undefined };
const ACK_TIMEOUT_MS = 30_000;
const ORDERS = parseSpiffeId('spiffe://prod.acme.test/orders');

function secret(name: string, version: string, facts: Partial<ResourceFacts> = {}): EncodedResource {
  return { name, version, bytes: new Uint8Array(0), facts: { kind: 'x509_svid', ...facts } };
}

const bundle = (version: string, bundleSequence: number, name = 'ROOTCA'): EncodedResource =>
  secret(name, version, { kind: 'bundle', bundleSequence });

const at = (name: string, version: string): ResourceVersion => ({ name, version });

interface Line {
  readonly fields: LogFields;
  readonly message: string;
}

interface OpenTable {
  readonly table: EnvoyTable;
  readonly clock: TestClock;
  readonly lines: Line[];
  readonly gauges: number[];
  readonly observed: number[];
}

function openTable(): OpenTable {
  const clock = createTestClock();
  const lines: Line[] = [];
  const gauges: number[] = [];
  const observed: number[] = [];
  const table = new EnvoyTable({
    clock,
    logger: { ...silentLogger, warn: (fields, message) => lines.push({ fields, message }) },
    metrics: {
      ...noMetrics,
      gauge: (name, _, value) => name === 'svidgate_sds_unapplied_rotations' && gauges.push(value),
      observe: (name, _, seconds) => name === 'svidgate_sds_ack_seconds' && observed.push(seconds),
    },
    ackTimeoutMs: ACK_TIMEOUT_MS,
  });
  return { table, clock, lines, gauges, observed };
}

function countChanges(table: EnvoyTable): () => number {
  let count = 0;
  table.changed.subscribe(() => (count += 1));
  return () => count;
}

const told = (changes: () => number, count: number): Promise<true> =>
  waitUntil(`${count} changes`, 2000, () => changes() === count);

test('a stream with our bundle is waited for until it acknowledges that or a later one, or ends', async () => {
  const { table } = openTable();
  const changes = countChanges(table);
  const first = table.open(PROCESS);
  const second = table.open({ pid: 8, uid: 1 });
  second.named(NODE);
  for (const stream of [first, second]) stream.sent([bundle('a', 3)]);
  assert.deepEqual(table.pending(3), ['pid 7 of uid 1', 'gateway-1 (pid 8)']);
  await told(changes, 1);
  first.acknowledged([at('ROOTCA', 'a')]);
  assert.deepEqual(table.pending(3), ['gateway-1 (pid 8)']);
  assert.deepEqual(table.pending(4), ['pid 7 of uid 1', 'gateway-1 (pid 8)']);
  await told(changes, 2);
  second[Symbol.dispose]();
  await told(changes, 3);
  assert.deepEqual(table.pending(3), []);
});

test('a stream that relies on our bundle in two resources is waited for until it has both', () => {
  const { table } = openTable();
  using stream = table.open(PROCESS);
  stream.sent([bundle('a', 3), bundle('b', 3, 'ALL')]);
  stream.acknowledged([at('ROOTCA', 'a')]);
  assert.equal(table.pending(3).length, 1);
  stream.acknowledged([at('ALL', 'b')]);
  assert.equal(table.pending(3).length, 0);
  stream.sent([bundle('c', 4)]);
  assert.equal(table.pending(4).length, 1);
  stream.released(['ROOTCA']);
  assert.equal(table.pending(4).length, 1, 'ALL is of the sequence number before');
  stream.unchanged([bundle('b', 4, 'ALL')]);
  assert.equal(table.pending(4).length, 0);
});

test('the same bytes of a newer sequence number count when they are acknowledged, and not before', () => {
  const { table } = openTable();
  using stream = table.open(PROCESS);
  stream.sent([bundle('a', 3)]);
  stream.unchanged([bundle('a', 4)]);
  assert.equal(table.pending(3).length, 1);
  stream.acknowledged([at('ROOTCA', 'a')]);
  assert.equal(table.pending(4).length, 0);
  assert.equal(table.pending(5).length, 1);
  stream.unchanged([bundle('a', 5)]);
  assert.equal(table.pending(5).length, 0);
});

test('a bundle that was refused is not held, whatever it stands for later', () => {
  const { table } = openTable();
  using stream = table.open(PROCESS);
  stream.sent([bundle('a', 3)]);
  stream.acknowledged([at('ROOTCA', 'a')]);
  stream.sent([bundle('b', 4)]);
  stream.refused([at('ROOTCA', 'b')], 'bad CA');
  stream.unchanged([bundle('b', 5)]);
  assert.equal(table.pending(3).length, 0);
  assert.equal(table.pending(4).length, 1);
  stream.unchanged([bundle('a', 6)]);
  assert.equal(table.pending(6).length, 0, 'what it held before the refusal, it holds');
});

test('what an Envoy says that it holds from an earlier stream counts as acknowledged', () => {
  const { table } = openTable();
  using stream = table.open(PROCESS);
  stream.unchanged([bundle('a', 3)]);
  assert.equal(table.pending(3).length, 0);
  assert.equal(table.pending(4).length, 1);
  assert.deepEqual(table.streams()[0]?.resources, [
    {
      name: 'ROOTCA',
      kind: 'bundle',
      version: 'a',
      acknowledged: true,
      acknowledgedVersion: 'a',
      unapplied: false,
      bundleSequence: 3,
    },
  ]);
});

test('a stream of certificates alone is nobody to wait for, and wakes nobody', async () => {
  const { table } = openTable();
  const changes = countChanges(table);
  {
    using stream = table.open(PROCESS);
    stream.sent([secret('default', 'a')]);
    stream.acknowledged([at('default', 'a')]);
    assert.deepEqual(table.pending(1), []);
  }
  using other = table.open(PROCESS);
  other.sent([bundle('a', 1)]);
  await told(changes, 1);
});

test('each resource is told of with what was sent, accepted and refused', () => {
  const { table, clock } = openTable();
  const start = clock.now();
  const stream = table.open(PROCESS);
  stream.named(NODE);
  const svid = (version: string, serial: string, expiresAt: number): EncodedResource =>
    secret('default', version, { spiffeId: ORDERS, serial, expiresAt });
  stream.sent([svid('a', '01', 5000), bundle('r', 3)]);
  stream.acknowledged([at('default', 'a'), at('ROOTCA', 'r')]);
  clock.set(start + 10);
  stream.sent([svid('b', '02', 6000)]);
  stream.refused([at('default', 'b')], 'no such cipher');
  assert.deepEqual(table.streams(), [
    {
      id: 1,
      nodeId: 'gateway-1',
      nodeCluster: 'edge',
      pid: 7,
      uid: 1,
      spiffeIds: [ORDERS],
      resources: [
        {
          name: 'default',
          kind: 'x509_svid',
          version: 'b',
          acknowledged: false,
          unapplied: true,
          sentAt: start + 10,
          acknowledgedVersion: 'a',
          lastNack: { reason: 'no such cipher', at: start + 10 },
          serial: '02',
          spiffeId: ORDERS,
          expiresAt: 6000,
        },
        {
          name: 'ROOTCA',
          kind: 'bundle',
          version: 'r',
          acknowledged: true,
          unapplied: false,
          sentAt: start,
          acknowledgedVersion: 'r',
          bundleSequence: 3,
        },
      ],
      connectedAt: start,
      expiresAt: 6000,
    },
  ]);
  stream[Symbol.dispose]();
  assert.deepEqual(table.streams(), []);
  assert.equal(table.unappliedCount(), 0);
});

test('names that are not asked for any more are forgotten, and answers about them change nothing', () => {
  const { table } = openTable();
  using stream = table.open(PROCESS);
  stream.sent([secret('a', '1'), secret('b', '1')]);
  stream.released(['a', 'never sent']);
  stream.acknowledged([at('a', '1')]);
  stream.refused([at('never sent', '1')], 'no');
  assert.deepEqual(
    table.streams()[0]?.resources.map(({ name }) => name),
    ['b'],
  );
});

test('a refusal is kept up to 1024 characters, and never as half a character', () => {
  const { table } = openTable();
  using stream = table.open(PROCESS);
  stream.sent([secret('a', '1')]);
  stream.refused([at('a', '1')], `${'x'.repeat(1023)}\u{1f600}`);
  const reason = table.streams()[0]?.resources[0]?.lastNack?.reason ?? '';
  assert.equal(reason.length, 1024);
  assert.ok(reason.isWellFormed());
});

test('the time to an answer is measured once, and not for a repetition', () => {
  const { table, clock, observed } = openTable();
  using stream = table.open(PROCESS);
  stream.sent([secret('a', '1'), secret('b', '1')]);
  clock.set(clock.now() + 250);
  const both = [at('a', '1'), at('b', '1')];
  stream.acknowledged(both);
  assert.deepEqual(observed, [0.25]);
  stream.sent([secret('a', '1'), secret('b', '1')]);
  stream.acknowledged(both);
  assert.deepEqual(observed, [0.25]);
});

interface Watched extends OpenTable, AsyncDisposable {}

/** A table whose `run` goes on until the end of the test. */
function watchTable(): Watched {
  const open = openTable();
  const stop = new AbortController();
  const run = open.table.run(stop.signal);
  return {
    ...open,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await run;
    },
  };
}

test('an Envoy that does not answer within the limit is a warning, once', async () => {
  await using watched = watchTable();
  const { table, clock, lines, gauges } = watched;
  using stream = table.open(PROCESS);
  stream.named(NODE);
  stream.sent([secret('default', 'a')]);
  await clock.advance(ACK_TIMEOUT_MS - 1000);
  assert.deepEqual([lines.length, gauges.at(-1), table.unappliedCount()], [0, 0, 0]);
  await clock.advance(10_000);
  const fields = {
    node_id: 'gateway-1',
    caller_pid: 7,
    resource_names: ['default'],
    version: 'a',
    reason: 'no answer in 30 s',
  };
  assert.deepEqual(lines, [{ fields, message: 'envoy has not applied a secret' }]);
  assert.deepEqual([gauges.at(-1), table.unappliedCount()], [1, 1]);
  assert.equal(table.streams()[0]?.resources[0]?.unapplied, true);
  stream.acknowledged([at('default', 'a')]);
  await clock.advance(1000);
  assert.deepEqual([gauges.at(-1), table.unappliedCount(), lines.length], [0, 0, 1]);
});

test('newer versions do not put the limit off, and are no further warnings', async () => {
  await using watched = watchTable();
  const { table, clock, lines } = watched;
  using stream = table.open(PROCESS);
  for (let second = 0; second < 60; second += 1) {
    stream.sent([secret('default', `v${second}`)]);
    await clock.advance(1000);
  }
  assert.deepEqual(
    lines.map(({ fields }) => fields.version),
    ['v29'],
  );
});

test('a refusal is a warning with its text, and again for each version that is refused', async () => {
  await using watched = watchTable();
  const { table, clock, lines, gauges } = watched;
  using stream = table.open(PROCESS);
  for (const version of ['a', 'b']) {
    stream.sent([secret('default', version)]);
    stream.refused([at('default', version)], `no ${version}`);
    await clock.advance(3000);
  }
  assert.deepEqual(
    lines.map(({ fields }) => [fields.version, fields.reason]),
    [
      ['a', 'refused: no a'],
      ['b', 'refused: no b'],
    ],
  );
  assert.equal(gauges.at(-1), 1);
});

test('what was accepted before stays so when an answer with it is refused', async () => {
  await using watched = watchTable();
  const { table, clock, lines } = watched;
  using stream = table.open(PROCESS);
  stream.sent([secret('a', '1'), secret('b', '1')]);
  stream.acknowledged([at('a', '1'), at('b', '1')]);
  stream.sent([secret('a', '2'), secret('b', '1')]);
  stream.refused([at('a', '2'), at('b', '1')], 'bad a');
  await clock.advance(1000);
  assert.deepEqual(
    lines.map(({ fields }) => fields.resource_names),
    [['a']],
  );
  assert.equal(table.unappliedCount(), 1);
});

test('an answer to the earlier of two versions leaves the later one to be waited for, from when it was sent', async () => {
  await using watched = watchTable();
  const { table, clock } = watched;
  using stream = table.open(PROCESS);
  stream.sent([secret('a', '1')]);
  await clock.advance(20_000);
  stream.sent([secret('a', '2')]);
  stream.acknowledged([at('a', '1')]);
  assert.partialDeepStrictEqual(table.streams()[0]?.resources[0], { acknowledged: false, acknowledgedVersion: '1' });
  await clock.advance(20_000);
  assert.equal(table.unappliedCount(), 0);
  await clock.advance(10_000);
  assert.equal(table.unappliedCount(), 1);
});

test('a clock that is set back warns of nobody early, and hides nobody for longer than the limit', async () => {
  await using watched = watchTable();
  const { table, clock } = watched;
  using stream = table.open(PROCESS);
  stream.sent([secret('a', '1')]);
  clock.set(clock.now() - 3_600_000);
  await clock.advance(ACK_TIMEOUT_MS - 1000);
  assert.equal(table.unappliedCount(), 0);
  await clock.advance(2000);
  assert.equal(table.unappliedCount(), 1);
});

test('one stream with a great many names adds a few lines to the log', async () => {
  await using watched = watchTable();
  const { table, clock, lines, gauges } = watched;
  using stream = table.open(PROCESS);
  stream.sent(Array.from({ length: 1000 }, (_, index) => secret(`name-${index}`, '1')));
  await clock.advance(ACK_TIMEOUT_MS + 5000);
  assert.equal(lines.length, 9);
  assert.deepEqual(lines.at(-1)?.message, 'envoy has not applied further secrets');
  assert.equal(lines.at(-1)?.fields.count, 992);
  assert.equal(gauges.at(-1), 1000);
});

test('of a thousand streams in one turn the listener hears once', async () => {
  const { table } = openTable();
  const changes = countChanges(table);
  for (let pid = 1; pid <= 1000; pid += 1) table.open({ pid, uid: 1 }).sent([bundle('a', 1)]);
  await told(changes, 1);
  await nextTurn();
  assert.equal(changes(), 1);
  assert.equal(table.pending(1).length, 1000);
});

test('the books of 10,000 streams cost little for each change', () => {
  const table = new EnvoyTable({ clock: systemClock, logger: silentLogger, metrics: noMetrics, ackTimeoutMs: 30_000 });
  const streams = Array.from({ length: 10_000 }, (_, pid) => table.open({ pid, uid: 1 }));
  const began = performance.now();
  for (let sequence = 1; sequence <= 10; sequence += 1) {
    const news = [bundle(`v${sequence}`, sequence)];
    for (const stream of streams) stream.sent(news);
    for (const stream of streams) stream.acknowledged([at('ROOTCA', `v${sequence}`)]);
    assert.equal(table.pending(sequence).length, 0);
  }
  const perChange = (performance.now() - began) / 10;
  assert.ok(perChange < 500, `${perChange.toFixed(1)} ms`);
});
