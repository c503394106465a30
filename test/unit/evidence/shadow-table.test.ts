import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { ShadowCount } from '../../../src/datastore/index.ts';
import { COMPARISONS } from '../../../src/evidence/index.ts';
import { shadowReport } from '../../../src/evidence/shadow-report.ts';
import { OTHERS, ShadowTable, type ShadowObservation } from '../../../src/evidence/shadow-table.ts';

const DENIED = { kind: 'deny', reason: 'policy_denied' } as const;
const ALLOWED = { kind: 'allow', reason: '' } as const;

function observation(more: Partial<ShadowObservation> & { readonly route?: string } = {}): ShadowObservation {
  const { route = '/a', ...rest } = more;
  return {
    policy: 'candidate',
    digest: 'd1',
    livePolicy: 'default',
    subject: { principal: 'spiffe://a.test/web', method: 'GET', route },
    comparison: 'would_deny',
    live: ALLOWED,
    candidate: DENIED,
    decisionId: 'id',
    at: 1000,
    ...rest,
  };
}

const rowsOf = (table: ShadowTable): readonly ShadowCount[] => [...table.rows];
const total = (table: ShadowTable): number => rowsOf(table).reduce((sum, { count }) => sum + count, 0);

test('a row counts one kind of difference, with its first and last time and the last decision', () => {
  const table = new ShadowTable();
  table.record(observation({ at: 5, decisionId: 'first' }));
  table.record(observation({ at: 9, decisionId: 'second' }));
  table.record(
    observation({ at: 9, candidate: { kind: 'failure', reason: 'wrong_type' }, comparison: 'candidate_failed' }),
  );
  const [row, other] = rowsOf(table);
  assert.equal(rowsOf(table).length, 2);
  const { id, ...rest } = row!;
  assert.match(id, /^[0-9a-f]{64}$/);
  assert.deepEqual(rest, {
    policy: 'candidate',
    digest: 'd1',
    livePolicy: 'default',
    principal: 'spiffe://a.test/web',
    method: 'GET',
    route: '/a',
    comparison: 'would_deny',
    live: 'allow',
    liveReason: '',
    candidate: 'deny',
    candidateReason: 'policy_denied',
    count: 2,
    firstSeen: 5,
    lastSeen: 9,
    sampleDecisionId: 'second',
  });
  assert.equal(other?.candidateReason, 'wrong_type');
});

describe('bounds', () => {
  test('beyond them one row counts the others of each kind; agreement does not crowd out differences', () => {
    const table = new ShadowTable({ maxRows: 10 });
    for (let at = 0; at < 50; at += 1)
      table.record(observation({ route: `/${at}`, comparison: 'same', candidate: ALLOWED }));
    for (let at = 0; at < 30; at += 1) table.record(observation({ route: `/${at}` }));
    const rows = rowsOf(table);
    assert.equal(rows.length, 22);
    const others = rows.filter(({ principal }) => principal === OTHERS);
    assert.deepEqual(
      others.map(({ comparison, count, route }) => [comparison, count, route]),
      [
        ['same', 40, OTHERS],
        ['would_deny', 20, OTHERS],
      ],
    );
    assert.equal(total(table), 80);
    table.record(observation({ route: '/3' }));
    assert.equal(
      rowsOf(table).find(({ route, comparison }) => route === '/3' && comparison === 'would_deny')?.count,
      2,
    );
  });

  test('another candidate has room of its own', () => {
    const table = new ShadowTable({ maxRows: 1 });
    for (const policy of ['a', 'b']) table.record(observation({ policy }));
    assert.ok(rowsOf(table).every(({ principal }) => principal !== OTHERS));
  });

  test('an old version gives way to the one that is tried now, the oldest first', () => {
    const table = new ShadowTable({ maxRows: 4 });
    for (const [at, digest] of ['old', 'older', 'old', 'older'].entries()) {
      table.record(observation({ digest, route: `/${at}`, at: digest === 'old' ? 20 : 10 }));
    }
    table.record(observation({ digest: 'new', at: 30 }));
    assert.deepEqual([...new Set(rowsOf(table).map(({ digest }) => digest))], ['old', 'new']);
    for (let at = 0; at < 9; at += 1) table.record(observation({ digest: 'new', route: `/${at}`, at: 31 }));
    assert.deepEqual([...new Set(rowsOf(table).map(({ digest }) => digest))], ['new']);
    assert.equal(rowsOf(table).length, 5);
  });
});

test('old versions go after their time; the one in force stays', () => {
  const table = new ShadowTable();
  table.record(observation({ digest: 'old', at: 10 }));
  table.record(observation({ digest: 'recent', at: 20 }));
  table.record(observation({ digest: 'current', at: 1 }));
  table.prune(15, () => 'current');
  assert.deepEqual(
    rowsOf(table).map(({ digest }) => digest),
    ['recent', 'current'],
  );
});

test('clearing forgets one policy, on disk too, and what comes after begins anew', () => {
  const table = new ShadowTable();
  table.record(observation());
  table.record(observation({ policy: 'other' }));
  const { put } = table.takeChanges(10);
  table.clear('candidate');
  assert.deepEqual(
    rowsOf(table).map(({ policy }) => policy),
    ['other'],
  );
  table.record(observation());
  const changes = table.takeChanges(10);
  assert.deepEqual(changes.deleted, [], 'it is written over');
  assert.deepEqual(
    changes.put.map(({ count }) => count),
    [1],
  );
  table.clear();
  assert.deepEqual(new Set(table.takeChanges(10).deleted), new Set(put.map(({ id }) => id)));
});

const subjects = fc.record({
  principal: fc.constantFrom('spiffe://a.test/web', 'spiffe://a.test/shop', 'unverified'),
  method: fc.constantFrom('GET', 'POST'),
  route: fc.constantFrom('/a', '/b', '/c', '/d'),
});
const observations = fc.record({
  policy: fc.constantFrom('one', 'two'),
  digest: fc.constantFrom('d1', 'd2'),
  subject: subjects,
  comparison: fc.constantFrom(...COMPARISONS.filter((name) => name !== 'dropped' && name !== 'not_active')),
});

test('what is counted equals an independent tally, whatever is lost on the way to disk and tried again', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(observations, fc.nat(6)), { maxLength: 200 }), async (drawn) => {
      const table = new ShadowTable();
      const disk = new Map<string, ShadowCount>();
      const tally = new Map<string, number>();
      const write = (works: boolean): void => {
        const changes = table.takeChanges(3);
        if (!works) return table.giveBack(changes);
        for (const id of changes.deleted) disk.delete(id);
        for (const row of changes.put) disk.set(row.id, row);
      };
      for (const [each, then] of drawn) {
        table.record(observation(each));
        const { policy, digest, subject, comparison } = each;
        const key = JSON.stringify([policy, digest, subject.principal, subject.method, subject.route, comparison]);
        tally.set(key, (tally.get(key) ?? 0) + 1);
        if (then === 1) table.recordDropped({ policy, digest, livePolicy: 'default', at: 5 }, 3);
        if (then === 2 || then === 3) write(then === 2);
      }
      for (let at = 0; at < 80; at += 1) write(at % 3 !== 0);
      const counted = [...disk.values()].filter(({ comparison }) => comparison !== 'dropped');
      const found = counted.map((row) => {
        const { policy, digest, principal, method, route, comparison, count } = row;
        return [JSON.stringify([policy, digest, principal, method, route, comparison]), count] as const;
      });
      assert.deepEqual(new Map(found), tally);

      const again = new ShadowTable();
      again.restore([...disk.values()]);
      assert.deepEqual(new Set(again.rows), new Set(table.rows));

      const tried = [{ policy: 'one', livePolicy: 'default', digest: 'd1' }];
      const { summaries, differences } = await shadowReport(again.rows, tried, { allDigests: true });
      const sumOf = (test: (key: readonly string[]) => boolean): number =>
        [...tally].reduce((sum, [key, count]) => sum + (test(JSON.parse(key) as string[]) ? count : 0), 0);
      for (const { policy, digest, counts, isCurrent } of summaries) {
        assert.equal(isCurrent, policy === 'one' && digest === 'd1');
        for (const comparison of COMPARISONS) {
          if (comparison === 'dropped') continue;
          const expected = sumOf((key) => key[0] === policy && key[1] === digest && key[5] === comparison);
          assert.equal(counts[comparison], expected);
        }
      }
      for (const row of differences) {
        const isSubject = (key: readonly string[]): boolean =>
          [row.policy, row.digest, row.principal, row.method, row.route].every((part, at) => key[at] === part);
        assert.equal(row.compared, sumOf(isSubject));
        assert.equal(
          row.agreed,
          sumOf((key) => isSubject(key) && key[5] === 'same'),
        );
      }
    }),
    { numRuns: 200 },
  );
});

test('a report shows the version in force and what it is asked for', async () => {
  const table = new ShadowTable();
  const web = { principal: 'spiffe://a.test/web', method: 'GET', route: '/a' };
  table.record(observation({ subject: web, at: 10 }));
  table.record(observation({ subject: { ...web, method: 'POST' }, at: 20, comparison: 'same' }));
  table.record(observation({ subject: { ...web, route: '/b' }, at: 30 }));
  table.record(observation({ digest: 'old', at: 5 }));
  table.record(observation({ policy: 'gone', at: 5 }));
  const tried = [
    { policy: 'candidate', livePolicy: 'default', digest: 'd1' },
    { policy: 'broken', livePolicy: 'default' },
  ];
  const all = await shadowReport(table.rows, tried, {});
  assert.deepEqual(
    all.summaries.map(({ policy, digest }) => [policy, digest]),
    [
      ['candidate', 'd1'],
      ['broken', ''],
    ],
  );
  assert.deepEqual(all.summaries[0]?.counts, {
    same: 1,
    other_effects: 0,
    would_allow: 0,
    would_deny: 2,
    live_failed: 0,
    candidate_failed: 0,
    dropped: 0,
    not_active: 0,
  });
  assert.deepEqual([all.summaries[0]?.firstSeen, all.summaries[0]?.lastSeen], [10, 30]);
  const count = async (filter: Parameters<typeof shadowReport>[2]): Promise<number> =>
    (await shadowReport(table.rows, tried, filter)).differences.length;
  assert.equal(await count({}), 2);
  assert.equal(await count({ route: '/b' }), 1);
  assert.equal(await count({ method: 'POST' }), 0);
  assert.equal(await count({ principal: 'unverified' }), 0);
  assert.equal(await count({ seenSince: 25 }), 1);
  assert.equal(await count({ allDigests: true }), 4);
  assert.equal(await count({ policy: 'gone', allDigests: true }), 1);
  assert.equal(await count({ policy: 'broken' }), 0);
});
