/** Expressions on hashes, keys, certificates and tokens. */
import { Buffer } from 'node:buffer';
import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { calls, NOW_NS, texts } from './compare.ts';

const NOW = Number(NOW_NS / 1_000_000_000n);
const SECRET = 'a secret of 32 bytes or even more';

interface SigningKey {
  readonly alg: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const KEYS: readonly SigningKey[] = [
  { alg: 'RS256', ...rsa },
  { alg: 'RS512', ...rsa },
  { alg: 'PS256', ...rsa },
  { alg: 'PS384', ...rsa },
  { alg: 'ES256', ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) },
  { alg: 'ES384', ...generateKeyPairSync('ec', { namedCurve: 'P-384' }) },
  { alg: 'ES512', ...generateKeyPairSync('ec', { namedCurve: 'P-521' }) },
  { alg: 'EdDSA', ...generateKeyPairSync('ed25519') },
];
const CLAIMS = { iss: 'https://issuer', aud: ['me', 'you'], sub: 'é', exp: NOW + 60, nbf: NOW - 60, n: 1.5 };

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function signed(key: SigningKey, claims: unknown, header: object = {}): string {
  const input = `${encode({ alg: key.alg, typ: 'JWT', ...header })}.${encode(claims)}`;
  const bits = key.alg === 'EdDSA' ? null : `sha${key.alg.slice(2)}`;
  const padding = key.alg.startsWith('PS') ? { padding: 6, saltLength: Number(key.alg.slice(2)) / 8 } : {};
  const signature = sign(bits, Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363', ...padding });
  return `${input}.${signature.toString('base64url')}`;
}

function authenticated(claims: unknown, header: object = {}, bits = 256): string {
  const input = `${encode({ alg: `HS${bits}`, ...header })}.${encode(claims)}`;
  return `${input}.${createHmac(`sha${bits}`, SECRET).update(input).digest('base64url')}`;
}

const pem = (key: SigningKey): string => key.publicKey.export({ format: 'pem', type: 'spki' }) as string;
const jwks = (...keys: readonly SigningKey[]): string =>
  JSON.stringify({ keys: keys.map((key, at) => ({ ...key.publicKey.export({ format: 'jwk' }), kid: `k${at}` })) });
const rego = (value: unknown): string => JSON.stringify(value);

const [RS, , , , ES] = KEYS as [SigningKey, SigningKey, SigningKey, SigningKey, SigningKey];
const CERTIFICATES = texts(pem(RS), pem(ES), jwks(RS, ES), '{"keys":[]}', 'x');

const MALFORMED = texts(
  '',
  'a.b',
  'a.b.c',
  '..',
  `${encode([])}.${encode({})}.x`,
  `${encode({ alg: 'none' })}.${encode(CLAIMS)}.`,
  `${encode({ alg: 'HS256', enc: 'x' })}.${encode({})}.x`,
  `${authenticated(CLAIMS)}=`,
  `${authenticated(CLAIMS)}.x`,
);

const VERIFIED: readonly string[] = KEYS.flatMap((key) => {
  const name = `io.jwt.verify_${key.alg.toLowerCase()}`;
  const token = signed(key, CLAIMS);
  const tokens = texts(
    token,
    signed(key, CLAIMS, { kid: 'k0' }),
    signed(key, CLAIMS, { kid: 'other' }),
    `${token.slice(0, -8)}AAAAAAAA`,
  );
  return [
    ...calls(name, tokens, texts(pem(key), jwks(key), jwks(ES, key), 'x')),
    ...calls('io.jwt.decode_verify', tokens, [
      `{"cert": ${rego(pem(key))}, "aud": "me"}`,
      `{"cert": ${rego(jwks(ES, key))}, "aud": "me"}`,
    ]),
  ];
});

const CONSTRAINTS = [
  `{"secret": ${rego(SECRET)}, "aud": "me"}`,
  `{"secret": ${rego(SECRET)}}`,
  `{"secret": ${rego(SECRET)}, "aud": "no"}`,
  `{"secret": ${rego(SECRET)}, "aud": "me", "iss": "https://issuer", "alg": "HS256"}`,
  `{"secret": ${rego(SECRET)}, "aud": "me", "alg": "HS512"}`,
  `{"secret": ${rego(SECRET)}, "aud": "me", "iss": "other"}`,
  `{"secret": ${rego(SECRET)}, "aud": "me", "time": ${String(NOW_NS + 60_000_000_000n)}}`,
  `{"secret": ${rego(SECRET)}, "aud": "me", "time": ${String(NOW_NS - 61_000_000_000n)}}`,
  `{"secret": ${rego(SECRET)}, "aud": "me", "time": "x"}`,
  `{"secret": "wrong", "aud": "me"}`,
  `{"secret": ${rego(SECRET)}, "cert": ${rego(pem(RS))}}`,
  `{"cert": ${rego(pem(RS))}, "aud": "me"}`,
  `{"unknown": 1, "secret": ${rego(SECRET)}}`,
  '{}',
];
const TOKENS = texts(
  authenticated(CLAIMS),
  authenticated({ ...CLAIMS, exp: NOW - 1 }),
  authenticated({ ...CLAIMS, exp: NOW }),
  authenticated({ ...CLAIMS, nbf: NOW + 1 }),
  authenticated({ ...CLAIMS, exp: '1' }),
  authenticated({ ...CLAIMS, exp: NOW + 0.5 }),
  authenticated({ iss: 'https://issuer' }),
  authenticated({ ...CLAIMS, aud: 'me' }),
  authenticated({ ...CLAIMS, aud: 7 }),
  authenticated(CLAIMS, { crit: ['x'] }),
  authenticated(CLAIMS, { alg: 'HS384' }),
  authenticated(CLAIMS, { cty: 'JWT' }),
  authenticated(CLAIMS, {}, 512),
  signed(RS, CLAIMS),
);

const PRIVATE_JWK = rego({ kty: 'oct', k: Buffer.from(SECRET).toString('base64url') });
const HEX_STRINGS = texts('', 'a', '日本語', 'a\u0000b');

export const TOKEN_EXPRESSIONS: readonly string[] = [
  ...['md5', 'sha1', 'sha256'].flatMap((name) => calls(`crypto.${name}`, [...HEX_STRINGS, 'input.no'])),
  ...['md5', 'sha1', 'sha256', 'sha512'].flatMap((name) =>
    calls(`crypto.hmac.${name}`, HEX_STRINGS, texts('', 'k', 'é')),
  ),
  ...calls('crypto.hmac.equal', HEX_STRINGS, texts('', 'a')),
  ...calls('io.jwt.decode', [...TOKENS, ...MALFORMED, 'input.no']),
  ...VERIFIED,
  ...calls('io.jwt.decode_verify', TOKENS, CONSTRAINTS),
  ...calls('io.jwt.decode_verify', MALFORMED, CONSTRAINTS.slice(0, 2)),
  ...[256, 384, 512].flatMap((bits) =>
    calls(
      `io.jwt.verify_hs${bits}`,
      texts(authenticated(CLAIMS, {}, bits), authenticated(CLAIMS)),
      texts(SECRET, '', 'x'),
    ),
  ),
  ...calls('io.jwt.verify_hs256', [...TOKENS, ...MALFORMED], texts(SECRET)),
  ...calls('io.jwt.verify_rs384', texts(signed(RS, CLAIMS)), CERTIFICATES),
  ...calls('io.jwt.verify_ps512', texts(signed(RS, CLAIMS)), CERTIFICATES),
  ...calls(
    'io.jwt.encode_sign',
    ['{"alg": "HS256"}', '{"alg": "none"}', '{"typ": "JWT"}'],
    ['{"a": "é<", "b": 1.50}', '{}'],
    [PRIVATE_JWK, '{}'],
  ),
  ...calls('io.jwt.encode_sign_raw', texts('{"alg":"HS256"}', 'x'), texts('{"a": 1}', 'plain'), [
    rego(PRIVATE_JWK),
    '"x"',
  ]),
  ...calls(
    'crypto.parse_private_keys',
    texts(RS.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string, '', 'x'),
  ),
  ...calls(
    'crypto.x509.parse_rsa_private_key',
    texts(RS.privateKey.export({ format: 'pem', type: 'pkcs1' }) as string, '', 'x'),
  ),
];

/** Expressions on a chain, leaf first, and its keys. */
export function certificateExpressions(chain: {
  readonly leaf: string;
  readonly root: string;
  readonly leafKey: string;
}): readonly string[] {
  const { leaf, root, leafKey } = chain;
  const ordered = `${root}${leaf}`;
  const options = [
    '{}',
    '{"DNSName": "a.example"}',
    '{"CurrentTime": 1}',
    '{"KeyUsages": ["KeyUsageAny"]}',
    '{"KeyUsages": ["x"]}',
    '{"bad": 1}',
  ];
  return [
    ...calls('crypto.x509.parse_certificates', texts(leaf, ordered, '', 'x', Buffer.from(ordered).toString('base64'))),
    ...calls('crypto.x509.parse_and_verify_certificates', texts(ordered, leaf, `${leaf}${root}`, 'x')),
    ...calls('crypto.x509.parse_and_verify_certificates_with_options', texts(ordered), options),
    ...calls('crypto.x509.parse_keypair', texts(leaf, 'x'), texts(leafKey, 'x')),
    ...calls('crypto.x509.parse_certificate_request', texts('', 'x', leaf)),
    `io.jwt.verify_es256(${rego(signed(ES, CLAIMS))}, ${rego(leaf)})`,
  ];
}
