import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { noMetrics, silentLogger, systemClock, Watchable, type Metrics } from '../../../src/core/index.ts';
import type { ShadowAnswer } from '../../../src/evidence/index.ts';
import { ShadowTable } from '../../../src/evidence/shadow-table.ts';
import { ShadowTrials, type AnsweredRequest } from '../../../src/evidence/shadow-trials.ts';
import { UnenforcedPolicies } from '../../../src/evidence/unenforced-policies.ts';
import type { Decision, PolicyStatus } from '../../../src/policy/index.ts';

const DENY: Decision = { effect: 'deny', reason: 'policy_denied', policy: 'candidate', digest: 'd1' };

type Decide = (name: string) => Promise<Decision>;

interface Stage {
  readonly trials: ShadowTrials;
  readonly table: ShadowTable;
  readonly counts: Map<string, number>;
  readonly asked: string[];
}

function stage(decide: Decide = () => Promise.resolve(DENY)): Stage {
  const counts = new Map<string, number>();
  const asked: string[] = [];
  const metrics: Metrics = {
    ...noMetrics,
    count: (_name, labels, by = 1) => {
      const key = Object.values(labels).join(' ');
      counts.set(key, (counts.get(key) ?? 0) + by);
    },
  };
  const own = { clock: systemClock, logger: silentLogger, metrics };
  const table = new ShadowTable();
  const status = new Watchable<ReadonlyMap<string, PolicyStatus>>(
    new Map([['candidate', { state: 'active', digest: 'd1' } as const]]),
  );
  const trials = new ShadowTrials({
    shadows: new Map([['candidate', 'default']]),
    unenforced: new UnenforcedPolicies({ until: new Map([['later', systemClock.now() + 60_000]]), ...own }),
    policies: {
      status,
      decide(name) {
        asked.push(name);
        return decide(name);
      },
    },
    table,
    ...own,
  });
  return { trials, table, counts, asked };
}

function request(more: Partial<AnsweredRequest> = {}): AnsweredRequest {
  return {
    policy: 'default',
    decisionId: 'id',
    live: { kind: 'allow', reason: '' },
    input: new Uint8Array(),
    size: 100,
    subject: () => ({ principal: 'unverified', method: 'GET', route: '/' }),
    answerOf: (decision): ShadowAnswer =>
      decision.effect === 'allow' ? { kind: 'allow', reason: '' } : { kind: 'deny', reason: decision.reason },
    ...more,
  };
}

async function turns(count = 30): Promise<void> {
  for (let at = 0; at < count; at += 1) await turn();
}

test('nothing is asked in the turn of the answer', async () => {
  const { trials, asked, counts } = stage();
  trials.observe(request());
  await Promise.resolve();
  await new Promise<void>((resolve) => process.nextTick(resolve));
  assert.deepEqual(asked, []);
  await turns();
  assert.deepEqual(asked, ['candidate']);
  assert.deepEqual([...counts], [['candidate would_deny', 1]]);
});

test('requests of other policies are shown to nobody; those of one that does not decide yet to itself', async () => {
  const { trials, asked, table } = stage();
  assert.deepEqual(
    ['default', 'later', 'candidate', 'other'].map((name) => [trials.isWatched(name), trials.isUnenforced(name)]),
    [
      [true, false],
      [true, true],
      [false, false],
      [false, false],
    ],
  );
  trials.observe(request({ policy: 'other' }));
  trials.observe(request({ policy: 'later', live: { kind: 'allow', reason: 'unenforced' } }));
  await turns();
  assert.deepEqual(asked, ['later']);
  assert.deepEqual(
    [...table.rows].map(({ policy, livePolicy }) => [policy, livePolicy]),
    [['later', 'later']],
  );
});

test('a candidate that never answers holds 64 requests; the others are counted as dropped', async () => {
  const { trials, asked, counts, table } = stage(() => new Promise(() => undefined));
  for (let at = 0; at < 30; at += 1) trials.observe(request());
  await turns();
  for (let at = 0; at < 200; at += 1) trials.observe(request());
  await turns();
  assert.equal(asked.length, 64);
  assert.deepEqual([...counts], [['candidate dropped', 166]]);
  assert.deepEqual(
    [...table.rows].map(({ comparison, count }) => [comparison, count]),
    [['dropped', 166]],
  );
});

test('requests of 16 MiB in all are held, however few they are', async () => {
  const { trials, asked, counts } = stage(() => new Promise(() => undefined));
  for (let at = 0; at < 5; at += 1) trials.observe(request({ size: 4 * 2 ** 20 }));
  await turns();
  assert.equal(asked.length, 4);
  assert.deepEqual([...counts], [['candidate dropped', 1]]);
});

test('what broke makes room again and is no difference', async () => {
  const { trials, asked, counts, table } = stage(() => Promise.reject(new Error('boom')));
  for (let round = 0; round < 3; round += 1) {
    for (let at = 0; at < 60; at += 1) trials.observe(request());
    await turns();
  }
  trials.observe(
    request({
      subject: () => {
        throw new Error('boom');
      },
    }),
  );
  await turns();
  assert.equal(asked.length, 180);
  assert.deepEqual([...counts], [['candidate dropped', 181]]);
  assert.deepEqual([...table.rows], []);
});

test('ends that say nothing of a policy are no difference', async () => {
  const ends = ['overloaded', 'canceled', 'not_active', 'no_policy'] as const;
  for (const reason of ends) {
    const { trials, counts, asked } = stage(() =>
      Promise.resolve({ effect: 'deny', reason, policy: 'candidate', digest: 'd1' }),
    );
    const comparison = reason === 'overloaded' || reason === 'canceled' ? 'dropped' : 'not_active';
    trials.observe(request());
    await turns();
    assert.deepEqual([...counts], [[`candidate ${comparison}`, 1]], `of the candidate: ${reason}`);
    trials.observe(request({ live: { kind: 'failure', reason } }));
    await turns();
    assert.deepEqual([...counts], [[`candidate ${comparison}`, 2]], `of the live policy: ${reason}`);
    assert.equal(asked.length, 1);
  }
});

test('what is under way when the server stops counts no more', async () => {
  const answer = Promise.withResolvers<Decision>();
  const { trials, counts, asked } = stage(() => answer.promise);
  trials.observe(request());
  await turns();
  trials.observe(request());
  trials.close();
  answer.resolve(DENY);
  trials.observe(request());
  await turns();
  assert.equal(asked.length, 1);
  assert.deepEqual([...counts], []);
});
