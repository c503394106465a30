import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalizeNames, resolveNames, showNames } from '../../../../src/endpoints/sds/resource-names.ts';
import { parseSpiffeId, type TrustBundle, type X509Svid } from '../../../../src/spiffe/index.ts';
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
const registered = { svids: [svid(A), svid(B)], bundle };
const unregistered = { svids: [], bundle };

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
    assert.deepEqual(resolveNames(normalizeNames(asked), unregistered, ALIASES), { secrets: [], unknown: asked });
  });
}

test('`default` is the SVID of the first entry', () => {
  const [secret] = resolveNames(new Set(['default']), registered, ALIASES).secrets;
  assert.ok(secret?.kind === 'svid' && secret.svid.spiffeId === A);
});

test('too many or too long names are refused, and a message shows only a few, cut', () => {
  assert.throws(() => normalizeNames(Array.from({ length: 1001 }, String)), { code: 'invalid_request' });
  assert.throws(() => normalizeNames(['x'.repeat(2301)]), { code: 'invalid_request' });
  const shown = showNames(Array.from({ length: 900 }, () => '"'.repeat(2000)));
  assert.ok(shown.length < 1500);
  assert.match(shown, / and 895 more$/);
});
