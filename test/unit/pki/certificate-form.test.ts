import assert from 'node:assert/strict';
import { test } from 'node:test';
import { X509Certificate } from 'node:crypto';
import { generateKeyPair, parseCertificate } from '../../../src/pki/index.ts';
import { createRootCertificate } from '../../support/certificates.ts';

/** A root that is valid until 2049, or beyond, where times are written otherwise. */
async function makeRoot(notAfter: number): Promise<Buffer> {
  const times = { notBefore: Date.UTC(2026, 1, 28), notAfter };
  const request = { uri: 'spiffe://example.test', organization: 'Test', keyPair: generateKeyPair(), ...times };
  return Buffer.from((await createRootCertificate(request)).certificate);
}

const BEFORE_2050 = Date.UTC(2049, 11, 31, 23, 59, 59);
const VERSION = Buffer.from('a003020102', 'hex');

/** With one text of a time in the place of another of the same length. */
const withTime =
  (from: string, to: string) =>
  (der: Buffer): void =>
    void der.write(to, der.indexOf(from), 'latin1');

const withVersion =
  (version: number) =>
  (der: Buffer): void =>
    void der.writeUInt8(version, der.indexOf(VERSION) + VERSION.length - 1);

const refused = [
  { name: 'extensions in version 1', change: withVersion(0), says: 'a version other than 3' },
  { name: 'extensions in version 2', change: withVersion(1), says: 'a version other than 3' },
  { name: 'version 4', change: withVersion(3), says: 'a version other than 3' },
  { name: 'a month 13', change: withTime('491231', '491331'), says: 'a time' },
  { name: 'a 29 February of a year without', change: withTime('491231', '490229'), says: 'a time' },
  { name: 'an hour 24', change: withTime('235959Z', '245959Z'), says: 'a time' },
  { name: 'a second 60', change: withTime('235959Z', '235960Z'), says: 'a time' },
  { name: 'no Z', change: withTime('235959Z', '2359590'), says: 'a time' },
  { name: 'a sign', change: withTime('235959Z', '+35959Z'), says: 'a time' },
];

for (const { name, change, says } of refused) {
  test(`${name}: OpenSSL lets it pass, and it is refused, since Envoy would refuse all that is sent with it`, async () => {
    const der = await makeRoot(BEFORE_2050);
    parseCertificate(der);
    change(der);
    assert.ok(new X509Certificate(der).raw.equals(der));
    assert.throws(() => parseCertificate(der), { code: 'certificate_invalid', message: new RegExp(says) });
  });
}

for (const notAfter of [BEFORE_2050, Date.UTC(2050, 0, 1), Date.UTC(2096, 1, 29)]) {
  test(`an end at ${new Date(notAfter).toISOString()} is read`, async () => {
    assert.equal(parseCertificate(await makeRoot(notAfter)).notAfter, notAfter);
  });
}
