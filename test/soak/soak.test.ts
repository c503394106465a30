/** The soak in short, and that what it judges by can tell right from wrong. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { givesIdentity, rightAnswers, type Asked, type World } from './model.ts';
import { Findings } from './findings.ts';
import { seededRandom } from './random.ts';
import { soakTable } from './report.ts';
import { runSoak } from './run-soak.ts';
import { slopePerHour } from './slope.ts';
import type { Vitals } from './soak-server.ts';
import { clockMs, Timeline } from './timeline.ts';
import { problemsOf } from './verdict.ts';

const SECONDS = Number(process.env['SVIDGATE_SOAK_SECONDS'] ?? 30);
const SEED = 20_261_122;

test(`${SECONDS} s of mixed traffic and changes: each answer is right, and nothing grows`, async (t) => {
  const result = await runSoak({ seconds: SECONDS, seed: SEED, progress: (state) => t.diagnostic(state) });
  t.diagnostic(`${result.requests} requests`);
  assert.deepEqual(result.problems, []);
  assert.ok(result.requests > 10 * SECONDS, `${result.requests} requests`);
  assert.match(soakTable(result), /\| wrong answers +\| 0 /);
});

const RULES = { generation: 7, members: [0], limit: 10 };

function worldOf(): World {
  const peer = () => ({ isRegistered: new Timeline(true), isRevoked: new Timeline(false) });
  return { first: new Timeline(RULES), second: new Timeline(RULES), peers: [peer(), peer()], serials: new Map() };
}

const LATER = Date.now() + 3_600_000;
const BEFORE = Date.now() - 3_600_000;

const cases: readonly (readonly [string, Asked, string])[] = [
  ['a member', { method: 'GET', area: 'orders', shown: { peer: 0, serial: 'a', endsAt: LATER } }, 'allow 7'],
  ['no member', { method: 'GET', area: 'orders', shown: { peer: 1, serial: 'a', endsAt: LATER } }, 'deny 7'],
  [
    'an SVID that has ended',
    { method: 'GET', area: 'orders', shown: { peer: 0, serial: 'a', endsAt: BEFORE } },
    'deny 7',
  ],
  ['nobody', { method: 'GET', area: 'orders' }, 'deny 7'],
  ['nobody in public', { method: 'GET', area: 'public' }, 'allow 7'],
  [
    'a large amount',
    { method: 'POST', area: 'orders', shown: { peer: 0, serial: 'a', endsAt: LATER }, body: { amount: 11 } },
    'deny 7',
  ],
  [
    'a small amount',
    { method: 'POST', area: 'orders', shown: { peer: 0, serial: 'a', endsAt: LATER }, body: { amount: 10 } },
    'allow 7',
  ],
  [
    'a form',
    { method: 'POST', area: 'orders', shown: { peer: 0, serial: 'a', endsAt: LATER }, body: 'form' },
    'deny 7',
  ],
  ['a broken body', { method: 'POST', area: 'public', body: 'broken' }, '400'],
  ['a body that is too large', { method: 'POST', area: 'public', body: 'oversized' }, '413'],
  ['a token', { method: 'GET', area: 'token', token: { peer: 0, kind: 'good', endsAt: LATER } }, 'allow 7'],
  ['a forged token', { method: 'GET', area: 'token', token: { peer: 0, kind: 'forged', endsAt: LATER } }, 'deny 7'],
  ['an old token', { method: 'GET', area: 'token', token: { peer: 0, kind: 'good', endsAt: BEFORE } }, 'deny 7'],
  ['the second policy', { method: 'GET', area: 'second', shown: { peer: 0, serial: 'a', endsAt: LATER } }, 'allow'],
  ['a policy that is not there', { method: 'GET', area: 'unheard' }, 'deny'],
];

describe('the model', () => {
  for (const [name, asked, answer] of cases) {
    test(`${name}: ${answer}`, () => {
      const now = clockMs();
      assert.deepEqual([...rightAnswers(asked, worldOf(), { from: now, to: now })], [answer]);
    });
  }

  test('while a change is made both answers are right, before and after it one', () => {
    const world = worldOf();
    const asked: Asked = { method: 'GET', area: 'orders', shown: { peer: 0, serial: 'a', endsAt: LATER } };
    const answersAt = (from: number, to = from): readonly string[] => [...rightAnswers(asked, world, { from, to })];
    const before = clockMs();
    const settle = world.peers[0]!.isRevoked.begin(true);
    assert.deepEqual(answersAt(before, clockMs()), ['allow 7', 'deny']);
    assert.equal(givesIdentity(world.peers[0]!, { from: clockMs(), to: clockMs() }), 'may');
    settle();
    const after = clockMs() + 1;
    assert.deepEqual(answersAt(after), ['deny']);
    assert.deepEqual(answersAt(before - 1), ['allow 7']);
    assert.equal(givesIdentity(world.peers[0]!, { from: after, to: after }), 'must_not');
    world.peers[0]!.isRevoked.begin(false)();
    world.first.begin({ generation: 8, members: [], limit: 0 })();
    assert.deepEqual(answersAt(clockMs() + 1), ['deny 8']);
  });
});

test('the slope is that of the middle of all pairs, whatever a few samples say', () => {
  const points = Array.from({ length: 20 }, (_, index) => ({ atMs: index * 60_000, value: 100 + index / 60 }));
  assert.ok(Math.abs(slopePerHour(points) - 1) < 1e-6);
  points[13] = { ...points[13]!, value: 900 };
  assert.ok(Math.abs(slopePerHour(points) - 1) < 0.2);
});

test('the same seed makes the same choices', () => {
  const some = (seed: number): readonly number[] => {
    const random = seededRandom(seed);
    return Array.from({ length: 5 }, () => random.below(1000));
  };
  assert.deepEqual(some(3), some(3));
  assert.notDeepEqual(some(3), some(4));
});

const LOG = { bytes: 0, lines: 0, counts: new Map<string, number>(), warnings: new Map() };

function vitalsOf(change: (minute: number) => Partial<Vitals>): readonly Vitals[] {
  const still = { residentMb: 200, heapMb: 40, descriptors: 60, threads: 20, logBytes: 0 };
  return Array.from({ length: 30 }, (_, minute) => ({ ...still, atMs: minute * 60_000, ...change(minute) }));
}

function findingsOf(wrong: boolean): Findings {
  const findings = new Findings();
  for (const kind of ['allow', 'deny', '400', '413']) findings.count(`answer ${kind}`);
  if (wrong) findings.wrongAnswer('allow instead of deny');
  return findings;
}

const verdicts = [
  { name: 'nothing is wrong', change: () => ({}), says: /^$/ },
  { name: 'one wrong answer', wrong: true, change: () => ({}), says: /^1 wrong answers allow instead of deny$/ },
  { name: 'a heap that grows', change: (m: number) => ({ heapMb: 40 + m }), says: /^the heap grows by 60.0 MB\/h$/ },
  {
    name: 'memory that grows',
    change: (m: number) => ({ residentMb: 200 + 5 * m }),
    says: /^resident .* 300.0 MB\/h$/,
  },
  {
    name: 'descriptors that grow',
    change: (m: number) => ({ descriptors: 60 + m }),
    says: /^descriptors grew from 60 to 75$/,
  },
  { name: 'threads that grow', change: (m: number) => ({ threads: 20 + m }), says: /^threads grew from 20 to 35$/ },
];

for (const { name, wrong = false, change, says } of verdicts) {
  test(`verdict: ${name}`, () => {
    const problems = problemsOf({ findings: findingsOf(wrong), vitals: vitalsOf(change), log: LOG });
    assert.match(problems.join(' '), says);
  });
}

test('verdict: a warning that nobody expects, and more lines than there is reason for', () => {
  const warnings = new Map([['policy lost', { count: 2, example: '{}' }]]);
  const log = { ...LOG, warnings, lines: 10_000 };
  const problems = problemsOf({ findings: findingsOf(false), vitals: vitalsOf(() => ({})), log });
  assert.match(problems.join(' '), /^2 warnings policy lost, such as \{\} 10000 lines of other things/);
});
