import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { pemEncode } from '../../src/pki/index.ts';

/**
 * A certificate for the URI, signed by nobody we know. In an extension it carries the text of one that is genuine, and
 * public: readers that look for PEM find that one.
 */
export async function forgeAround(
  genuine: Uint8Array,
  uri: string,
  times: { readonly notBefore: number; readonly notAfter: number } = aroundNow(),
): Promise<{ readonly der: Uint8Array; readonly keyPem: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=forged',
    notBefore: new Date(times.notBefore),
    notAfter: new Date(times.notAfter),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: uri }]),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.Extension('1.2.3.4', false, Buffer.from(`\n${pemEncode('CERTIFICATE', genuine)}`)),
    ],
  });
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { der: new Uint8Array(certificate.rawData), keyPem: pemEncode('PRIVATE KEY', key) };
}

function aroundNow(): { readonly notBefore: number; readonly notAfter: number } {
  const now = Date.now();
  return { notBefore: now - 60_000, notAfter: now + 3600_000 };
}
