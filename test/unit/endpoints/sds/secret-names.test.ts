import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseSecretName, type SecretName } from '../../../../src/endpoints/sds/secret-names.ts';
import { parseSpiffeId, parseTrustDomain } from '../../../../src/spiffe/index.ts';

const ALIASES = { defaultSvidName: 'default', defaultBundleName: 'ROOTCA', defaultAllBundlesName: 'ALL' };
const A = parseSpiffeId('spiffe://example.test/a');
const trustDomain = parseTrustDomain('example.test');
const LONG = 'a'.repeat(64);

const meanings: readonly (readonly [string, SecretName])[] = [
  ['default', { kind: 'default_svid' }],
  ['ROOTCA', { kind: 'own_bundle' }],
  ['ALL', { kind: 'all_bundles' }],
  ['spiffe://example.test/a', { kind: 'svid', spiffeId: A }],
  ['spiffe://example.test', { kind: 'bundle', trustDomain }],
  ['ROOTCA?peers=callers', { kind: 'own_bundle', peers: 'callers' }],
  ['ALL?peers=a.b-c_D9', { kind: 'all_bundles', peers: 'a.b-c_D9' }],
  ['spiffe://example.test?peers=x', { kind: 'bundle', trustDomain, peers: 'x' }],
  [`ROOTCA?peers=${LONG}`, { kind: 'own_bundle', peers: LONG }],
  ['hint:web', { kind: 'hint', hint: 'web' }],
  ['hint:ünder ?peers=x&%20', { kind: 'hint', hint: 'ünder ?peers=x&%20' }],
  ['token', { kind: 'stored', name: 'token' }],
  ['partner/ca?peers=x', { kind: 'stored', name: 'partner/ca', peers: 'x' }],
  ['file-cert:/etc/c.pem~/etc/k.pem', { kind: 'stored', name: 'file-cert:/etc/c.pem~/etc/k.pem' }],
  ['file-root:/etc/ca.pem', { kind: 'stored', name: 'file-root:/etc/ca.pem' }],
  ['file-root:/etc/ca.pem?peers=x', { kind: 'stored', name: 'file-root:/etc/ca.pem', peers: 'x' }],
  ['__proto__', { kind: 'stored', name: '__proto__' }],
  ['jwt:spiffe://example.test/a?aud=api', { kind: 'jwt_svid', spiffeId: A, audience: ['api'], prefix: '' }],
  [
    'jwt:spiffe://example.test/a?aud=https://api.test/x%26y&prefix=Bearer%20&aud=b',
    { kind: 'jwt_svid', spiffeId: A, audience: ['https://api.test/x&y', 'b'], prefix: 'Bearer ' },
  ],
  ['jwt:default?aud=%C3%BC%2B', { kind: 'jwt_svid', audience: ['ü+'], prefix: '' }],
  ['jwt:default?aud=a=b&prefix=', { kind: 'jwt_svid', audience: ['a=b'], prefix: '' }],
];

for (const [text, meaning] of meanings) {
  test(`${text} means ${JSON.stringify(meaning)}`, () => assert.deepEqual(parseSecretName(text, ALIASES), meaning));
}

const meaningless = [
  '',
  '?peers=x',
  'default?peers=x',
  'default?',
  'ROOTCA?',
  'ROOTCA?peers=',
  'ROOTCA?peers=a,b',
  'ROOTCA?peers=a&peers=b',
  'ROOTCA?peers=a&x=1',
  'ROOTCA?x=1&peers=a',
  'ROOTCA?Peers=a',
  'ROOTCA?peers=%61',
  'ROOTCA?peers=a?peers=b',
  'ROOTCA?peers=-a',
  'ROOTCA?peers=a\n',
  `ROOTCA?peers=${LONG}a`,
  'spiffe://example.test/a?peers=x',
  'spiffe://example.test/',
  'spiffe://EXAMPLE.test',
  'spiffe://example.test/?peers=x',
  'file-root:/etc/ca.pem?',
  'token?x=1',
  'hint:',
  'hint:a\u0000b',
  `hint:${'a'.repeat(1025)}`,
  'jwt:',
  'jwt:default',
  'jwt:default?',
  'jwt:default?aud',
  'jwt:default?aud=',
  'jwt:default?aud=a&',
  'jwt:default?aud=a&aud=',
  'jwt:default?aud=a&x=b',
  'jwt:default?audience=a',
  'jwt:default?prefix=Bearer%20',
  'jwt:default?aud=a&prefix=a&prefix=b',
  'jwt:default?aud=a&prefix=%0A',
  'jwt:default?aud=a&prefix=%C3%BC',
  `jwt:default?aud=a&prefix=${'a'.repeat(65)}`,
  'jwt:default?aud=%',
  'jwt:default?aud=%4',
  'jwt:default?aud=%zz',
  'jwt:default?aud=%C3',
  'jwt:default?aud=%ED%A0%80',
  'jwt:default?aud=a b',
  'jwt:default?aud=a+b',
  'jwt:default?aud=ü',
  'jwt:default?aud=a#b',
  `jwt:default?aud=${'a'.repeat(2049)}`,
  `jwt:default?${Array.from({ length: 101 }, () => 'aud=a').join('&')}`,
  'jwt:other?aud=a',
  'jwt:ROOTCA?aud=a',
  'jwt:spiffe://example.test?aud=a',
  'jwt:spiffe://example.test/a/?aud=a',
  'jwt:spiffe://example.test/a',
];

for (const text of meaningless) {
  test(`${JSON.stringify(text.slice(0, 80))} means nothing`, () =>
    assert.deepEqual(parseSecretName(text, ALIASES), { kind: 'unknown' }));
}

test('an alias means what it stands for, whatever it looks like', () => {
  const odd = { defaultSvidName: 'jwt:a?aud=b', defaultBundleName: 'hint:x', defaultAllBundlesName: 'ROOTCA' };
  assert.deepEqual(parseSecretName('jwt:a?aud=b', odd), { kind: 'default_svid' });
  assert.deepEqual(parseSecretName('hint:x', odd), { kind: 'own_bundle' });
  assert.deepEqual(parseSecretName('ROOTCA?peers=l', odd), { kind: 'all_bundles', peers: 'l' });
  assert.deepEqual(parseSecretName('jwt:jwt:a?aud=b?aud=c', odd), { kind: 'jwt_svid', audience: ['c'], prefix: '' });
  assert.deepEqual(parseSecretName('null', odd), { kind: 'stored', name: 'null' });
});

const pieces = fc.constantFrom(
  'default', 'ROOTCA', 'ALL', 'spiffe://', 'example.test', '/a', '?', '&', '=', 'peers', 'aud', 'prefix', 'jwt:', 'hint:',
  'file-root:', '%', '%20', '%C3', 'Bearer', '\u0000', '\ud800',
); // prettier-ignore

test('no text makes it throw', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(pieces).map((parts) => parts.join('')),
      ),
      (text) => {
        assert.equal(typeof parseSecretName(text, ALIASES).kind, 'string');
      },
    ),
    { numRuns: 2000 },
  );
});

const segment = fc.stringMatching(/^[A-Za-z0-9_-]{1,8}$/);
const idArbitrary = segment.map((path) => parseSpiffeId(`spiffe://example.test/${path}`));
const peersArbitrary = fc.option(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/), { nil: undefined });
const withPeers = (name: SecretName, peers: string | undefined): SecretName =>
  peers === undefined ? name : ({ ...name, peers } as SecretName);
const nameArbitrary: fc.Arbitrary<SecretName> = fc.oneof(
  idArbitrary.map((spiffeId) => ({ kind: 'svid', spiffeId }) as const),
  fc.constant({ kind: 'default_svid' } as const),
  fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
    .filter((hint) => !/\p{Cc}/u.test(hint))
    .map((hint) => ({ kind: 'hint', hint }) as const),
  fc
    .tuple(fc.constantFrom('own_bundle', 'all_bundles'), peersArbitrary)
    .map(([kind, peers]) => withPeers({ kind }, peers)),
  peersArbitrary.map((peers) => withPeers({ kind: 'bundle', trustDomain }, peers)),
  fc.tuple(segment, peersArbitrary).map(([name, peers]) => withPeers({ kind: 'stored', name: `x/${name}` }, peers)),
  fc
    .record({
      spiffeId: fc.option(idArbitrary, { nil: undefined }),
      audience: fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 4 }),
      prefix: fc.stringMatching(/^[ -~]{0,64}$/),
    })
    .map(({ spiffeId, ...more }) =>
      spiffeId === undefined
        ? ({ kind: 'jwt_svid', ...more } as const)
        : ({ kind: 'jwt_svid', spiffeId, ...more } as const),
    ),
);

/** Written from the documented form, not from the parser. */
function format(name: SecretName): string {
  const query = 'peers' in name && name.peers !== undefined ? `?peers=${name.peers}` : '';
  switch (name.kind) {
    case 'svid':
      return name.spiffeId;
    case 'default_svid':
      return 'default';
    case 'hint':
      return `hint:${name.hint}`;
    case 'own_bundle':
      return `ROOTCA${query}`;
    case 'all_bundles':
      return `ALL${query}`;
    case 'bundle':
      return `spiffe://${name.trustDomain}${query}`;
    case 'stored':
      return `${name.name}${query}`;
    case 'jwt_svid': {
      const audiences = name.audience.map((one) => `aud=${encodeURIComponent(one)}`);
      return `jwt:${name.spiffeId ?? 'default'}?${[...audiences, `prefix=${encodeURIComponent(name.prefix)}`].join('&')}`;
    }
    case 'unknown':
      return '';
  }
}

test('every name that can be written is read as it was meant', () => {
  fc.assert(
    fc.property(nameArbitrary, (name) => assert.deepEqual(parseSecretName(format(name), ALIASES), name)),
    { numRuns: 1000 },
  );
});
