import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Watchable } from '../../../src/core/index.ts';
import { followPeerFacts } from '../../../src/offload/index.ts';
import { generateKeyPair } from '../../../src/pki/index.ts';
import {
  parseSpiffeId,
  type ForeignBundles,
  type Revocation,
  type RevocationTarget,
  type SpiffeId,
  type TrustBundle,
  type TrustDomain,
} from '../../../src/spiffe/index.ts';
import { createRootCertificate } from '../../support/certificates.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';
import { FOREIGN, OWN } from './offload-fixtures.ts';

const HOUR = 3600_000;
const WEB = parseSpiffeId('spiffe://td.test/web');
const API = parseSpiffeId('spiffe://td.test/api');

const times = createTestClock();
const root = async (lifeMs: number): Promise<Uint8Array> => {
  const keyPair = generateKeyPair();
  const validity = { notBefore: times.now() - 10_000, notAfter: times.now() + lifeMs };
  return (await createRootCertificate({ ...validity, uri: 'spiffe://td.test', organization: 'Test', keyPair }))
    .certificate;
};
const [first, second, short] = [await root(100 * HOUR), await root(100 * HOUR), await root(HOUR)];

const bundleOf = (trustDomain: TrustDomain, ...x509Authorities: readonly Uint8Array[]): TrustBundle => ({
  trustDomain,
  x509Authorities,
  jwtAuthorities: [],
  sequence: 1,
});
const revoked = (target: RevocationTarget): Revocation => ({ id: 'r', target, reason: 'unspecified', revokedAt: 0 });

interface StageOptions {
  readonly shaken?: readonly TrustDomain[];
  /** Where peers have to have one. */
  readonly entries?: Watchable<Entries>;
}

interface Entries {
  readonly entries: readonly { readonly spiffeId: SpiffeId }[];
  hasSpiffeId(id: SpiffeId): boolean;
}

function stage({ shaken, entries }: StageOptions = {}) {
  const clock: TestClock = createTestClock();
  const bundle = new Watchable(bundleOf(OWN, first));
  const foreignBundles = new Watchable<ForeignBundles>(new Map([[FOREIGN, bundleOf(FOREIGN, first)]]));
  const revocations = new Watchable<{ readonly all: readonly Revocation[] }>({ all: [] });
  const known = new Watchable({ entries: [{ spiffeId: WEB }] });
  const source = followPeerFacts({
    bundle,
    foreignBundles,
    revocations,
    known: entries ?? known,
    entries,
    clock,
    ...(shaken === undefined ? {} : { shaken }),
  });
  const domains = (): readonly string[] => [...source.facts.value.trustDomains].toSorted();
  return {
    clock,
    bundle,
    foreignBundles,
    revocations,
    known,
    source,
    domains,
    [Symbol.dispose]: () => source[Symbol.dispose](),
  };
}

test('whoever has a revoked serial is left to the call with all it has, and acts in its own name all the same', () => {
  using here = stage();
  here.revocations.set({
    all: [
      revoked({ kind: 'spiffe_id', spiffeId: WEB }),
      revoked({ kind: 'serial', serial: '1', spiffeId: API, holderEnded: true }),
    ],
  });
  const { revokedIds, revokedCallerIds, obstacle } = here.source.facts.value;
  assert.deepEqual([[...revokedIds], [...revokedCallerIds], obstacle], [[WEB, API], [WEB], undefined]);
});

test('a revoked serial whose holder nobody knows leaves everything to the call until it is undone', () => {
  using here = stage();
  here.revocations.set({ all: [revoked({ kind: 'serial', serial: '1' })] });
  assert.match(here.source.facts.value.obstacle ?? '', /revoked serials/);
  here.revocations.set({ all: [] });
  assert.equal(here.source.facts.value.obstacle, undefined);
});

test('trust domains count while they have a bundle with roots', () => {
  using here = stage();
  assert.deepEqual(here.domains(), ['other.test', 'td.test']);
  here.foreignBundles.set(new Map());
  assert.deepEqual(here.domains(), ['td.test']);
  using empty = stage();
  empty.bundle.set(bundleOf(OWN));
  assert.deepEqual(empty.domains(), ['other.test']);
});

test('a trust domain that loses a root before its end is out for a day: what it signed may still be connected', async () => {
  using here = stage();
  here.bundle.set(bundleOf(OWN, first, second));
  assert.deepEqual(here.domains(), ['other.test', 'td.test'], 'a new root is nothing bad');
  here.bundle.set(bundleOf(OWN, second));
  assert.deepEqual(here.domains(), ['other.test']);
  assert.match(here.source.notes().join(), /^td\.test lost a root/);
  here.bundle.set(bundleOf(OWN, first, second));
  assert.deepEqual(here.domains(), ['other.test'], 'also when it is back');
  await here.clock.advance(23 * HOUR);
  assert.deepEqual(here.domains(), ['other.test']);
  await here.clock.advance(HOUR);
  assert.deepEqual([here.domains(), here.source.notes()], [['other.test', 'td.test'], []]);
});

test('entries are looked at where they are asked for, and what they do not change is the same', () => {
  using here = stage();
  const { facts } = here.source;
  const [known, before] = [facts.value.known, facts.value];
  const prefix = { kind: 'prefix', text: 'spiffe://td.test/' } as const;
  assert.deepEqual(known?.matching(prefix, 10), [{ kind: 'exact', text: WEB }]);
  here.revocations.set({ all: [revoked({ kind: 'spiffe_id', spiffeId: WEB })] });
  assert.equal(facts.value.known, known, 'a revocation does not read them again');
  const { revokedIds, trustDomains } = facts.value;
  here.known.set({ entries: [{ spiffeId: WEB }, { spiffeId: API }] });
  assert.equal(facts.value.revokedIds, revokedIds);
  assert.equal(facts.value.trustDomains, trustDomains);
  assert.equal(facts.value.known?.matching(prefix, 10).length, 2);
  assert.equal(facts.value.known.matching(prefix, 1), 'too_many');
  assert.equal(before.known, known);
});

test('entries are read again at most twice a second, whoever is revoked goes at once', async () => {
  using here = stage();
  const { facts } = here.source;
  let news = 0;
  facts.subscribe(() => (news += 1));
  const ids = (...paths: readonly string[]) => ({
    entries: paths.map((path) => ({ spiffeId: parseSpiffeId(`spiffe://td.test/${path}`) })),
  });
  const count = (): number | undefined => facts.value.known?.matching({ kind: 'prefix', text: 'spiffe://' }, 10).length;
  here.known.set(ids('1', '2'));
  assert.deepEqual([news, count()], [1, 2], 'the first change at once');
  here.known.set(ids('1', '2', '3'));
  here.known.set(ids('1', '2', '3', '4'));
  here.revocations.set({ all: [revoked({ kind: 'spiffe_id', spiffeId: WEB })] });
  assert.deepEqual([news, count(), facts.value.revokedIds.has(WEB)], [2, 2, true]);
  await here.clock.advance(499);
  assert.equal(news, 2);
  await here.clock.advance(1);
  assert.deepEqual([news, count()], [3, 4], 'the others together');
  here.known.set(ids());
  assert.equal(count(), 4);
  await here.clock.advance(500);
  assert.deepEqual([news, count()], [4, 0]);
  await here.clock.advance(500);
  assert.deepEqual([news, here.clock.sleeping], [4, 0], 'and then nothing');
  here.known.set(ids('1'));
  here.known.set(ids('1', '2'));
  assert.equal(here.clock.sleeping, 1);
  here.source[Symbol.dispose]();
  await here.clock.advance(1000);
  assert.deepEqual([news, here.clock.sleeping], [5, 0]);
});

test('who has to have an entry and has lost it goes at once', () => {
  const entries = new Watchable<Entries>({ entries: [{ spiffeId: WEB }], hasSpiffeId: (id) => id === WEB });
  using here = stage({ entries });
  const has = (): boolean | undefined => here.source.facts.value.registered?.has(WEB);
  const before = here.source.facts.value;
  entries.set({ entries: [], hasSpiffeId: () => false });
  assert.equal(has(), false);
  assert.notEqual(here.source.facts.value.registered, before.registered, 'and is told');
});

test('a root that cannot be read is one like any other', () => {
  using here = stage();
  const odd = bundleOf(FOREIGN, new Uint8Array([1, 2, 3]));
  here.foreignBundles.set(new Map([[FOREIGN, { ...odd, x509Authorities: [...odd.x509Authorities, first] }]]));
  assert.deepEqual(here.domains(), ['other.test', 'td.test']);
  here.foreignBundles.set(new Map([[FOREIGN, bundleOf(FOREIGN, first)]]));
  assert.deepEqual(here.domains(), ['td.test']);
});

test('a root that has ended may go', async () => {
  using here = stage();
  here.bundle.set(bundleOf(OWN, first, short));
  await here.clock.advance(2 * HOUR);
  here.bundle.set(bundleOf(OWN, first));
  assert.deepEqual(here.domains(), ['other.test', 'td.test']);
});

test('what was taken out before the start is out for a day, too', async () => {
  using here = stage({ shaken: [OWN] });
  assert.deepEqual(here.domains(), ['other.test']);
  await here.clock.advance(24 * HOUR);
  assert.deepEqual(here.domains(), ['other.test', 'td.test']);
});
