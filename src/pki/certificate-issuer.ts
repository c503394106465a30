import 'reflect-metadata';
import type { KeyObject, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { newSerial, type KeyPair } from './keys.ts';

/** A CA certificate with the key that signs in its name. */
export interface SigningCa {
  readonly certificate: Uint8Array;
  readonly keyPair: KeyPair;
}

export interface Validity {
  /** Epoch milliseconds; certificates hold whole seconds, so it is cut down. */
  readonly notBefore: number;
  /** Epoch milliseconds, cut down to whole seconds. */
  readonly notAfter: number;
}

export interface IssuedCertificate {
  readonly certificate: Uint8Array;
  /** Hexadecimal, lower case. */
  readonly serial: string;
}

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * A self-signed root for a trust domain (X509-SVID §3, §4): CA true, keyCertSign and cRLSign, the trust domain's own
 * SPIFFE ID as URI SAN. Its name carries the serial, so that two roots of one domain are never mistaken for each other.
 */
export async function createRootCertificate(
  request: { readonly uri: string; readonly organization: string; readonly keyPair: KeyPair } & Validity,
): Promise<IssuedCertificate> {
  const serial = newSerial();
  const keys = webCryptoKeys(request.keyPair);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial,
    name: [{ O: [request.organization] }, { '2.5.4.5': [serial] }],
    notBefore: new Date(request.notBefore),
    notAfter: new Date(request.notAfter),
    signingAlgorithm: ECDSA,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: request.uri }], false),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: new Uint8Array(certificate.rawData), serial };
}

/**
 * An X.509-SVID leaf (X509-SVID §3, §4): exactly one URI SAN, CA false, digitalSignature, keyEncipherment and
 * keyAgreement, both serverAuth and clientAuth. The caller has seen to it that it does not outlive the CA.
 */
export async function createLeafCertificate(
  request: {
    readonly uri: string;
    readonly organization: string;
    readonly publicKey: KeyObject;
    readonly ca: SigningCa;
  } & Validity,
): Promise<IssuedCertificate> {
  const serial = newSerial();
  const issuer = new x509.X509Certificate(new Uint8Array(request.ca.certificate));
  const publicKey = request.publicKey.toCryptoKey(ECDSA, true, ['verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: [{ O: [request.organization] }],
    issuer: issuer.subjectName,
    notBefore: new Date(request.notBefore),
    notAfter: new Date(request.notAfter),
    signingAlgorithm: ECDSA,
    publicKey,
    signingKey: webCryptoKeys(request.ca.keyPair).privateKey,
    extensions: [
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment | x509.KeyUsageFlags.keyAgreement,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: request.uri }], false),
    ],
  });
  return { certificate: new Uint8Array(certificate.rawData), serial };
}

function webCryptoKeys(keyPair: KeyPair): { privateKey: webcrypto.CryptoKey; publicKey: webcrypto.CryptoKey } {
  return {
    privateKey: keyPair.privateKey.toCryptoKey(ECDSA, false, ['sign']),
    publicKey: keyPair.publicKey.toCryptoKey(ECDSA, true, ['verify']),
  };
}
