import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { generateKeyPair, pemEncode } from '../../../src/pki/index.ts';
import {
  formatJwtBundle,
  formatPemBundle,
  formatSpiffeBundle,
  parseBundle,
  parseTrustDomain,
  parseUniqueJson,
  type TrustBundle,
} from '../../../src/spiffe/index.ts';
import { createRootCertificate } from '../../support/certificates.ts';

const DOMAIN = parseTrustDomain('partner.test');
const DAY_MS = 86_400_000;

async function root(): Promise<Uint8Array> {
  const now = Date.now();
  const { certificate } = await createRootCertificate({
    uri: `spiffe://${DOMAIN}`,
    organization: 'Partner',
    keyPair: generateKeyPair(),
    notBefore: now,
    notAfter: now + DAY_MS,
  });
  return certificate;
}

const spki = (type: 'ec' | 'rsa'): Uint8Array =>
  (type === 'ec'
    ? generateKeyPairSync('ec', { namedCurve: 'P-384' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 })
  ).publicKey.export({ type: 'spki', format: 'der' });

const bundle: TrustBundle = {
  trustDomain: DOMAIN,
  x509Authorities: [await root(), await root()],
  jwtAuthorities: [
    { keyId: 'one', publicKey: spki('ec') },
    { keyId: 'two', publicKey: spki('rsa') },
  ],
  sequence: 12,
  refreshHintSeconds: 300,
};

const plain = (value: TrustBundle): unknown => ({
  ...value,
  x509Authorities: value.x509Authorities.map((der) => Buffer.from(der).toString('hex')),
  jwtAuthorities: value.jwtAuthorities.map(({ keyId, publicKey }) => [keyId, Buffer.from(publicKey).toString('hex')]),
});

test('SPIFFE JSON comes back as it was written', () => {
  assert.deepEqual(plain(parseBundle(formatSpiffeBundle(bundle), DOMAIN)), plain(bundle));
});

test('PEM holds the X.509 authorities alone', () => {
  const parsed = parseBundle(formatPemBundle(bundle), DOMAIN);
  assert.deepEqual(plain(parsed), plain({ ...withoutHint(bundle), jwtAuthorities: [], sequence: 0 }));
});

function withoutHint({ trustDomain, x509Authorities, jwtAuthorities, sequence }: TrustBundle): TrustBundle {
  return { trustDomain, x509Authorities, jwtAuthorities, sequence };
}

test('the JWT bundle of the Workload API is a standard JWK Set', () => {
  const { keys, ...rest } = JSON.parse(formatJwtBundle(bundle)) as { keys: Record<string, unknown>[] };
  assert.deepEqual(rest, {});
  assert.deepEqual(
    keys.map((key) => Object.keys(key).sort().join()),
    ['crv,kid,kty,x,y', 'e,kid,kty,n'],
  );
  assert.equal(formatJwtBundle({ ...bundle, jwtAuthorities: [] }), '{"keys":[]}');
});

test('a bundle without keys trusts nobody', () => {
  const parsed = parseBundle('{"keys": [], "spiffe_sequence": 18446744073709551615}', DOMAIN);
  assert.deepEqual([parsed.x509Authorities, parsed.jwtAuthorities], [[], []]);
  assert.equal(parsed.sequence, Number.MAX_SAFE_INTEGER);
});

test('keys of a use or type that is not known are passed over', () => {
  const { keys } = JSON.parse(formatSpiffeBundle(bundle)) as { keys: Record<string, unknown>[] };
  const odd = [{ ...keys[0], use: 'wit-svid' }, { ...keys[0], use: undefined }, { ...keys[2], kty: 'OKP' }, {}];
  const parsed = parseBundle(JSON.stringify({ keys: [...odd, ...keys] }), DOMAIN);
  assert.deepEqual([parsed.x509Authorities.length, parsed.jwtAuthorities.length], [2, 2]);
});

const [x509Key, , jwtKey] = (JSON.parse(formatSpiffeBundle(bundle)) as { keys: Record<string, unknown>[] }).keys;
const leafless = pemEncode('CERTIFICATE', Buffer.from('not a certificate'));
const badBundles: readonly { readonly name: string; readonly text: string; readonly says: RegExp }[] = [
  { name: 'nothing', text: '', says: /expected SPIFFE JSON or at least one PEM block/ },
  { name: 'cut JSON', text: '{"keys": [', says: /bundle is not JSON/ },
  { name: 'no list', text: '{}', says: /no list `keys`/ },
  { name: 'a key that is no object', text: '{"keys":[7]}', says: /`keys\[0\]` must be a JSON object/ },
  { name: 'two lists', text: '{"keys":[],"keys":[]}', says: /"keys" stands twice/ },
  { name: 'a hidden second list', text: '{"keys":[],"k\\u0065ys":[]}', says: /"keys" stands twice/ },
  { name: 'an x5c that is no list', text: JSON.stringify({ keys: [{ ...x509Key, x5c: {} }] }), says: /a list/ },
  { name: 'an x5c of numbers', text: JSON.stringify({ keys: [{ ...x509Key, x5c: [7] }] }), says: /in base64/ },
  { name: 'a broken x5c', text: JSON.stringify({ keys: [{ ...x509Key, x5c: ['AAAA'] }] }), says: /not an X.509/ },
  { name: 'no kid', text: JSON.stringify({ keys: [{ ...jwtKey, kid: '' }] }), says: /`keys\[0\]`.kid/ },
  { name: 'a kid twice', text: JSON.stringify({ keys: [jwtKey, jwtKey] }), says: /same `kid`/ },
  {
    name: 'a point off the curve',
    text: JSON.stringify({ keys: [{ ...jwtKey, x: 'AAAA' }] }),
    says: /not a public key/,
  },
  { name: 'a sequence below zero', text: '{"keys":[],"spiffe_sequence":-1}', says: /whole number/ },
  { name: 'a hint that is text', text: '{"keys":[],"spiffe_refresh_hint":"5"}', says: /whole number/ },
  { name: 'PEM that is no certificate', text: leafless, says: /certificate 1: not an X.509 certificate/ },
  { name: 'a private key', text: '-----BEGIN EC PRIVATE KEY-----', says: /holds a private key/ },
];

for (const { name, text, says } of badBundles) {
  test(`${name} is refused, and said`, () => {
    assert.throws(() => parseBundle(text, DOMAIN), { code: 'invalid_request', message: says });
  });
}

for (const { name, type } of [
  { name: 'brainpoolP256r1', type: ['ec', '-pkeyopt', 'ec_paramgen_curve:brainpoolP256r1'] },
  { name: 'P-224', type: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-224'] },
  { name: 'Ed25519', type: ['ed25519'] },
  { name: 'RSA of 1024 bits', type: ['rsa:1024'] },
]) {
  test(`a root with a key on ${name}, which SPIFFE JSON could not hold, is refused in PEM and in x5c`, () => {
    const options = ['-x509', '-nodes', '-subj', '/CN=odd', '-keyout', '/dev/null', '-newkey', ...type];
    const pem = execFileSync('openssl', ['req', ...options], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const x5c = [new X509Certificate(pem).raw.toString('base64')];
    for (const text of [pem, JSON.stringify({ keys: [{ ...x509Key, x5c }] })]) {
      assert.throws(() => parseBundle(text, DOMAIN), { code: 'invalid_request', message: /expected a key on P-256/ });
    }
  });
}

test('any text gives a bundle or an invalid_request', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.json().map((json) => `{"keys":[${json}]}`),
      ),
      (text) => {
        try {
          parseBundle(text, DOMAIN);
        } catch (error) {
          assert.ok(error instanceof SvidgateError && error.code === 'invalid_request', String(error));
        }
      },
    ),
  );
});

test('JSON without a key twice is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      assert.deepEqual(parseUniqueJson(text), JSON.parse(text));
    }),
  );
  assert.deepEqual(parseUniqueJson('{"a":{"a":[{"a":"{\\"a\\":1,\\"a\\":2}"}]},"b":"a"}'), {
    a: { a: [{ a: '{"a":1,"a":2}' }] },
    b: 'a',
  });
  assert.throws(() => parseUniqueJson('[{"a":1,"b":{},"a":2}]'), /"a" stands twice/);
});
