import { constants, createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { Vector } from './vector.ts';

const AUDIENCE = 'spiffe://example.test/orders';
const STRICTER_HEADER = 'it passes over header parameters that it does not know';

interface Keys {
  readonly p256: KeyObject;
  readonly p384: KeyObject;
  readonly p521: KeyObject;
  readonly rsa: KeyObject;
  readonly foreign: KeyObject;
}

interface JwtCase {
  readonly name: string;
  readonly clause: string;
  readonly accepts: boolean;
  readonly otherwise?: Vector['otherwise'];
  readonly header?: Readonly<Record<string, unknown>>;
  /** `null` leaves the claim away. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly key?: keyof Keys;
  /** Changes the finished token. */
  readonly tamper?: (token: string, keys: Keys) => string;
}

const seconds = (offset: number): number => Math.floor(Date.now() / 1000) + offset;

function cases(): readonly JwtCase[] {
  return [...ALGORITHM_CASES, ...CLAIM_CASES(), ...HEADER_CASES, ...SIGNATURE_CASES];
}

const ALGORITHM_CASES: readonly JwtCase[] = [
  ...(
    [
      ['ES256', 'p256'],
      ['ES384', 'p384'],
      ['ES512', 'p521'],
      ['RS256', 'rsa'],
      ['RS384', 'rsa'],
      ['RS512', 'rsa'],
      ['PS256', 'rsa'],
      ['PS384', 'rsa'],
      ['PS512', 'rsa'],
    ] as const
  ).map(([alg, key]) => ({ name: alg, clause: 'JWT-SVID §2.1', accepts: true, header: { alg, kid: key }, key })),
  { name: 'alg none', clause: 'JWT-SVID §2.1', accepts: false, header: { alg: 'none' }, tamper: unsigned },
  { name: 'alg None', clause: 'JWT-SVID §2.1', accepts: false, header: { alg: 'None' }, tamper: unsigned },
  {
    name: 'an HMAC with the public key',
    clause: 'JWT-SVID §2.1',
    accepts: false,
    header: { alg: 'HS256' },
    tamper: hmac,
  },
  { name: 'EdDSA', clause: 'JWT-SVID §2.1', accepts: false, header: { alg: 'EdDSA' } },
  { name: 'no alg', clause: 'JWT-SVID §2.1', accepts: false, header: { alg: undefined } },
  { name: 'an alg of another curve than the key', clause: 'RFC 7518 §3.4', accepts: false, header: { alg: 'ES384' } },
  { name: 'an alg of another family than the key', clause: 'RFC 7518 §3.3', accepts: false, header: { alg: 'RS256' } },
];

const HEADER_CASES: readonly JwtCase[] = [
  { name: 'typ JWT', clause: 'JWT-SVID §2.3', accepts: true, header: { typ: 'JWT' } },
  { name: 'typ JOSE', clause: 'JWT-SVID §2.3', accepts: true, header: { typ: 'JOSE' } },
  { name: 'no typ', clause: 'JWT-SVID §2.3', accepts: true },
  { name: 'typ in small letters', clause: 'JWT-SVID §2.3', accepts: false, header: { typ: 'jwt' } },
  { name: 'another typ', clause: 'JWT-SVID §2.3', accepts: false, header: { typ: 'wit+jwt' } },
  { name: 'an empty typ', clause: 'JWT-SVID §2.3', accepts: false, header: { typ: '' } },
  { name: 'no kid', clause: 'JWT-SVID §2.2', accepts: false, header: { kid: undefined } },
  { name: 'an empty kid', clause: 'JWT-SVID §2.2', accepts: false, header: { kid: '' } },
  { name: 'a kid that the bundle does not have', clause: 'JWT-SVID §4', accepts: false, header: { kid: 'unknown' } },
  { name: 'an unknown crit', clause: 'RFC 7515 §4.1.11', accepts: false, header: { crit: ['a'], a: 1 } },
  {
    name: 'a jku',
    clause: 'JWT-SVID §2',
    accepts: false,
    header: { jku: 'https://example.test/keys' },
    otherwise: { goSpiffe: STRICTER_HEADER },
  },
  {
    name: 'a private header parameter',
    clause: 'JWT-SVID §2',
    accepts: false,
    header: { a: 1 },
    otherwise: { goSpiffe: STRICTER_HEADER },
  },
];

const CLAIM_CASES = (): readonly JwtCase[] => [
  { name: 'one audience as a text', clause: 'RFC 7519 §4.1.3', accepts: true, claims: { aud: AUDIENCE } },
  { name: 'ours among several audiences', clause: 'JWT-SVID §3.2', accepts: true, claims: { aud: ['a', AUDIENCE] } },
  { name: 'claims of the holder', clause: 'JWT-SVID §3', accepts: true, claims: { roles: ['a'], jti: 'x', iss: 'y' } },
  { name: 'no aud', clause: 'JWT-SVID §3.2', accepts: false, claims: { aud: null } },
  { name: 'an empty list of audiences', clause: 'JWT-SVID §3.2', accepts: false, claims: { aud: [] } },
  { name: 'an empty audience', clause: 'JWT-SVID §3.2', accepts: false, claims: { aud: '' } },
  { name: 'another audience', clause: 'JWT-SVID §3.2', accepts: false, claims: { aud: ['other'] } },
  {
    name: 'our audience in capitals',
    clause: 'RFC 7519 §2',
    accepts: false,
    claims: { aud: [AUDIENCE.toUpperCase()] },
  },
  { name: 'an audience that is a number', clause: 'RFC 7519 §4.1.3', accepts: false, claims: { aud: 7 } },
  { name: 'no exp', clause: 'JWT-SVID §3.3', accepts: false, claims: { exp: null } },
  { name: 'exp an hour ago', clause: 'JWT-SVID §3.3', accepts: false, claims: { exp: seconds(-3600) } },
  {
    name: 'exp 30 s ago',
    clause: 'JWT-SVID §3.3',
    accepts: false,
    claims: { exp: seconds(-30) },
    otherwise: { goSpiffe: 'it gives a minute of leeway' },
  },
  { name: 'exp as a text', clause: 'RFC 7519 §4.1.4', accepts: false, claims: { exp: String(seconds(300)) } },
  { name: 'nbf in an hour', clause: 'RFC 7519 §4.1.5', accepts: false, claims: { nbf: seconds(3600) } },
  { name: 'iat in an hour', clause: 'RFC 7519 §4.1.6', accepts: false, claims: { iat: seconds(3600) } },
  {
    name: 'nbf and iat 30 s ahead',
    clause: 'RFC 7519 §4.1.5',
    accepts: true,
    claims: { nbf: seconds(30), iat: seconds(30) },
  },
  { name: 'no sub', clause: 'JWT-SVID §3.1', accepts: false, claims: { sub: null } },
  { name: 'an empty sub', clause: 'JWT-SVID §3.1', accepts: false, claims: { sub: '' } },
  { name: 'a sub that is no SPIFFE ID', clause: 'JWT-SVID §3.1', accepts: false, claims: { sub: 'orders' } },
  {
    name: 'a sub that is not well formed',
    clause: 'JWT-SVID §3.1',
    accepts: false,
    claims: { sub: 'spiffe://example.test/a/' },
  },
  {
    name: 'a sub without a path',
    clause: 'JWT-SVID §3.1',
    accepts: false,
    claims: { sub: 'spiffe://example.test' },
    otherwise: { goSpiffe: 'it does not ask for a path' },
  },
  {
    name: 'a sub of a trust domain whose bundle we lack',
    clause: 'JWT-SVID §4',
    accepts: false,
    claims: { sub: 'spiffe://unknown.test/orders' },
  },
  {
    name: "a sub of ours signed with another trust domain's key",
    clause: 'SPIFFE Trust Domain and Bundle §3',
    accepts: false,
    header: { kid: 'foreign' },
    key: 'foreign',
  },
  {
    name: 'a sub of another trust domain with its own key',
    clause: 'SPIFFE Trust Domain and Bundle §3',
    accepts: true,
    header: { kid: 'foreign' },
    key: 'foreign',
    claims: { sub: 'spiffe://other.test/web' },
  },
];

const SIGNATURE_CASES: readonly JwtCase[] = [
  { name: 'a signature of another key', clause: 'JWT-SVID §4', accepts: false, key: 'foreign' },
  { name: 'no signature', clause: 'JWT-SVID §4', accepts: false, tamper: unsigned },
  {
    name: 'a changed payload',
    clause: 'JWT-SVID §4',
    accepts: false,
    tamper: (token) => replacePart(token, 1, encode({ ...claimsOf({}), sub: 'spiffe://example.test/admin' })),
  },
  { name: 'the JSON serialisation', clause: 'JWT-SVID §5.1', accepts: false, tamper: toJsonSerialisation },
  { name: 'four parts', clause: 'JWT-SVID §5.1', accepts: false, tamper: (token) => `${token}.a` },
  {
    name: 'two parts',
    clause: 'JWT-SVID §5.1',
    accepts: false,
    tamper: (token) => token.slice(0, token.lastIndexOf('.')),
  },
  { name: 'nothing', clause: 'JWT-SVID §5.1', accepts: false, tamper: () => '' },
  { name: 'a signature in DER', clause: 'RFC 7518 §3.4', accepts: false, tamper: withDerSignature },
  { name: 'padding', clause: 'RFC 7515 §2', accepts: false, tamper: (token) => `${token}==` },
];

/** JWT-SVIDs for the audience above. */
export function jwtVectors(): readonly Vector[] {
  const ec = (namedCurve: string): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey;
  const keys: Keys = {
    p256: ec('P-256'),
    p384: ec('P-384'),
    p521: ec('P-521'),
    rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
    foreign: ec('P-256'),
  };
  const bundles = {
    'example.test': bundleOf({ p256: keys.p256, p384: keys.p384, p521: keys.p521, rsa: keys.rsa }),
    'other.test': bundleOf({ foreign: keys.foreign }),
  };
  return cases().map(({ name, clause, accepts, otherwise, ...parts }): Vector => {
    const text = tokenOf(parts, keys);
    const input = { kind: 'jwt', text, bundles, audience: [AUDIENCE] } as const;
    return { name, clause, accepts, input, ...(otherwise === undefined ? {} : { otherwise }) };
  });
}

function bundleOf(keys: Readonly<Record<string, KeyObject>>): string {
  const entries = Object.entries(keys).map(([kid, key]) => {
    const { kty, crv, x, y, n, e } = key.export({ format: 'jwk' });
    return { use: 'jwt-svid', kid, kty, crv, x, y, n, e };
  });
  return JSON.stringify({ keys: entries });
}

function claimsOf(changes: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const usual = { sub: 'spiffe://example.test/web', aud: [AUDIENCE], exp: seconds(300), iat: seconds(-10) };
  return Object.fromEntries(Object.entries({ ...usual, ...changes }).filter(([, value]) => value !== null));
}

function tokenOf(
  { header = {}, claims = {}, key = 'p256', tamper }: Omit<JwtCase, 'name' | 'clause' | 'accepts'>,
  keys: Keys,
): string {
  const protectedHeader: Readonly<Record<string, unknown>> = { alg: 'ES256', kid: 'p256', ...header };
  const { alg = '' } = protectedHeader as { readonly alg?: string };
  const input = `${encode(protectedHeader)}.${encode(claimsOf(claims))}`;
  const token = `${input}.${signatureOf(input, keys[key], alg)}`;
  return tamper?.(token, keys) ?? token;
}

function signatureOf(input: string, key: KeyObject, alg: string): string {
  const hash = `sha${/\d{3}$/.exec(alg)?.[0] ?? '256'}`;
  const padding = alg.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : {};
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...padding }).toString('base64url');
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function replacePart(token: string, index: number, part: string): string {
  return token.split('.').with(index, part).join('.');
}

function unsigned(token: string): string {
  return replacePart(token, 2, '');
}

/** With the public key's PEM as the secret, as a verifier that mixes up key types would take it. */
function hmac(token: string, { p256 }: Keys): string {
  const { kty, crv, x, y } = p256.export({ format: 'jwk' });
  const input = token.slice(0, token.lastIndexOf('.'));
  const mac = createHmac('sha256', JSON.stringify({ kty, crv, x, y })).update(input).digest('base64url');
  return replacePart(token, 2, mac);
}

function toJsonSerialisation(token: string): string {
  const [protectedHeader, payload, signature] = token.split('.');
  return JSON.stringify({ protected: protectedHeader, payload, signature });
}

function withDerSignature(token: string, { p256 }: Keys): string {
  const input = token.slice(0, token.lastIndexOf('.'));
  return replacePart(token, 2, sign('sha256', Buffer.from(input), p256).toString('base64url'));
}
