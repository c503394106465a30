/** What is written by hand here, read by @peculiar/x509, node:crypto and openssl. */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey, verify, X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { compactVerify, decodeProtectedHeader } from 'jose';
import {
  createCsr,
  createLeafIssuer,
  createRevocationList,
  createRoot,
  CRL_REASONS,
  encodeRevokedCertificate,
  generateKeyPairOf,
  KEY_TYPES,
  keyTypeOf,
  parseCertificate,
  pemEncode,
  signCompactJws,
  signerFor,
  type CrlReason,
  type KeyType,
  type LeafRequest,
  type Signer,
} from '../../../src/pki/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const openssl = promisify(execFile);
const HOUR = 3600_000;
const NOW = Math.floor(Date.now() / 1000) * 1000;
const VALIDITY = { notBefore: NOW - 10_000, notAfter: NOW + HOUR };
const SUBJECT = { uri: 'spiffe://example.test', organization: 'svidgate' };
const CURVES = { 'ec-p256': 'P-256', 'ec-p384': 'P-384' } as const;

const signers = Object.fromEntries(
  await Promise.all(KEY_TYPES.map(async (type) => [type, signerFor((await generateKeyPairOf(type)).privateKey)])),
) as Record<KeyType, Signer>;
const workloadKeys = await generateKeyPairOf('ec-p256');

async function issue(
  signer: Signer,
  request: Partial<LeafRequest> = {},
): Promise<{ readonly root: Uint8Array; readonly leaf: Uint8Array; readonly serial: string }> {
  const root = await createRoot({ ...SUBJECT, signer, ...VALIDITY });
  const issued = await createLeafIssuer({ certificate: root.certificate, signer }).issue({
    uri: 'spiffe://example.test/orders',
    organization: 'svidgate',
    publicKey: workloadKeys.publicKey,
    ...VALIDITY,
    ...request,
  });
  return { root: root.certificate, leaf: issued.certificate, serial: issued.serial };
}

for (const type of KEY_TYPES) {
  test(`a key of ${type} is what it says, and signs what node and openssl verify`, async () => {
    const signer = signers[type];
    assert.equal(keyTypeOf(signer.publicKey), type);
    const { root, leaf } = await issue(signer);
    assert.ok(new X509Certificate(leaf).verify(signer.publicKey));
    await using folder = await tempFolder();
    await writeFile(join(folder.path, 'root.pem'), pemEncode('CERTIFICATE', root));
    await writeFile(join(folder.path, 'leaf.pem'), pemEncode('CERTIFICATE', leaf));
    const args = ['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', 'root.pem', 'leaf.pem'];
    assert.match((await openssl('openssl', args, { cwd: folder.path })).stdout, /: OK/);
  });

  test(`the token of a key of ${type} is one that jose takes, and no other`, async () => {
    const signer = signers[type];
    for (let count = 0; count < 20; count += 1) {
      const token = await signCompactJws(signer, { keyId: 'kid-1', claims: { sub: 'ä', count } });
      const { payload } = await compactVerify(token, signer.publicKey);
      assert.deepEqual(JSON.parse(Buffer.from(payload).toString()), { sub: 'ä', count });
      assert.equal(decodeProtectedHeader(token).kid, 'kid-1');
    }
  });
}

test('@peculiar/x509 builds the same leaf, byte by byte in each extension', async () => {
  const signer = signers['ec-p256'];
  const dnsNames = ['orders.example.test', '*.example.test'];
  const { root, leaf, serial } = await issue(signer, { dnsNames });
  const ours = new x509.X509Certificate(new Uint8Array(leaf));
  const issuer = new x509.X509Certificate(new Uint8Array(root));
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const publicKey = workloadKeys.publicKey.toCryptoKey(algorithm, true, ['verify']);
  const { keyEncipherment, keyAgreement, digitalSignature } = x509.KeyUsageFlags;
  const theirs = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ O: ['svidgate'] }, { CN: [dnsNames[0]!] }],
    issuer: issuer.subjectName,
    notBefore: new Date(VALIDITY.notBefore),
    notAfter: new Date(VALIDITY.notAfter),
    signingAlgorithm: algorithm,
    publicKey,
    signingKey: workloadKeys.privateKey.toCryptoKey(algorithm, false, ['sign']),
    extensions: [
      new x509.KeyUsagesExtension(digitalSignature | keyEncipherment | keyAgreement, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      new x509.SubjectAlternativeNameExtension([
        ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
        { type: 'url', value: 'spiffe://example.test/orders' },
      ]),
    ],
  });
  assert.equal(ours.serialNumber, theirs.serialNumber);
  assert.equal(ours.issuer, theirs.issuer);
  assert.equal(ours.subject, theirs.subject);
  assert.deepEqual([ours.notBefore, ours.notAfter], [theirs.notBefore, theirs.notAfter]);
  assert.deepEqual(Buffer.from(ours.publicKey.rawData), Buffer.from(theirs.publicKey.rawData));
  const shown = ({ extensions }: x509.X509Certificate): readonly unknown[] =>
    extensions.map(({ rawData }) => Buffer.from(rawData).toString('hex'));
  assert.deepEqual(shown(ours), shown(theirs));
});

test('a subject that is empty makes the SAN critical; a DNS name that is too long is no common name', async () => {
  const signer = signers['ec-p256'];
  const long = `${'a'.repeat(63)}.example.test`;
  const cases = [
    { request: {}, subject: 'O=svidgate', critical: false },
    { request: { organization: undefined }, subject: '', critical: true },
    { request: { organization: undefined, dnsNames: ['a.test'] }, subject: 'CN=a.test', critical: false },
    { request: { dnsNames: [long] }, subject: 'O=svidgate', critical: false },
  ];
  for (const { request, subject, critical } of cases) {
    const parsed = new x509.X509Certificate(new Uint8Array((await issue(signer, request)).leaf));
    assert.equal(parsed.subject, subject);
    assert.equal(parsed.getExtension(x509.SubjectAlternativeNameExtension)?.critical, critical);
  }
});

test('names that are no printable ASCII are refused, and never cut or folded', async () => {
  for (const name of ['a\u0000b', 'ä.test', 'a b', '', 'a\nb']) {
    await assert.rejects(issue(signers['ec-p256'], { dnsNames: [name] }), { code: 'invalid_request' });
    await assert.rejects(issue(signers['ec-p256'], { uri: name }), { code: 'invalid_request' });
  }
});

test('whatever the names and times, the leaf reads back as it was asked for', async () => {
  const name = fc.stringMatching(/^[a-z0-9-]{1,40}(\.[a-z0-9-]{1,40}){0,4}$/);
  const times = fc.tuple(fc.integer({ min: 0, max: 4e9 }), fc.integer({ min: 1, max: 1e9 }));
  await fc.assert(
    fc.asyncProperty(fc.array(name, { maxLength: 20 }), name, times, async (dnsNames, path, [start, life]) => {
      const uri = `spiffe://example.test/${path}`;
      const validity = { notBefore: start * 1000, notAfter: (start + life) * 1000 };
      const { leaf, root, serial } = await issue(signers['ec-p256'], { dnsNames, uri, ...validity });
      const parsed = parseCertificate(leaf);
      assert.deepEqual(parsed.uris, [uri]);
      assert.equal(parsed.serial, serial);
      assert.deepEqual([parsed.notBefore, parsed.notAfter], [validity.notBefore, validity.notAfter]);
      assert.ok(parsed.isSignedBy(parseCertificate(root)));
      const alternative = new X509Certificate(leaf).subjectAltName;
      assert.equal(alternative, [...dnsNames.map((dns) => `DNS:${dns}`), `URI:${uri}`].join(', '));
    }),
    { numRuns: 60 },
  );
});

test('a root says what it is, and two of one domain have different names', async () => {
  const one = await createRoot({ ...SUBJECT, signer: signers['ec-p384'], ...VALIDITY });
  const two = await createRoot({ ...SUBJECT, signer: signers['ec-p384'], ...VALIDITY });
  const parsed = parseCertificate(one.certificate);
  assert.deepEqual([parsed.isCa, parsed.pathLength, parsed.uris], [true, undefined, [SUBJECT.uri]]);
  assert.deepEqual(parsed.keyUsage, { digitalSignature: false, keyCertSign: true, cRLSign: true });
  assert.ok(parsed.isSignedBy(parsed));
  assert.notEqual(new X509Certificate(one.certificate).subject, new X509Certificate(two.certificate).subject);
});

for (const type of KEY_TYPES) {
  test(`a certification request of a key of ${type} is one that openssl verifies, with the SPIFFE ID`, async () => {
    const csr = await createCsr({ ...SUBJECT, signer: signers[type] });
    await using folder = await tempFolder();
    await writeFile(join(folder.path, 'csr'), csr);
    const args = ['req', '-inform', 'DER', '-in', join(folder.path, 'csr'), '-verify', '-noout', '-text'];
    const { stdout, stderr } = await openssl('openssl', args);
    assert.match(stderr, /verify OK/);
    assert.match(stdout, /URI:spiffe:\/\/example\.test\n/);
    assert.match(stdout, /CA:TRUE/);
    assert.match(stdout, /Certificate Sign, CRL Sign/);
  });
}

test('@peculiar/x509 reads every entry of a list, with its reason', async () => {
  const signer = signers['ec-p256'];
  const { root } = await issue(signer);
  const reasons = Object.keys(CRL_REASONS) as CrlReason[];
  const revoked = reasons.map((reason, index) => ({ serial: `${index + 1}f`, reason, revokedAt: NOW - index * 1000 }));
  const der = await createRevocationList({
    ca: { certificate: root, signer },
    number: 300,
    thisUpdate: VALIDITY.notBefore,
    nextUpdate: VALIDITY.notAfter,
    entries: revoked.map(encodeRevokedCertificate),
  });
  const list = new x509.X509Crl(new Uint8Array(der));
  const issuer = new x509.X509Certificate(new Uint8Array(root));
  assert.ok(await list.verify({ publicKey: issuer }));
  assert.equal(list.issuer, issuer.subject);
  assert.deepEqual([list.thisUpdate.getTime(), list.nextUpdate?.getTime()], [VALIDITY.notBefore, VALIDITY.notAfter]);
  assert.deepEqual(
    list.entries.map(({ serialNumber, revocationDate, reason = 0 }) => [
      serialNumber,
      revocationDate.getTime(),
      reason,
    ]),
    revoked.map(({ serial, reason, revokedAt }) => [serial, revokedAt, CRL_REASONS[reason]]),
  );
});

test('an RSA key pair of a workload and one on P-384 fit into a leaf', async () => {
  for (const type of ['ec-p384', 'rsa-2048'] as const) {
    const { publicKey, privateKey } = await generateKeyPairOf(type);
    const { leaf } = await issue(signers['ec-p256'], { publicKey });
    assert.ok(new X509Certificate(leaf).checkPrivateKey(privateKey));
    assert.equal(
      type === 'ec-p384' ? CURVES[type] : 'rsa',
      type === 'ec-p384' ? createPublicKey(privateKey).export({ format: 'jwk' }).crv : publicKey.asymmetricKeyType,
    );
  }
});

test('an ECDSA signature in a token is r and s side by side, padded to the curve', async () => {
  const signer = signers['ec-p384'];
  const token = await signCompactJws(signer, { keyId: 'k', claims: {} });
  const [header, claims, signature] = token.split('.');
  const bytes = Buffer.from(signature!, 'base64url');
  assert.equal(bytes.length, 96);
  const key = { key: signer.publicKey, dsaEncoding: 'ieee-p1363' } as const;
  assert.ok(verify('sha384', Buffer.from(`${header}.${claims}`), key, bytes));
});
