import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { generateKeyPair, parseCertificate, pemCertificates, pemEncode } from '../../../src/pki/index.ts';
import { createLeafCertificate, createRootCertificate } from '../../support/certificates.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const NOW = Date.now();

async function makeChain() {
  const rootKeys = generateKeyPair();
  const times = { notBefore: NOW - 10_000, notAfter: NOW + 3_600_000, organization: 'svidgate' };
  const root = await createRootCertificate({ ...times, uri: 'spiffe://example.test', keyPair: rootKeys });
  const leafKeys = generateKeyPair();
  const leaf = await createLeafCertificate({
    ...times,
    uri: 'spiffe://example.test/orders',
    publicKey: leafKeys.publicKey,
    ca: { certificate: root.certificate, keyPair: rootKeys },
  });
  return { root, leaf };
}

test('openssl takes the chain for both purposes and reads the SPIFFE profile from the leaf', async () => {
  await using folder = await tempFolder();
  const { root, leaf } = await makeChain();
  const rootFile = join(folder.path, 'root.pem');
  const leafFile = join(folder.path, 'leaf.pem');
  await writeFile(rootFile, pemEncode('CERTIFICATE', root.certificate));
  await writeFile(leafFile, pemEncode('CERTIFICATE', leaf.certificate));
  for (const purpose of ['sslserver', 'sslclient']) {
    const answer = execFileSync('openssl', [
      'verify',
      '-x509_strict',
      '-purpose',
      purpose,
      '-CAfile',
      rootFile,
      leafFile,
    ]);
    assert.match(answer.toString(), /: OK/);
  }
  const text = execFileSync('openssl', ['x509', '-in', leafFile, '-noout', '-text']).toString();
  assert.match(text, /URI:spiffe:\/\/example\.test\/orders\n/);
  assert.match(text, /Key Usage: critical\s+Digital Signature, Key Encipherment, Key Agreement\n/);
  assert.match(text, /TLS Web Server Authentication, TLS Web Client Authentication/);
  assert.match(text, /CA:FALSE/);
  const serial = execFileSync('openssl', ['x509', '-in', leafFile, '-noout', '-serial']).toString();
  assert.equal(serial.trim().toLowerCase(), `serial=${leaf.serial}`);
});

test('a parsed certificate tells what was put in, and who signed it', async () => {
  const { root, leaf } = await makeChain();
  const parsedRoot = parseCertificate(root.certificate);
  const parsedLeaf = parseCertificate(leaf.certificate);
  assert.deepEqual(parsedLeaf.uris, ['spiffe://example.test/orders']);
  assert.equal(parsedLeaf.serial, leaf.serial);
  assert.equal(parsedLeaf.isCa, false);
  assert.equal(parsedRoot.isCa, true);
  assert.deepEqual(parsedRoot.keyUsage, { digitalSignature: false, keyCertSign: true, cRLSign: true });
  assert.equal(parsedLeaf.isSignedBy(parsedRoot), true);
  assert.equal(parsedRoot.isSignedBy(parsedLeaf), false);
  const other = await makeChain();
  assert.equal(parsedLeaf.isSignedBy(parseCertificate(other.root.certificate)), false);
});

test('a changed byte anywhere never leaves a certificate that its root has signed', async () => {
  const { root, leaf } = await makeChain();
  const parsedRoot = parseCertificate(root.certificate);
  fc.assert(
    fc.property(fc.nat(leaf.certificate.length - 1), fc.integer({ min: 1, max: 255 }), (place, change) => {
      const damaged = Uint8Array.from(leaf.certificate);
      damaged[place] = (damaged[place] ?? 0) ^ change;
      try {
        assert.equal(parseCertificate(damaged).isSignedBy(parsedRoot), false);
      } catch (error) {
        assert.ok(error instanceof SvidgateError && error.code === 'certificate_invalid', String(error));
      }
    }),
    { numRuns: 200 },
  );
});

test('bytes of any kind give a certificate or certificate_invalid', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      assert.throws(() => parseCertificate(bytes), { code: 'certificate_invalid' });
    }),
    { numRuns: 100 },
  );
});

test('PEM holds one block for each certificate', async () => {
  const { root, leaf } = await makeChain();
  const pem = `# bundle\n${pemEncode('CERTIFICATE', leaf.certificate)}\n${pemEncode('CERTIFICATE', root.certificate)}`;
  assert.deepEqual(
    pemCertificates(pem).map((der) => Buffer.from(der)),
    [Buffer.from(leaf.certificate), Buffer.from(root.certificate)],
  );
});
