import 'reflect-metadata';
import assert from 'node:assert/strict';
import { KeyObject, type webcrypto } from 'node:crypto';
import { test } from 'node:test';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { createLeafIssuer, parseCertificate, signerFor, type Certificate } from '../../../src/pki/index.ts';
import { verifyX509Svid } from '../../../src/spiffe/index.ts';

const HOUR = 3600_000;
const NOW = Date.UTC(2026, 0, 1);
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const SIGNING: x509.KeyUsageFlags = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;

interface Ca {
  readonly name: string;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly certificate: x509.X509Certificate;
}

interface CaRequest {
  readonly issuer?: Ca;
  readonly isCa?: boolean;
  readonly pathLength?: number;
  readonly usage?: x509.KeyUsageFlags;
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly extensions?: readonly x509.Extension[];
  /** Another certificate for the same key. */
  readonly keys?: webcrypto.CryptoKeyPair;
}

async function createCa(name: string, request: CaRequest = {}): Promise<Ca> {
  const keys = request.keys ?? (await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']));
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${name}`,
    issuer: request.issuer?.certificate.subject ?? `CN=${name}`,
    notBefore: new Date(request.notBefore ?? NOW - HOUR),
    notAfter: new Date(request.notAfter ?? NOW + HOUR),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: (request.issuer?.keys ?? keys).privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(request.isCa ?? true, request.pathLength, true),
      new x509.KeyUsagesExtension(request.usage ?? SIGNING, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...(request.extensions ?? []),
    ],
  });
  return { name, keys, certificate };
}

const parsed = ({ certificate }: Ca): Certificate => parseCertificate(new Uint8Array(certificate.rawData));

async function leafOf(issuer: Ca): Promise<Certificate> {
  const signer = signerFor(KeyObject.from(issuer.keys.privateKey));
  const certificate = new Uint8Array(issuer.certificate.rawData);
  const { certificate: leaf } = await createLeafIssuer({ certificate, signer }).issue({
    uri: 'spiffe://example.test/orders',
    publicKey: signer.publicKey,
    notBefore: NOW - HOUR,
    notAfter: NOW + HOUR,
  });
  return parseCertificate(leaf);
}

function verdict(leaf: Certificate, roots: readonly Ca[], intermediates: readonly Ca[]): string {
  const answer = verifyX509Svid(leaf, {
    authorities: () => roots.map(parsed),
    intermediates: intermediates.map(parsed),
    now: NOW,
  });
  return answer.valid ? 'valid' : answer.reason;
}

const root = await createCa('root');
const middle = await createCa('middle', { issuer: root });
const low = await createCa('low', { issuer: middle });

test('a chain of two intermediates leads to the root, in any order, and with others between them', async () => {
  const leaf = await leafOf(low);
  const stranger = await createCa('stranger');
  for (const intermediates of [
    [low, middle],
    [middle, low],
    [stranger, middle, stranger, low],
  ]) {
    assert.equal(verdict(leaf, [root], intermediates), 'valid');
  }
});

test('a chain with a part missing, or to a root that we do not hold, is not valid', async () => {
  const leaf = await leafOf(low);
  const other = await createCa('root');
  const cases: readonly (readonly [readonly Ca[], readonly Ca[]])[] = [
    [[root], []],
    [[root], [low]],
    [[root], [middle]],
    [[other], [low, middle]],
    [[other], [low, middle, root]],
  ];
  for (const [roots, intermediates] of cases) assert.equal(verdict(leaf, roots, intermediates), 'intermediate_unknown');
});

test('an intermediate that we hold as an authority ends the chain', async () => {
  assert.equal(verdict(await leafOf(low), [middle], [low]), 'valid');
  assert.equal(verdict(await leafOf(low), [low], []), 'valid');
});

const { clientAuth, serverAuth, codeSigning } = x509.ExtendedKeyUsage;
const intermediates: readonly { readonly name: string; readonly request: CaRequest; readonly valid: boolean }[] = [
  { name: 'no CA', request: { isCa: false }, valid: false },
  { name: 'a CA that may not sign certificates', request: { usage: x509.KeyUsageFlags.cRLSign }, valid: false },
  { name: 'one that has ended', request: { notAfter: NOW - 1000 }, valid: false },
  { name: 'one that is not valid yet', request: { notBefore: NOW + 1000 }, valid: false },
  { name: 'one with path length 0', request: { pathLength: 0 }, valid: true },
  {
    name: 'one for clients and servers',
    request: { extensions: [new x509.ExtendedKeyUsageExtension([clientAuth, serverAuth])] },
    valid: true,
  },
  {
    name: 'one for any use',
    request: { extensions: [new x509.ExtendedKeyUsageExtension(['2.5.29.37.0'])] },
    valid: true,
  },
  { name: 'one for code', request: { extensions: [new x509.ExtendedKeyUsageExtension([codeSigning])] }, valid: false },
  {
    name: 'one with critical name constraints',
    request: { extensions: [new x509.Extension('2.5.29.30', true, Buffer.from('3000', 'hex'))] },
    valid: false,
  },
  {
    name: 'one with an unknown critical extension',
    request: { extensions: [new x509.Extension('1.2.3.4', true, Buffer.from('0500', 'hex'))] },
    valid: false,
  },
  {
    name: 'one with an unknown extension',
    request: { extensions: [new x509.Extension('1.2.3.4', false, Buffer.from('0500', 'hex'))] },
    valid: true,
  },
];

for (const { name, request, valid } of intermediates) {
  test(`above a leaf, ${name} is ${valid ? 'taken' : 'refused'}`, async () => {
    const ca = await createCa('ca', { issuer: root, ...request });
    const expected = valid ? 'valid' : 'intermediate_unknown';
    assert.equal(verdict(await leafOf(ca), [root], [ca]), expected);
    assert.equal(verdict(await leafOf(ca), [ca], []), expected, 'also as an authority');
  });
}

test('a path length counts the CAs below, and not the leaf', async () => {
  for (const { pathLength, valid } of [
    { pathLength: 0, valid: false },
    { pathLength: 1, valid: true },
  ]) {
    const upper = await createCa('upper', { issuer: root, pathLength });
    const lower = await createCa('lower', { issuer: upper });
    assert.equal(verdict(await leafOf(lower), [root], [lower, upper]), valid ? 'valid' : 'intermediate_unknown');
    const top = await createCa('top', { pathLength });
    const below = await createCa('below', { issuer: top });
    assert.equal(verdict(await leafOf(below), [top], [below]), valid ? 'valid' : 'intermediate_unknown');
  }
});

test('of two certificates for one CA the one that holds is found', async () => {
  const ended = await createCa('ca', { issuer: root, notAfter: NOW - 1000 });
  const good = await createCa('ca', { issuer: root, keys: ended.keys });
  assert.equal(verdict(await leafOf(good), [root], [ended, good]), 'valid');
  assert.equal(verdict(await leafOf(good), [root], [good, ended]), 'valid');
});

test('a tangle of CAs that sign one another costs little, and more than eight are not looked at', async () => {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const tangle = await Promise.all(Array.from({ length: 8 }, () => createCa('ca', { keys })));
  const leaf = await leafOf(tangle[0]!);
  const start = performance.now();
  assert.equal(verdict(leaf, [root], tangle), 'intermediate_unknown');
  assert.ok(performance.now() - start < 500);
  const leafOfLow = await leafOf(low);
  assert.equal(verdict(leafOfLow, [root], [low, middle, ...tangle.slice(0, 6)]), 'valid');
  assert.equal(verdict(leafOfLow, [root], [low, middle, ...tangle.slice(0, 7)]), 'intermediate_unknown');
});

test('whichever certificates are presented, a leaf is valid exactly when its own issuers are among them', async () => {
  const others = await Promise.all(['a', 'b', 'c'].map((name) => createCa(name, { issuer: root })));
  const all = [low, middle, ...others];
  const leaf = await leafOf(low);
  fc.assert(
    fc.property(fc.shuffledSubarray(all), (presented) => {
      const expected = presented.includes(low) && presented.includes(middle) ? 'valid' : 'intermediate_unknown';
      assert.equal(verdict(leaf, [root], presented), expected);
    }),
    { numRuns: 40 },
  );
});
