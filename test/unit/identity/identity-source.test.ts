import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SvidgateError, silentLogger, Watchable, type AuditEvent } from '../../../src/core/index.ts';
import {
  createIdentitySource,
  type CallerIdentity,
  type IdentitySource,
  type IdentitySourceOptions,
} from '../../../src/identity/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  parseTrustDomain,
  type ForeignBundles,
  type JwtSvid,
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
  readonly entries: Watchable<{ match: () => readonly RegistrationEntry[]; concerns: () => boolean }>;
  readonly bundle: Watchable<TrustBundle>;
  readonly issued: X509Svid[];
  readonly states: CallerIdentity[];
  readonly tokens: JwtSvid[];
  readonly foreignBundles: Watchable<ForeignBundles>;
  readonly tainted: Watchable<ReadonlySet<string>>;
  readonly audited: AuditEvent[];
  readonly source: IdentitySource;
  /** What was revoked: serials and SPIFFE IDs. */
  revoke(...what: readonly string[]): void;
  /** Id of the CA and of the JWT key that sign. */
  signer: string;
  failing: boolean;
  /** What each signature waits for. */
  signing: Promise<void>;
  stop(): Promise<void>;
}

function createIssuer(stage: () => Stage): IdentitySourceOptions['issuer'] {
  return {
    async issueX509Svid({ spiffeId }) {
      await stage().signing;
      const { clock, issued, failing, signer } = stage();
      if (failing) throw new SvidgateError('authority_failed', 'no');
      const svid: X509Svid = {
        spiffeId,
        certificateChain: [],
        privateKey: new Uint8Array(),
        serial: String(issued.length),
        authorityId: signer,
        notBefore: clock.now(),
        notAfter: clock.now() + 60 * MINUTE,
      };
      issued.push(svid);
      return svid;
    },
    async issueJwtSvid({ spiffeId, audience, includeJti }) {
      await stage().signing;
      const { clock, tokens, failing, signer } = stage();
      if (failing) throw new SvidgateError('authority_failed', 'no');
      const token = `${audience.join()}${includeJti === true ? ' with jti' : ''} ${tokens.length}`;
      const svid = { spiffeId, token, issuedAt: clock.now(), expiresAt: clock.now() + 4 * MINUTE, keyId: signer };
      tokens.push(svid);
      return svid;
    },
  };
}

/** A caller that watches; the issuer counts and can be told to fail. */
async function watchCaller(first: readonly RegistrationEntry[]): Promise<Stage> {
  const clock = createTestClock();
  const entries: Stage['entries'] = new Watchable<Stage['entries']['value']>({
    match: () => first,
    concerns: () => true,
  });
  const bundle = new Watchable<TrustBundle>({
    trustDomain: TRUST_DOMAIN,
    x509Authorities: [],
    jwtAuthorities: [
      { keyId: 'aa', publicKey: new Uint8Array() },
      { keyId: 'bb', publicKey: new Uint8Array() },
    ],
    sequence: 1,
  });
  const abort = new AbortController();
  const foreignBundles = new Watchable<ForeignBundles>(new Map());
  const tainted = new Watchable<ReadonlySet<string>>(new Set());
  const nothing: { hasSerial(serial: string): boolean; hasSpiffeId(id: string): boolean } = {
    hasSerial: () => false,
    hasSpiffeId: () => false,
  };
  const revocations = new Watchable(nothing);
  const tokens: JwtSvid[] = [];
  const audited: AuditEvent[] = [];
  const issuer = createIssuer(() => stage);
  const source = createIdentitySource({
    issuer,
    bundle,
    entries,
    foreignBundles,
    tainted,
    revocations,
    audit: { record: (event) => void audited.push(event) },
    clock,
    logger: silentLogger,
    random: () => 0.5,
  });
  const stage: Stage = {
    tokens,
    foreignBundles,
    tainted,
    audited,
    source,
    signer: 'aa',
    revoke: (...what) =>
      revocations.set({ hasSerial: (serial) => what.includes(serial), hasSpiffeId: (id) => what.includes(id) }),
    clock,
    entries,
    bundle,
    issued: [],
    states: [],
    failing: false,
    signing: Promise.resolve(),
    async stop() {
      abort.abort();
      await watching;
    },
  };
  const watching = (async () => {
    for await (const identity of source.watch(SELECTORS, abort.signal, { pid: 7 })) stage.states.push(identity);
  })();
  await clock.advance(0);
  return stage;
}

const ids = (identity: CallerIdentity | undefined): readonly string[] =>
  (identity?.svids ?? []).map(({ svid }) => svid.spiffeId);

test('a caller holds one SVID for each of its entries, in their order, with its hint', async () => {
  const stage = await watchCaller([entry('a', '/x'), entry('b', '/y'), { ...entry('c', '/x'), hint: 'third' }]);
  assert.deepEqual(ids(stage.states.at(-1)), [
    'spiffe://example.test/x',
    'spiffe://example.test/y',
    'spiffe://example.test/x',
  ]);
  assert.deepEqual(
    stage.states.at(-1)?.svids.map(({ entryId, hint }) => [entryId, hint]),
    [
      ['a', undefined],
      ['b', undefined],
      ['c', 'third'],
    ],
  );
  assert.equal(stage.states.length, 1);
  await stage.stop();
});

test('an SVID is rotated at half of its life, and the old one is replaced as a whole', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  await stage.clock.advance(29 * MINUTE);
  assert.equal(stage.issued.length, 1);
  await stage.clock.advance(2 * MINUTE);
  assert.equal(stage.issued.length, 2);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid, stage.issued[1]);
  await stage.stop();
  await stage.clock.advance(600 * MINUTE);
  assert.equal(stage.issued.length, 2, 'nothing is issued for a caller that is gone');
});

test('a rotation that fails keeps the old SVID until it expires, never longer, and recovers by itself', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.failing = true;
  await stage.clock.advance(59 * MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '0');
  await stage.clock.advance(2 * MINUTE);
  assert.deepEqual(stage.states.at(-1)?.svids, []);
  stage.failing = false;
  await stage.clock.advance(MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '1');
  await stage.stop();
});

test('entries that come and go change what the caller holds; other SVIDs stay as they are', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => [entry('a', '/x'), entry('b', '/y')], concerns: () => true });
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/x', 'spiffe://example.test/y']);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid, stage.issued[0]);
  stage.entries.set({ match: () => [], concerns: () => true });
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), []);
  await stage.stop();
});

test('what is deleted or revoked while an SVID is being signed is taken away without waiting, and never told of', async () => {
  const [x, y, z] = [entry('a', '/x'), entry('b', '/y'), entry('c', '/z')];
  const stage = await watchCaller([x, y]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  stage.entries.set({ match: () => [x, y, z], concerns: () => true });
  await stage.clock.advance(0);
  stage.entries.set({ match: () => [y, z], concerns: () => true });
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/y']);
  assert.deepEqual(stage.states.at(-1)?.pending, [{ spiffeId: z.spiffeId, isDefault: false }]);
  stage.revoke(y.spiffeId);
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), []);
  const before = stage.states.length;
  stage.entries.set({ match: () => [x], concerns: () => true });
  resolve();
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/x']);
  const since = stage.states.slice(before).flatMap(ids);
  assert.ok(!since.includes(z.spiffeId), 'its entry was deleted before it was signed');
  await stage.stop();
});

test('a JWT-SVID whose entry is deleted, or gives another ID, while it is being signed is not handed out', async () => {
  for (const later of [[], [{ ...entry('a', '/other') }]]) {
    const stage = await watchCaller([entry('a', '/x')]);
    const { promise, resolve } = Promise.withResolvers<void>();
    stage.signing = promise;
    const fetched = stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] });
    stage.entries.set({ match: () => later, concerns: () => true });
    resolve();
    await assert.rejects(fetched, { code: 'no_identity' });
    await stage.stop();
  }
});

test('a JWT-SVID for audiences of great length is not kept', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  for (const [length, signatures] of [
    [100, 1],
    [8192, 3],
  ] as const) {
    const audience = ['x'.repeat(length)];
    for (let call = 0; call < 2; call += 1) await stage.source.fetchJwtSvids(SELECTORS, { audience });
    assert.equal(stage.tokens.length, signatures);
  }
  await stage.stop();
});

test('an edit that changes nothing for the caller is not told; a new bundle is', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => [entry('a', '/x')], concerns: () => true });
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
    const svid = stage.states.at(-1)?.svids[0]?.svid;
    assert.ok(svid !== undefined && svid.notBefore <= stage.clock.now() && stage.clock.now() < svid.notAfter);
    assert.equal(stage.issued.length, 2);
    await stage.stop();
  }
});

test('a revoked serial is replaced at once, and is never shown again', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.revoke('0');
  await stage.clock.advance(0);
  assert.deepEqual(
    stage.states.map(({ svids }) => svids.map(({ svid }) => svid.serial)),
    [['0'], ['1']],
  );
  stage.failing = true;
  stage.revoke('1');
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.svids, [], 'without a replacement nothing is better than what was revoked');
  stage.failing = false;
  await stage.clock.advance(MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '2');
  await stage.stop();
});

test('a serial that is revoked while its rotation is under way is replaced by what comes of it, at once', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  await stage.clock.advance(30 * MINUTE);
  stage.revoke('0');
  await stage.clock.advance(0);
  resolve();
  await stage.clock.advance(0);
  assert.deepEqual(
    stage.states.map(({ svids }) => svids.map(({ svid }) => svid.serial)),
    [['0'], ['1']],
  );
  await stage.stop();
});

test('a serial that is revoked while a signature for a caller that has left is under way leaves no gap', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  await stage.clock.advance(30 * MINUTE);
  await stage.stop();
  const abort = new AbortController();
  const seen: string[][] = [];
  const watching = (async () => {
    for await (const { svids } of stage.source.watch(SELECTORS, abort.signal))
      seen.push(svids.map((s) => s.svid.serial));
  })();
  await stage.clock.advance(0);
  stage.revoke('0');
  resolve();
  await stage.clock.advance(MINUTE);
  abort.abort();
  await watching;
  assert.ok(seen.length > 0 && seen.every((serials) => serials.length === 1 && serials[0] !== '0'), String(seen));
});

test('a revoked SPIFFE ID gets nothing, X.509 or JWT, until it is undone', async () => {
  const stage = await watchCaller([entry('a', '/x'), entry('b', '/y')]);
  stage.revoke('spiffe://example.test/x');
  await stage.clock.advance(0);
  assert.deepEqual(ids(stage.states.at(-1)), ['spiffe://example.test/y']);
  const spiffeId = parseSpiffeId('spiffe://example.test/x');
  await assert.rejects(stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'], spiffeId }), { code: 'no_identity' });
  assert.equal((await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] })).length, 1);
  stage.revoke();
  await stage.clock.advance(0);
  assert.equal(ids(stage.states.at(-1)).length, 2);
  stage.revoke('spiffe://example.test/x', 'spiffe://example.test/y');
  assert.equal(stage.source.current(SELECTORS), undefined);
  await stage.stop();
});

test('what a tainted CA signed is replaced within a minute, not at once; JWT-SVIDs of a tainted key are not handed out', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const [first] = await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] });
  stage.signer = 'bb';
  stage.tainted.set(new Set(['aa']));
  await stage.clock.advance(0);
  assert.equal(stage.issued.length, 1);
  await stage.clock.advance(MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.authorityId, 'bb');
  const [second] = await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] });
  assert.deepEqual([first?.svid.keyId, second?.svid.keyId], ['aa', 'bb']);
  await stage.stop();
});

test('foreign bundles reach the holders of entries that federate with their domains, and nobody else', async () => {
  const partner = parseTrustDomain('partner.test');
  const other = parseTrustDomain('other.test');
  const bundleOf = (trustDomain: typeof partner): TrustBundle => ({
    trustDomain,
    x509Authorities: [],
    jwtAuthorities: [],
    sequence: 1,
  });
  const stage = await watchCaller([{ ...entry('a', '/x'), federatesWith: [partner] }, entry('b', '/y')]);
  stage.foreignBundles.set(new Map([[other, bundleOf(other)]]));
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 1, 'a domain it does not federate with is no news');
  const theirs = bundleOf(partner);
  stage.foreignBundles.set(new Map([...stage.foreignBundles.value, [partner, theirs]]));
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.foreignBundles, [theirs]);
  assert.deepEqual(stage.source.current(SELECTORS)?.foreignBundles, [theirs]);
  stage.foreignBundles.set(new Map());
  await stage.clock.advance(0);
  assert.deepEqual(stage.states.at(-1)?.foreignBundles, []);
  await stage.stop();
});

test('a JWT-SVID is given again until half of its life is over; one with a jti never', async () => {
  const stage = await watchCaller([entry('a', '/x'), { ...entry('b', '/y'), jwtSvidIncludeJti: true, hint: 'b' }]);
  const fetch = async (): Promise<readonly string[]> =>
    (await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] })).map(({ svid }) => svid.token);
  const [one, two] = await Promise.all([fetch(), fetch()]);
  assert.equal(one[0], two[0], 'asked for twice at once, it is signed once');
  assert.notEqual(one[1], two[1]);
  await stage.clock.advance(MINUTE);
  assert.equal((await fetch())[0], one[0]);
  await stage.clock.advance(MINUTE);
  assert.notEqual((await fetch())[0], one[0]);
  const [, withHint] = await stage.source.fetchJwtSvids(SELECTORS, { audience: ['y', 'z'] });
  assert.equal(withHint?.hint, 'b');
  await stage.stop();
});

test('each issuance is recorded with its caller, and rotations as such; what cannot be recorded is not given', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  await stage.clock.advance(31 * MINUTE);
  await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'], caller: { pid: 8 } });
  const told = stage.audited.map((event) =>
    event.event === 'svid_issued'
      ? [event.svid_type, event.rotation, event.result, event.caller?.pid, event.entry_id, event.ttl_seconds]
      : [],
  );
  assert.deepEqual(told, [
    ['x509', false, 'success', 7, 'a', 3600],
    ['x509', true, 'success', 7, 'a', 3600],
    ['jwt', false, 'success', 8, 'a', 240],
  ]);
  stage.audited.push = () => {
    throw new SvidgateError('audit_failed', 'disk full');
  };
  await assert.rejects(stage.source.fetchJwtSvids(SELECTORS, { audience: ['new'] }), { code: 'audit_failed' });
  await stage.clock.advance(31 * MINUTE);
  assert.equal(stage.states.at(-1)?.svids[0]?.svid.serial, '1', 'the new one is not shown');
  await stage.stop();
});

test('a change of entries that does not concern the caller is not looked into', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  stage.entries.set({ match: () => assert.fail('asked'), concerns: () => false });
  await stage.clock.advance(0);
  assert.equal(stage.states.length, 1);
  await stage.stop();
});
