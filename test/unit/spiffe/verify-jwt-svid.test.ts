import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { CompactSign } from 'jose';
import { SvidgateError } from '../../../src/core/index.ts';
import { spkiOf } from '../../../src/pki/index.ts';
import { parseTrustDomain, verifyJwtSvid, type TrustBundle, type TrustDomain } from '../../../src/spiffe/index.ts';

const NOW = Date.UTC(2026, 0, 1);
const SECONDS = NOW / 1000;
const SUB = 'spiffe://example.test/web';
const CLAIMS = { sub: SUB, aud: ['api'], exp: SECONDS + 60, iat: SECONDS };

interface Key {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const KEYS: Readonly<Record<string, Key>> = {
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  p521: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  foreign: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};

function bundleOf(name: string, keyIds: readonly string[]): TrustBundle {
  const jwtAuthorities = keyIds.map((keyId) => ({ keyId, publicKey: spkiOf(KEYS[keyId]!.publicKey) }));
  return { trustDomain: parseTrustDomain(name), x509Authorities: [], jwtAuthorities, sequence: 1 };
}

const BUNDLES = new Map<TrustDomain, TrustBundle>(
  [
    bundleOf('example.test', ['p256', 'p384', 'p521', 'rsa']),
    bundleOf('other.test', ['foreign']),
    bundleOf('none.test', []),
  ].map((bundle) => [bundle.trustDomain, bundle]),
);

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

interface TokenParts {
  /** In the place of, or beside, alg ES256, kid p256 and typ JWT. */
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: unknown;
  readonly key?: string;
}

/** A token with a good signature, whatever it says. jose refuses headers that it does not know, so those are signed as text. */
async function sign({ header = {}, claims = CLAIMS, key = 'p256' }: TokenParts): Promise<string> {
  const full = { alg: 'ES256', kid: key, typ: 'JWT', ...header };
  const payload = typeof claims === 'string' ? claims : JSON.stringify(claims);
  const signer = new CompactSign(Buffer.from(payload)).setProtectedHeader(full);
  return await signer.sign(KEYS[key]!.privateKey, { crit: { x: true } });
}

async function verify(token: string, audience: readonly string[] = ['api']): Promise<string> {
  const bundles = (trustDomain: TrustDomain): TrustBundle | undefined => BUNDLES.get(trustDomain);
  try {
    return (await verifyJwtSvid(token, { audience, bundles, now: NOW })).spiffeId;
  } catch (error) {
    assert.ok(error instanceof SvidgateError && error.code === 'jwt_invalid', String(error));
    return error.message;
  }
}

const ACCEPTED: readonly { readonly name: string; readonly clause: string; readonly parts: TokenParts }[] = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'].map((alg) => ({
    name: alg,
    clause: 'JWT-SVID §2.1',
    parts: { header: { alg }, key: 'rsa' },
  })),
  ...Object.entries({ ES256: 'p256', ES384: 'p384', ES512: 'p521' }).map(([alg, key]) => ({
    name: alg,
    clause: 'JWT-SVID §2.1',
    parts: { header: { alg }, key },
  })),
  { name: 'no typ', clause: 'JWT-SVID §2.3', parts: { header: { typ: undefined } } },
  { name: 'typ JOSE', clause: 'JWT-SVID §2.3', parts: { header: { typ: 'JOSE' } } },
  { name: 'an audience as text', clause: 'RFC 7519 §4.1.3', parts: { claims: { ...CLAIMS, aud: 'api' } } },
  { name: 'one of several audiences', clause: 'JWT-SVID §3.2', parts: { claims: { ...CLAIMS, aud: ['x', 'api'] } } },
  { name: 'no iat', clause: 'JWT-SVID §3', parts: { claims: { ...CLAIMS, iat: undefined } } },
  { name: 'an iat within the leeway', clause: 'RFC 7519 §4.1.6', parts: { claims: { ...CLAIMS, iat: SECONDS + 60 } } },
  { name: 'an nbf within the leeway', clause: 'RFC 7519 §4.1.5', parts: { claims: { ...CLAIMS, nbf: SECONDS + 60 } } },
  { name: 'a fraction of a second', clause: 'RFC 7519 §2', parts: { claims: { ...CLAIMS, exp: SECONDS + 0.5 } } },
  {
    name: 'claims of other makers',
    clause: 'JWT-SVID §3',
    parts: { claims: { ...CLAIMS, iss: 'x', team: { a: [1] } } },
  },
];
for (const { name, clause, parts } of ACCEPTED) {
  test(`accepted: ${name} (${clause})`, async () => assert.equal(await verify(await sign(parts)), SUB));
}

const ALGORITHM = /^token header algorithm is not one of RS256,/;
const REFUSED: readonly {
  readonly name: string;
  readonly clause: string;
  readonly parts: TokenParts;
  readonly text: RegExp;
}[] = [
  {
    name: 'no kid',
    clause: 'JWT-SVID §2.2',
    parts: { header: { kid: undefined } },
    text: /^token header missing key id$/,
  },
  {
    name: 'an empty kid',
    clause: 'JWT-SVID §2.2',
    parts: { header: { kid: '' } },
    text: /^token header missing key id$/,
  },
  { name: 'a kid that is no text', clause: 'JWT-SVID §2.2', parts: { header: { kid: 7 } }, text: /missing key id$/ },
  {
    name: 'a key that nobody knows',
    clause: 'JWT-SVID §4',
    parts: { header: { kid: 'lost' } },
    text: /^public key "lost" not found in trust domain "example.test"$/,
  },
  {
    name: 'a key of another trust domain',
    clause: 'SPIFFE Federation §4.2',
    parts: { key: 'foreign' },
    text: /^public key "foreign" not found in trust domain "example.test"$/,
  },
  {
    name: "another domain's key under an own kid",
    clause: 'SPIFFE Federation §4.2',
    parts: { key: 'foreign', header: { kid: 'p256' } },
    text: /^token signature is not valid$/,
  },
  {
    name: 'another key of the domain',
    clause: 'RFC 7515 §5.2',
    parts: { key: 'p256', header: { kid: 'p384' } },
    text: /^token signature is not valid$/,
  },
  {
    name: 'a domain without keys',
    clause: 'JWT-SVID §4',
    parts: { claims: { ...CLAIMS, sub: 'spiffe://none.test/x' } },
    text: /^no keys found for trust domain "none.test"$/,
  },
  {
    name: 'a domain that we hold no bundle of',
    clause: 'JWT-SVID §4',
    parts: { claims: { ...CLAIMS, sub: 'spiffe://lost.test/x' } },
    text: /^no keys found for trust domain "lost.test"$/,
  },
  { name: 'typ wit+jwt', clause: 'JWT-SVID §2.3', parts: { header: { typ: 'wit+jwt' } }, text: /^token header type/ },
  {
    name: 'typ jwt in lower case',
    clause: 'JWT-SVID §2.3',
    parts: { header: { typ: 'jwt' } },
    text: /^token header type/,
  },
  { name: 'typ null', clause: 'JWT-SVID §2.3', parts: { header: { typ: null } }, text: /^token header type/ },
  {
    name: 'crit',
    clause: 'JWT-SVID §2',
    parts: { header: { crit: ['x'], x: 1 } },
    text: /parameter "crit", which is not/,
  },
  {
    name: 'jku',
    clause: 'JWT-SVID §2',
    parts: { header: { jku: 'http://x' } },
    text: /parameter "jku", which is not allowed/,
  },
  {
    name: 'no exp',
    clause: 'JWT-SVID §3.3',
    parts: { claims: { ...CLAIMS, exp: undefined } },
    text: /^token missing exp claim$/,
  },
  {
    name: 'exp as text',
    clause: 'RFC 7519 §4.1.4',
    parts: { claims: { ...CLAIMS, exp: '9' } },
    text: /^token exp claim is no number$/,
  },
  {
    name: 'the very end',
    clause: 'JWT-SVID §3.3',
    parts: { claims: { ...CLAIMS, exp: SECONDS } },
    text: /^token has expired$/,
  },
  {
    name: 'what is over',
    clause: 'JWT-SVID §3.3',
    parts: { claims: { ...CLAIMS, exp: 0 } },
    text: /^token has expired$/,
  },
  {
    name: 'an nbf to come',
    clause: 'RFC 7519 §4.1.5',
    parts: { claims: { ...CLAIMS, nbf: SECONDS + 61 } },
    text: /not valid yet$/,
  },
  {
    name: 'an iat to come',
    clause: 'RFC 7519 §4.1.6',
    parts: { claims: { ...CLAIMS, iat: SECONDS + 61 } },
    text: /in the future$/,
  },
  {
    name: 'iat as text',
    clause: 'RFC 7519 §4.1.6',
    parts: { claims: { ...CLAIMS, iat: '1' } },
    text: /^token iat claim is no number$/,
  },
  {
    name: 'no sub',
    clause: 'JWT-SVID §3.1',
    parts: { claims: { ...CLAIMS, sub: undefined } },
    text: /^token missing subject claim$/,
  },
  {
    name: 'an empty sub',
    clause: 'JWT-SVID §3.1',
    parts: { claims: { ...CLAIMS, sub: '' } },
    text: /^token missing subject claim$/,
  },
  {
    name: 'a sub that is a list',
    clause: 'JWT-SVID §3.1',
    parts: { claims: { ...CLAIMS, sub: [SUB] } },
    text: /is no text$/,
  },
  {
    name: 'a sub that is no SPIFFE ID',
    clause: 'JWT-SVID §3.1',
    parts: { claims: { ...CLAIMS, sub: 'web' } },
    text: /no SPIFFE ID: scheme/,
  },
  {
    name: 'a sub without a path',
    clause: 'JWT-SVID §3.1',
    parts: { claims: { ...CLAIMS, sub: 'spiffe://example.test' } },
    text: /a path is missing$/,
  },
  {
    name: 'no aud',
    clause: 'JWT-SVID §3.2',
    parts: { claims: { ...CLAIMS, aud: undefined } },
    text: /^token missing audience claim$/,
  },
  {
    name: 'an empty list',
    clause: 'JWT-SVID §3.2',
    parts: { claims: { ...CLAIMS, aud: [] } },
    text: /^token missing audience claim$/,
  },
  {
    name: 'an aud of numbers',
    clause: 'RFC 7519 §4.1.3',
    parts: { claims: { ...CLAIMS, aud: [7] } },
    text: /neither a text nor a list/,
  },
  {
    name: 'an aud for others',
    clause: 'JWT-SVID §3.2',
    parts: { claims: { ...CLAIMS, aud: ['x', 'y'] } },
    text: /^expected audience in \["api"\] \(audience=\["x" "y"\]\)$/,
  },
  {
    name: 'an aud in another case',
    clause: 'JWT-SVID §3.2',
    parts: { claims: { ...CLAIMS, aud: ['API'] } },
    text: /^expected audience/,
  },
  {
    name: 'the same claim twice',
    clause: 'RFC 7519 §4',
    parts: { claims: `{"sub":"x",${JSON.stringify(CLAIMS).slice(1)}` },
    text: /^token payload is not JSON$/,
  },
  {
    name: 'claims that are a list',
    clause: 'RFC 7519 §2',
    parts: { claims: [CLAIMS] },
    text: /^token payload is not a JSON object$/,
  },
  {
    name: 'more than 16 KiB',
    clause: 'svidgate',
    parts: { claims: { ...CLAIMS, x: 'x'.repeat(13_000) } },
    text: /longer than 16384 bytes$/,
  },
];
for (const { name, clause, parts, text } of REFUSED) {
  test(`refused: ${name} (${clause})`, async () => assert.match(await verify(await sign(parts)), text));
}

const HEADER = encode({ alg: 'ES256', kid: 'p256', typ: 'JWT' });
for (const alg of ['none', 'None', 'HS256', 'HS512', 'EdDSA', 'ES256K', '', undefined, null]) {
  test(`refused: the algorithm ${alg} (JWT-SVID §2.1)`, async () => {
    const content = `${encode({ alg, kid: 'p256' })}.${encode(CLAIMS)}`;
    // What a checker would compute that takes the public key for a shared secret.
    const mac = createHmac('sha256', spkiOf(KEYS['p256']!.publicKey)).update(content).digest('base64url');
    assert.match(await verify(`${content}.${mac}`), ALGORITHM);
  });
}

test('refused: a header that says an algorithm which is not that of its key (RFC 8725 §3.1)', async () => {
  const [, claims, signature] = (await sign({})).split('.');
  for (const alg of ['ES384', 'RS256', 'PS256']) {
    const header = encode({ alg, kid: 'p256', typ: 'JWT' });
    assert.equal(await verify(`${header}.${claims}.${signature}`), 'token signature is not valid');
  }
});

test('refused: another spelling of a good token (RFC 7515 §7.1)', async () => {
  const good = await sign({});
  const [header = '', claims = '', signature = ''] = good.split('.');
  const spellings = [
    ...['\n', '\r\n', ' ', '=', '.', '\0', '\u{1F600}'].flatMap((text) => [`${good}${text}`, `${text}${good}`]),
    `${header}=.${claims}.${signature}`,
    `${header}.${claims.slice(0, 8)}\n${claims.slice(8)}.${signature}`,
    `${header}.${claims}.${signature.replaceAll('-', '+').replaceAll('_', '/')}+`,
    `${header}.${claims}.`,
    `${header}.${claims}`,
    `.${claims}.${signature}`,
    `${header}..${signature}`,
    '',
    '..',
    `${encode('\ufeff{"alg":"ES256","kid":"p256"}')}.${claims}.${signature}`,
    `${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.${claims}.${signature}`,
    JSON.stringify({ protected: header, payload: claims, signature }),
  ];
  for (const token of spellings) assert.match(await verify(token), /^token /, JSON.stringify(token.slice(0, 40)));
  assert.equal(await verify(good), SUB);
});

test('an audience that is empty matches nothing', async () => {
  const token = await sign({ claims: { ...CLAIMS, aud: [''] } });
  for (const audience of [[''], []]) assert.match(await verify(token, audience), /^expected audience in/);
});

test('a token with any bit changed is refused', async () => {
  const good = await sign({});
  const bits = fc.record({
    at: fc.nat(good.length - 1),
    to: fc.string({ minLength: 1, maxLength: 1, unit: 'binary-ascii' }),
  });
  await fc.assert(
    fc.asyncProperty(bits, async ({ at, to }) => {
      fc.pre(good[at] !== to);
      assert.notEqual(await verify(good.slice(0, at) + to + good.slice(at + 1)), SUB);
    }),
    { numRuns: 300 },
  );
});

test('any text, any header and any claims end as accepted or jwt_invalid, never otherwise', async () => {
  const json = fc.oneof(
    fc.jsonValue(),
    fc.constant(CLAIMS),
    fc.record({ alg: fc.constant('ES256'), kid: fc.jsonValue() }),
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.tuple(json, json)), async (input) => {
      const token = typeof input === 'string' ? input : `${encode(input[0])}.${encode(input[1])}.AAAA`;
      assert.notEqual(await verify(token), SUB);
    }),
    { numRuns: 500 },
  );
  assert.match(await verify(`${HEADER}.${encode(CLAIMS)}.AAAA`), /^token signature is not valid$/);
});
