import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { pemEncode } from '../../src/pki/index.ts';

/** A certificate with its key, both PEM. */
export interface WebCertificate {
  readonly cert: string;
  readonly key: string;
}

/** Signs certificates for hosts, as a cluster's CA does. */
export interface WebCa {
  readonly ca: string;
  /** For DNS names and addresses. */
  issue(names: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[]): Promise<WebCertificate>;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export async function createWebCa(): Promise<WebCa> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3600_000) };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=cluster',
    ...validity,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  return {
    ca: pemEncode('CERTIFICATE', new Uint8Array(ca.rawData)),
    async issue(names) {
      const own = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
      const certificate = await x509.X509CertificateGenerator.create({
        subject: 'CN=host',
        issuer: ca.subject,
        ...validity,
        signingAlgorithm: ALGORITHM,
        signingKey: keys.privateKey,
        publicKey: own.publicKey,
        extensions: [new x509.SubjectAlternativeNameExtension([...names])],
      });
      const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', own.privateKey));
      return {
        cert: pemEncode('CERTIFICATE', new Uint8Array(certificate.rawData)),
        key: pemEncode('PRIVATE KEY', key),
      };
    },
  };
}
