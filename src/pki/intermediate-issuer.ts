import 'reflect-metadata';
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { SvidgateError } from '../core/index.ts';
import { parseCertificate, type Certificate } from './certificate.ts';
import { newSerial } from './keys.ts';
import type { IssuedCertificate, Validity } from './leaf-issuer.ts';

/** A certification request that was signed by the key it is about. */
export interface CertificationRequest {
  readonly der: Uint8Array;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  /** Every URI that it asks for. */
  readonly uris: readonly string[];
}

/** A CA from outside, whose key is here: EC on P-256, P-384 or P-521, or RSA of 2048 to 8192 bits. */
export interface OutsideCa {
  readonly certificate: Certificate;
  readonly privateKey: KeyObject;
}

const MAX_CSR_BYTES = 64 * 1024;

const EC_ALGORITHMS: Readonly<Record<string, { readonly namedCurve: string; readonly hash: string }>> = {
  prime256v1: { namedCurve: 'P-256', hash: 'SHA-256' },
  secp384r1: { namedCurve: 'P-384', hash: 'SHA-384' },
  secp521r1: { namedCurve: 'P-521', hash: 'SHA-512' },
};
const RSA_BITS = { min: 2048, max: 8192 };

/** Throws `invalid_request` unless it is PKCS#10 in DER, signed by its own key. */
export async function parseCsr(der: Uint8Array): Promise<CertificationRequest> {
  const request = await readRequest(der);
  return { der, publicKey: new Uint8Array(request.publicKey.rawData), uris: urisOf(request) };
}

/**
 * Signs a request as an intermediate CA that may sign leaves only (pathLenConstraint 0), with the request's subject, key
 * and URIs (RFC 5280 §4.2.1.9; X509-SVID §4). The caller has seen to the validity and to what the CA may do.
 * Throws `invalid_request`.
 */
export async function signIntermediate(
  request: { readonly csr: Uint8Array; readonly ca: OutsideCa } & Validity,
): Promise<IssuedCertificate> {
  const csr = await readRequest(request.csr);
  const issuer = new x509.X509Certificate(new Uint8Array(request.ca.certificate.der));
  const algorithm = algorithmOf(request.ca.privateKey);
  const serial = newSerial();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject: csr.subjectName,
    issuer: issuer.subjectName,
    notBefore: new Date(request.notBefore),
    notAfter: new Date(request.notAfter),
    publicKey: csr.publicKey,
    signingAlgorithm: algorithm,
    signingKey: request.ca.privateKey.toCryptoKey(algorithm, false, ['sign']),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension(urisOf(csr).map((value) => ({ type: 'url', value }))),
      await x509.SubjectKeyIdentifierExtension.create(csr.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { certificate: new Uint8Array(certificate.rawData), serial };
}

/**
 * The CA of a certificate and the PEM of its private key (PKCS#8, SEC 1 or PKCS#1, not encrypted). Throws
 * `certificate_invalid` with what does not fit, and with nothing of the key: no such key, one of a type that cannot sign, or
 * the key of another certificate.
 */
export function outsideCa(certificate: Uint8Array, privateKeyPem: string): OutsideCa {
  const parsed = parseCertificate(certificate);
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(privateKeyPem);
  } catch {
    const why = /ENCRYPTED/.test(privateKeyPem) ? 'is encrypted' : 'is no private key in PEM';
    throw new SvidgateError('certificate_invalid', `the key ${why}`);
  }
  algorithmOf(privateKey);
  if (!parsed.isFor({ privateKey, publicKey: createPublicKey(privateKey) })) {
    throw new SvidgateError('certificate_invalid', 'the key is not that of the certificate');
  }
  return { certificate: parsed, privateKey };
}

function urisOf(request: x509.Pkcs10CertificateRequest): readonly string[] {
  const names = request.extensions.find((extension) => extension instanceof x509.SubjectAlternativeNameExtension);
  return (names?.names.items ?? []).filter((name) => name.type === 'url').map((name) => name.value);
}

async function readRequest(der: Uint8Array): Promise<x509.Pkcs10CertificateRequest> {
  if (der.length > MAX_CSR_BYTES) throw refused(`has more than ${MAX_CSR_BYTES} bytes`);
  try {
    const request = new x509.Pkcs10CertificateRequest(new Uint8Array(der));
    // The parser also takes PEM.
    const isDer = Buffer.from(request.rawData).equals(der);
    if (isDer && (await request.verify())) return request;
  } catch (cause) {
    throw refused('is not PKCS#10 in DER', cause);
  }
  throw refused('is not signed by its own key');
}

function refused(what: string, cause?: unknown): SvidgateError {
  return new SvidgateError('invalid_request', `the certification request ${what}`, { cause });
}

function algorithmOf(key: KeyObject): { readonly name: string; readonly hash: string; readonly namedCurve?: string } {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const curve = key.asymmetricKeyType === 'ec' ? EC_ALGORITHMS[namedCurve] : undefined;
  if (curve !== undefined) return { name: 'ECDSA', ...curve };
  const isRsa = key.asymmetricKeyType === 'rsa' && modulusLength >= RSA_BITS.min && modulusLength <= RSA_BITS.max;
  if (isRsa) return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  throw new SvidgateError(
    'certificate_invalid',
    'the key cannot sign: expected P-256, P-384 or P-521, or RSA of 2048 to 8192 bits',
  );
}
