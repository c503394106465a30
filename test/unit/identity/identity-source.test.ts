import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SvidgateError, silentLogger, Watchable } from '../../../src/core/index.ts';
import { createIdentitySource, type CallerIdentity } from '../../../src/identity/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  type RegistrationEntry,
  type Selector,
  type TrustBundle,
  type X509Svid,
} from '../../../src/spiffe/index.ts';
import { TRUST_DOMAIN } from '../../support/svid-fixtures.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';

const SELECTORS: ReadonlySet<Selector> = new Set([parseSelector('unix:uid:1')]);
const MINUTE = 60_000;

function entry(entryId: string, path: string): RegistrationEntry {
  return { entryId, spiffeId: parseSpiffeId(`spiffe://example.test${path}`), selectors: [...SELECTORS] };
}

interface Stage {
  readonly clock: TestClock;
  readonly entries: Watchable<{ match: () => readonly RegistrationEntry[] }>;
  readonly bundle: Watchable<TrustBundle>;
  readonly issued: X509Svid[];
  readonly states: CallerIdentity[];
  failing: boolean;
  stop(): Promise<void>;
}

/** A caller that watches; the issuer counts and can be told to fail. */
async function watchCaller(first: readonly RegistrationEntry[]): Promise<Stage> {
  const clock = createTestClock();
  const entries = new Watchable({ match: () => first });
  const bundle = new Watchable<TrustBundle>({ trustDomain: TRUST_DOMAIN, x509Authorities: [], jwtAuthorities: [], sequence: 1 });
  const abort = new AbortController();
  const stage: Stage = {
    clock,
    entries,
    bundle,
    issued: [],
    states: [],
    failing: false,
    async stop() {
      abort.abort();
      await watching;
    },
  };
  const source = createIdentitySource({
    issuer: {
      issueX509Svid({ spiffeId }) {
        if (stage.failing) return Promise.reject(new SvidgateError('authority_failed', 'no'));
        const svid: X509Svid = {
          spiffeId,
          certificateChain: [],
          privateKey: new Uint8Array(),
          serial: String(stage.issued.length),
          authorityId: 'aa',
          notBefore: clock.now(),
          notAfter: clock.now() + 60 * MINUTE,
        };
        stage.issued.push(svid);
        return Promise.resolve(svid);
      },
    },
    bundle,
    entries,
    clock,
    logger: silentLogger,
    random: () => 0.5,
  });
  const watching = (async () => {
    for await (const identity of source.watch(SELECTORS, abort.signal)) stage.states.push(identity);
  })();
  await clock.advance(0);
  return stage;
}

const ids = (identity: CallerIdentity | undefined): readonly string[] =>
  (identity?.svids ?? []).map(({ spiffeId }) => spiffeId);

test('a caller holds one SVID for each SPIFFE ID of its entries, in the order of the entries', async () => {
  const stage = await watchCaller([entry('a', '/x'), entry('b', '/y'), entry('c', '/x')]);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/x', 'spiffe://example.test/y']);
  assert.equal(stage.states.length, 1);
  await stage.stop();
});

test('an SVID is rotated at half of its life, and the old one is replaced as a whole', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  await stage.clock.advance(29 * MINUTE);
  assert.equal(stage.issued.length, 1);
  await stage.clock.advance(2 * MINUTE);
  assert.equal(stage.issued.length, 2);
  assert.equal(stage.states.at(-1)?.svids[0], stage.issued[1]);
  await stage.stop();
  await stage.clock.advance(600 * MINUTE);
  assert.equal(stage.issued.length, 2, 'nothing is issued for a caller that is gone');
});

test('a rotation that fails keeps the old SVID until it expires, never longer, and recovers by itself', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.failing = true;
  await stage.clock.advance(59 * MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.serial, '0');
  await stage.clock.advance(2 * MINUTE);
  assert.deepEqual(stage.states.at(-1)?.svids, []);
  stage.failing = false;
  await stage.clock.advance(MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.serial, '1');
  await stage.stop();
});

test('entries that come and go change what the caller holds; other SVIDs stay as they are', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => [entry('a', '/x'), entry('b', '/y')] });
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/x', 'spiffe://example.test/y']);
  assert.equal(stage.states.at(-1)?.svids[0], stage.issued[0]);
  stage.entries.set({ match: () => [] });
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), []);
  await stage.stop();
});

test('an edit that changes nothing for the caller is not told; a new bundle is', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => [entry('a', '/x')] });
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 1);
  stage.bundle.set({ ...stage.bundle.value, sequence: 2 });
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 2);
  assert.equal(stage.issued.length, 1);
  await stage.stop();
});

test('after a clock was set, ahead or back, the SVID is replaced within a minute', async () => {
  for (const jump of [3 * 60 * MINUTE, -3 * 60 * MINUTE]) {
    const stage = await watchCaller([entry('e', '/a')]);
    stage.clock.set(stage.clock.now() + jump);
    await stage.clock.advance(MINUTE);
    const svid = stage.states.at(-1)?.svids[0];
    assert.ok(svid !== undefined && svid.notBefore <= stage.clock.now() && stage.clock.now() < svid.notAfter);
    assert.equal(stage.issued.length, 2);
    await stage.stop();
  }
});
