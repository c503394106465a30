import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HeldSvid } from '../../../../src/identity/index.ts';
import { normalizeNames, resolveNames, showNames } from '../../../../src/endpoints/sds/resource-names.ts';
import { parseSpiffeId, parseTrustDomain, type TrustBundle, type X509Svid } from '../../../../src/spiffe/index.ts';
import { TRUST_DOMAIN } from '../../../support/svid-fixtures.ts';

const ALIASES = { defaultSvidName: 'default', defaultBundleName: 'ROOTCA', defaultAllBundlesName: 'ALL' };
const DOMAIN = 'spiffe://example.test';
const A = 'spiffe://example.test/a';
const B = 'spiffe://example.test/b';

const bundle: TrustBundle = { trustDomain: TRUST_DOMAIN, x509Authorities: [], jwtAuthorities: [], sequence: 1 };
const svid = (id: string): X509Svid => ({
  spiffeId: parseSpiffeId(id),
  certificateChain: [],
  privateKey: new Uint8Array(),
  serial: '1',
  authorityId: 'aa',
  notBefore: 0,
  notAfter: 1,
});
const held = (entryId: string, id: string): HeldSvid => ({ entryId, svid: svid(id) });
const partner = (name: string, roots: number): TrustBundle => ({
  trustDomain: parseTrustDomain(name),
  x509Authorities: Array.from({ length: roots }, () => new Uint8Array(1)),
  jwtAuthorities: [],
  sequence: 1,
});
const registered = { svids: [held('1', A), held('2', B)], pending: [], bundle, foreignBundles: [] };
const unregistered = { svids: [], pending: [], bundle, foreignBundles: [] };

const cases = [
  { asked: [], known: [DOMAIN, A, B], unknown: [] },
  { asked: [''], known: [DOMAIN, A, B], unknown: [] },
  { asked: ['default'], known: ['default'], unknown: [] },
  { asked: ['', 'default'], known: ['default'], unknown: [] },
  { asked: ['default', 'ROOTCA'], known: ['ROOTCA', 'default'], unknown: [] },
  { asked: [A, 'default'], known: ['default', A], unknown: [] },
  { asked: [DOMAIN, 'ROOTCA', 'ALL'], known: [DOMAIN, 'ROOTCA', 'ALL'], unknown: [] },
  { asked: [B, A, B], known: [A, B], unknown: [] },
  { asked: ['spiffe://other.test', A, 'x'], known: [A], unknown: ['spiffe://other.test', 'x'] },
  { asked: ['__proto__', 'constructor'], known: [], unknown: ['__proto__', 'constructor'] },
];

for (const { asked, known, unknown } of cases) {
  test(`a registered caller that asks for ${JSON.stringify(asked)} gets ${JSON.stringify(known)}`, () => {
    const resolved = resolveNames(normalizeNames(asked), registered, ALIASES);
    assert.deepEqual(
      resolved.secrets.map(({ name }) => name),
      known,
    );
    assert.deepEqual(resolved.unknown, unknown);
  });
}

for (const asked of [[], ['default'], ['ROOTCA'], ['ALL'], [DOMAIN], [A]]) {
  test(`an unregistered caller that asks for ${JSON.stringify(asked)} gets nothing, the own bundle neither`, () => {
    assert.deepEqual(resolveNames(normalizeNames(asked), unregistered, ALIASES), {
      secrets: [],
      unknown: asked,
      isPending: false,
    });
  });
}

test('bundles stand before SVIDs, foreign ones after the own; one without a root has no name, and of a SPIFFE ID given twice the first counts', () => {
  const identity = {
    svids: [held('1', A), held('2', A)],
    pending: [],
    bundle,
    foreignBundles: [partner('empty.test', 0), partner('partner.test', 1)],
  };
  const { secrets } = resolveNames(new Set(), identity, ALIASES);
  assert.deepEqual(
    secrets.map(({ name }) => name),
    [DOMAIN, 'spiffe://partner.test', A],
  );
  assert.equal(secrets[2]?.kind === 'svid' ? secrets[2].svid : undefined, identity.svids[0]?.svid);
  const [all] = resolveNames(new Set(['ALL']), identity, ALIASES).secrets;
  assert.equal(all?.kind === 'all-bundles' ? all.bundles.length : 0, 3);
  assert.deepEqual(resolveNames(new Set(['spiffe://empty.test']), identity, ALIASES).unknown, ['spiffe://empty.test']);
});

test('`default` is the SVID of the first entry', () => {
  const [secret] = resolveNames(new Set(['default']), registered, ALIASES).secrets;
  assert.ok(secret?.kind === 'svid' && secret.svid.spiffeId === A);
});

const waiting = {
  svids: [held('2', B)],
  pending: [{ spiffeId: parseSpiffeId(A), isDefault: true }],
  bundle,
  foreignBundles: [],
};
const pendingCases = [
  { asked: [], known: [DOMAIN, B], unknown: [], isPending: true },
  { asked: ['default'], known: [], unknown: [], isPending: true },
  { asked: [A, B], known: [B], unknown: [], isPending: true },
  { asked: [B, 'ROOTCA'], known: ['ROOTCA', B], unknown: [], isPending: false },
  { asked: [A, 'x'], known: [], unknown: ['x'], isPending: true },
];

for (const { asked, known, ...expected } of pendingCases) {
  test(`while the SVID of the first entry is to come, ${JSON.stringify(asked)} stands for ${JSON.stringify(known)}`, () => {
    const { secrets, ...others } = resolveNames(normalizeNames(asked), waiting, ALIASES);
    assert.deepEqual(
      secrets.map(({ name }) => name),
      known,
    );
    assert.deepEqual(others, expected);
  });
}

test('while no SVID of a registered caller can be issued, it is given the bundles', () => {
  const { secrets, isPending } = resolveNames(new Set(['ROOTCA']), { ...waiting, svids: [] }, ALIASES);
  assert.deepEqual([secrets.length, isPending], [1, false]);
});

test('too many or too long names are refused, and a message shows only a few, cut', () => {
  assert.throws(() => normalizeNames(Array.from({ length: 1001 }, String)), { code: 'invalid_request' });
  assert.throws(() => normalizeNames(['x'.repeat(2301)]), { code: 'invalid_request' });
  const long = (length: number): string[] => Array.from({ length }, (_, index) => `${index}`.padStart(2048, '0'));
  assert.equal(normalizeNames(long(128)).size, 128);
  assert.throws(() => normalizeNames(long(129)), { code: 'invalid_request', message: /262144 characters together/ });
  const shown = showNames(Array.from({ length: 900 }, () => '"'.repeat(2000)));
  assert.ok(shown.length < 1500);
  assert.match(shown, / and 895 more$/);
});
