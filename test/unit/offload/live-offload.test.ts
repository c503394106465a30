import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noMetrics, silentLogger, SvidgateError, Watchable } from '../../../src/core/index.ts';
import {
  createLiveOffload,
  KnownPeers,
  type LiveOffload,
  type OffloadedPolicy,
  type PeerFacts,
  type PeerMatch,
  type TranslatedPolicy,
} from '../../../src/offload/index.ts';
import type { LiveSnapshots, PolicySnapshot } from '../../../src/policy/index.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';
import { exact, facts, peers, prefix, rule, translated } from './offload-fixtures.ts';

const WEB = parseSpiffeId('spiffe://td.test/web');
const API = parseSpiffeId('spiffe://td.test/api');
const anyone: PeerMatch = { kind: 'anyone', except: [] };

interface Stage extends Disposable {
  readonly offload: LiveOffload;
  readonly clock: TestClock;
  readonly snapshots: Watchable<LiveSnapshots>;
  readonly facts: Watchable<PeerFacts>;
  /** Digests that wait to be translated, in the order in which they were begun. */
  readonly begun: readonly string[];
  finish(digest: string, result: TranslatedPolicy | Error): Promise<void>;
}

const snapshot = (digest: string): PolicySnapshot => ({ files: { modules: {}, data: {} }, tests: {}, digest });
const made = (digest: string, ...ids: readonly string[]): TranslatedPolicy =>
  translated(
    ids.map((id) => rule(id, anyone)),
    { digest },
  );

function stage(policy: Partial<OffloadedPolicy> = {}, inForce: LiveSnapshots = {}): Stage {
  const clock = createTestClock();
  const snapshots = new Watchable(inForce);
  const present = new Watchable(facts());
  const begun: string[] = [];
  const jobs = new Map<string, PromiseWithResolvers<TranslatedPolicy>>();
  const offload = createLiveOffload({
    policies: [{ name: 'default', fastDeny: false, ...policy }],
    snapshots: () => snapshots,
    facts: present,
    mayHave: (name, ids) => name === 'default' && ids.includes(WEB),
    translate: (_, { digest }) => {
      begun.push(digest);
      const job = Promise.withResolvers<TranslatedPolicy>();
      jobs.set(digest, job);
      return job.promise;
    },
    clock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  offload.begin();
  return {
    offload,
    clock,
    snapshots,
    facts: present,
    begun,
    async finish(digest, result) {
      const job = jobs.get(digest);
      assert.ok(job, `${digest} was not begun`);
      if (result instanceof Error) job.reject(result);
      else job.resolve(result);
      await settled();
    },
    [Symbol.dispose]: () => offload[Symbol.dispose](),
  };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** What a caller is sent, one text for each time that it was told. */
function follow({ offload }: Stage, ids = [WEB]) {
  const seen: string[] = [];
  const followed = offload.follow({ policy: 'default', callerIds: ids }, () => seen.push(show()));
  const show = (): string => {
    const { set } = followed;
    return set === undefined ? 'none' : `${set.policyDigest}: ${set.allow.map(({ id }) => id).join(' ')}`;
  };
  seen.push(show());
  return { seen, followed };
}

test('a set is there when its policy was translated, and gone in the moment in which another is in force', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  const { seen } = follow(here);
  assert.equal(here.offload.report('default')?.state, 'translating');
  await settled();
  await here.finish('d1', made('d1', 'r1'));
  assert.deepEqual(seen, ['none', 'd1: r1']);
  assert.equal(here.offload.report('default')?.state, 'on');
  here.snapshots.set({ inForce: snapshot('d2') });
  assert.deepEqual(seen.slice(2), ['none'], 'before anything is decided by it');
  await settled();
  await here.finish('d2', made('d2', 'r2'));
  assert.deepEqual(seen.slice(3), ['d2: r2']);
  here.snapshots.set({});
  assert.deepEqual(seen.slice(4), ['none']);
});

test('a candidate is translated while it is tried, so that there is no gap, and counts for nothing before it is in force', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  await settled();
  await here.finish('d1', made('d1', 'r1'));
  const { seen } = follow(here);
  here.snapshots.set({ inForce: snapshot('d1'), candidate: snapshot('d2') });
  await settled();
  await here.finish('d2', made('d2', 'r2'));
  assert.deepEqual(seen, ['d1: r1']);
  here.snapshots.set({ inForce: snapshot('d2') });
  assert.deepEqual(seen, ['d1: r1', 'd2: r2']);
  assert.deepEqual(here.begun, ['d1', 'd2']);
});

test('a translation that comes too late is of no use, and one after the other is made', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  const { seen } = follow(here);
  await settled();
  here.snapshots.set({ inForce: snapshot('d2') });
  await settled();
  assert.deepEqual(here.begun, ['d1'], 'the compiler has one turn at a time');
  await here.finish('d1', made('d1', 'r1'));
  assert.deepEqual([seen, here.begun], [['none'], ['d1', 'd2']]);
  await here.finish('d2', made('d2', 'r2'));
  assert.deepEqual(seen, ['none', 'd2: r2']);
});

test('a policy that cannot be translated is left to the call, with the reason; what may pass is tried again', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  const { seen } = follow(here);
  await settled();
  await here.finish('d1', new SvidgateError('deadline_exceeded', 'it took too long'));
  const report = here.offload.report('default');
  assert.deepEqual([report?.state, seen], ['nothing', ['none']]);
  assert.match(report?.reason ?? '', /it took too long/);
  await here.clock.advance(10_000);
  assert.deepEqual(here.begun, ['d1', 'd1']);
  await here.finish('d1', new SvidgateError('policy_invalid', 'never'));
  await here.clock.advance(3_600_000);
  assert.deepEqual(here.begun, ['d1', 'd1'], 'a policy that is refused is refused again');
  assert.match(here.offload.report('default')?.reason ?? '', /never/);
});

test('a revocation is in the sets when it is told, and callers that are not concerned hear nothing', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  const caller = { kind: 'some_id', test: { kind: 'text', match: exact(API) } } as const;
  const rules = [rule('web', peers(exact(WEB))), rule('api', peers(exact(API)), { caller })];
  await settled();
  await here.finish('d1', translated(rules));
  const one = follow(here);
  const two = follow(here, [WEB, API]);
  here.facts.set(facts({ revokedIds: new Set([API]) }));
  assert.deepEqual([one.seen, two.seen], [['d1: web'], ['d1: web api', 'd1: web']]);
  here.facts.set(facts({ revokedIds: new Set([API]), revokedCallerIds: new Set([WEB]) }));
  assert.deepEqual([one.seen.at(-1), two.seen.at(-1)], ['none', 'none'], 'nobody asks in the name of a revoked one');
  here.facts.set(facts());
  assert.deepEqual([one.seen.at(-1), two.seen.at(-1)], ['d1: web', 'd1: web api']);
  one.followed[Symbol.dispose]();
  here.snapshots.set({});
  assert.deepEqual([one.seen.at(-1), two.seen.at(-1)], ['d1: web', 'none'], 'who has gone hears nothing');
});

test('an entry that comes or goes is in the sets when it is told; where it concerns nobody, nobody is asked', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  await settled();
  await here.finish(
    'd1',
    translated([rule('web', peers(exact(WEB))), rule('team', peers(prefix('spiffe://td.test/t/')))]),
  );
  const { seen, followed } = follow(here);
  const base = facts();
  const knows = (...ids: readonly string[]): void => here.facts.set({ ...base, known: new KnownPeers(() => ids) });
  knows(API);
  assert.deepEqual(seen.splice(0), ['d1: web team', 'd1: web'], 'nobody of the team is known');
  knows('spiffe://td.test/t/1', API);
  assert.deepEqual(seen.splice(0), ['d1: web team']);
  assert.deepEqual(followed.set?.allow[1]?.peer, peers(exact('spiffe://td.test/t/1')));
  knows('spiffe://td.test/t/1');
  assert.deepEqual([seen.splice(0), here.offload.notes()], [[], []]);
  knows(...Array.from({ length: 300 }, (_, index) => `spiffe://td.test/t/${index}`));
  assert.deepEqual(seen.splice(0), ['d1: web']);
  assert.match(here.offload.notes().join(), /^policy default: 1 of its rules match more registered SPIFFE IDs/);
  assert.equal(here.offload.report('default')?.withheld, 1);
});

test('a pattern that is too costly to look for is told as that', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  await settled();
  const costly = peers({ kind: 'regex', regex: 'spiffe://td[.]test/.*a.*b.*c' });
  await here.finish('d1', translated([rule('web', peers(exact(WEB))), rule('costly', costly)]));
  const ids = Array.from({ length: 300 }, (_, index) => `spiffe://td.test/t/${index}`);
  here.facts.set(facts({ known: new KnownPeers(() => ids) }));
  assert.match(here.offload.notes().join(), /^policy default: 1 of its rules match SPIFFE IDs by what is too costly/);
});

test('rules that cannot be restricted are a call, and hold up no revocation', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  await settled();
  await here.finish('d1', translated([rule('r', peers({ kind: 'regex', regex: 'spiffe://td\\.test/[' }))]));
  const { seen } = follow(here);
  here.facts.set(facts({ revokedIds: new Set([API]) }));
  assert.deepEqual(seen, ['d1: r', 'none']);
  assert.equal(here.offload.report('default')?.state, 'nothing');
});

test('equal sets are one object', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  await settled();
  await here.finish('d1', translated([rule('r', peers(prefix('spiffe://td.test/')))]));
  const [one, two] = [follow(here).followed, follow(here, [API, WEB]).followed];
  assert.ok(one.set);
  here.facts.set(facts({ revokedIds: new Set([API]) }));
  assert.equal(one.set, two.set);
  assert.deepEqual(one.set.allow[0]?.peer, { ...peers(prefix('spiffe://td.test/')), except: [exact(API)] });
});

test('who may not ask for a policy has nothing of it, and an obstacle leaves all of it to the call', async () => {
  using here = stage({ obstacle: 'a shadow is tried on it' }, { inForce: snapshot('d1') });
  await settled();
  assert.deepEqual(here.begun, []);
  const report = here.offload.report('default');
  assert.deepEqual([report?.state, report?.reason], ['nothing', 'a shadow is tried on it']);
  assert.equal(here.offload.report('other'), undefined);
  assert.equal(here.offload.follow({ policy: 'other', callerIds: [WEB] }, () => undefined).set, undefined);
  using open = stage({}, { inForce: snapshot('d1') });
  await settled();
  await open.finish('d1', made('d1', 'r1'));
  assert.deepEqual(follow(open, [API]).seen, ['none']);
});

test('a rule that two snapshots share is of the one in force when it was met, and of neither near the change', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  await settled();
  await here.finish('d1', made('d1', 'r1'));
  await here.clock.advance(60_000);
  const changedAt = here.clock.now();
  here.snapshots.set({ inForce: snapshot('d2') });
  await settled();
  await here.finish('d2', made('d2', 'r1'));
  await here.clock.advance(60_000);
  const digestAt = (at?: number): string | undefined => here.offload.originOf('r1', at)?.policyDigest;
  assert.deepEqual([digestAt(changedAt - 10_000), digestAt(changedAt + 10_000), digestAt()], ['d1', 'd2', 'd2']);
  assert.deepEqual([digestAt(changedAt - 100), digestAt(changedAt + 100)], [undefined, undefined]);
  assert.equal(here.offload.originOf('r1', changedAt)?.policy, 'default');
});

test('what a rule stands for is known for minutes after it has left', async () => {
  using here = stage({}, { inForce: snapshot('d1') });
  await settled();
  const first = made('d1', 'r1');
  const caller = { kind: 'some_id', test: { kind: 'text', match: { kind: 'exact', text: WEB } } } as const;
  await here.finish('d1', { ...first, rules: first.rules.map((rule) => ({ ...rule, caller })) });
  here.snapshots.set({ inForce: snapshot('d2') });
  await settled();
  await here.finish('d2', made('d2', 'r2'));
  const { isFor } = here.offload.originOf('r1') ?? {};
  assert.deepEqual([isFor?.([WEB]), isFor?.([API])], [true, false]);
  const known = (id: string): string | undefined => here.offload.originOf(id)?.policyDigest;
  assert.deepEqual([known('r1'), known('r2'), known('r3')], ['d1', 'd2', undefined]);
  await here.clock.advance(20 * 60_000);
  here.facts.set(facts());
  assert.deepEqual([known('r1'), known('r2')], [undefined, 'd2']);
});
