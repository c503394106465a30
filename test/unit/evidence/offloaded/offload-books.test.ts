import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger, type LogFields, type Metrics } from '../../../../src/core/index.ts';
import { OffloadBooks, type BookedProcess, type SavedBooks } from '../../../../src/evidence/index.ts';

const T = 1_795_383_418_000;

function stage(saved?: SavedBooks) {
  const clock = { time: T, now: () => clock.time };
  const warnings: LogFields[] = [];
  const gauges = new Map<string, number>();
  const metrics: Metrics = {
    count: () => undefined,
    observe: () => undefined,
    gauge: (name, labels, value) => void gauges.set(`${name} ${Object.values(labels).join()}`, value),
  };
  const logger = { ...silentLogger, warn: (fields: LogFields) => void warnings.push(fields) };
  return { clock, warnings, gauges, books: new OffloadBooks({ saved, clock, logger, metrics }) };
}

const envoy = (pid: number, more: Partial<BookedProcess> = {}): BookedProcess => {
  return { pid, uid: 1000, startTicks: 100 + pid, isYounger: true, ...more };
};

const allowed = (value: number, at: number, active: number | undefined = 0) => {
  return { at, active, counters: [{ stat: 'in', policy: 'default', outcome: 'allow' as const, value }] };
};

describe('the books of Envoys', () => {
  it('are one for all streams of a process, and for nobody else', () => {
    const { books } = stage();
    const [one, other] = [books.of(envoy(7)), books.of(envoy(8))];
    one?.name('orders');
    one?.receive('default', 'allow', T - 10);
    books.of(envoy(7))?.receive('default', 'allow', T - 5);
    other?.receive('default', 'deny', T);
    // The same pid, long after.
    books.of(envoy(7, { startTicks: 999 }))?.receive('default', 'allow', T);
    assert.deepEqual(
      books.status().map(({ pid, name, outcome, received }) => [pid, name, outcome, received]),
      [
        [7, 'orders', 'allow', 2],
        [8, '', 'deny', 1],
        [7, '', 'allow', 1],
      ],
    );
  });

  it('tell what is missing, warn of it once a minute at most, and end with the process', () => {
    const { books, clock, gauges, warnings } = stage();
    const book = books.of(envoy(7));
    for (let count = 0; count < 8; count += 1) book?.receive('default', 'allow', T - 100);
    book?.count(allowed(10, T));
    books.sweep(() => true);
    assert.equal(warnings.length, 0, 'they may be on their way');
    clock.time += 5000;
    for (const value of [10, 11, 12]) {
      book?.count(allowed(value, clock.time));
      books.sweep(() => true);
    }
    assert.deepEqual(warnings, [{ caller_pid: 7, caller_uid: 1000, node_id: '', count: 2 }]);
    assert.equal(gauges.get('svidgate_offload_answered default'), 12);
    assert.equal(gauges.get('svidgate_offload_records_lost default'), 2);
    books.sweep(() => false);
    assert.equal(books.status()[0]?.pid, 7, 'what it sent last may be on its way');
    books.sweep(() => false);
    const ended = { name: '', policy: 'default', outcome: 'allow', received: 8, counted: 12, lost: 4 };
    assert.deepEqual(books.status(), [ended]);
    assert.equal(gauges.get('svidgate_offload_records_lost default'), 4);
  });

  it('go on after a restart for the same process, whose counters go on', () => {
    const before = stage();
    const book = before.books.of(envoy(7));
    for (let count = 0; count < 10; count += 1) book?.receive('default', 'allow', T - 100);
    book?.count(allowed(10, T));
    const saved = JSON.parse(JSON.stringify(before.books.save())) as SavedBooks;
    const { books, clock } = stage(saved);
    books.of(envoy(7, { isYounger: false }))?.count(allowed(25, T + 10));
    books.of(envoy(8, { isYounger: false }))?.count(allowed(25, T + 10));
    clock.time += 10_000;
    assert.deepEqual(
      books.status().map(({ pid, received, counted, lost }) => [pid, received, counted, lost]),
      [
        [7, 10, 25, 15],
        // It has counted for somebody else before.
        [8, 0, 0, 0],
      ],
    );
  });

  it('understand counters and what is being answered in messages of one moment, also of a process from before', () => {
    const { books, clock } = stage();
    const book = books.of(envoy(7, { isYounger: false }));
    const counter = (stat: string, value: number) => ({ stat, policy: 'default', outcome: 'allow' as const, value });
    book?.count({ at: T, active: undefined, counters: [counter('in', 500)] });
    book?.count({ at: T, active: undefined, counters: [counter('out', 300)] });
    book?.count({ at: T, active: 2, counters: [] });
    book?.count({ at: T + 1000, active: undefined, counters: [counter('in', 510), counter('out', 300)] });
    book?.count({ at: T + 1000, active: undefined, counters: [counter('new', 5)] });
    book?.count({ at: T + 1000, active: 2, counters: [] });
    book?.count({ at: T + 1000, active: 1, counters: [] });
    clock.time += 10_000;
    const [line] = books.status();
    assert.deepEqual([line?.counted, line?.lost], [15, 12]);
  });

  it('are not opened without end', () => {
    const { books } = stage();
    for (let pid = 1; pid <= 500; pid += 1) assert.ok(books.of(envoy(pid)) !== undefined);
    assert.equal(books.of(envoy(501)), undefined, 'of one user');
    for (let pid = 501; pid <= 1000; pid += 1) assert.ok(books.of(envoy(pid, { uid: 1001 })) !== undefined);
    assert.equal(books.of(envoy(1001, { uid: 1002 })), undefined);
    assert.ok(books.of(envoy(5)) !== undefined);
  });
});
