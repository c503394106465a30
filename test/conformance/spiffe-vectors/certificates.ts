import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

const { digitalSignature, keyCertSign, cRLSign, keyEncipherment } = x509.KeyUsageFlags;
export const USAGE = { digitalSignature, keyCertSign, cRLSign, keyEncipherment } as const;

/** A CA that can sign, by itself or under another one. */
export interface TestCa {
  readonly der: Uint8Array;
  readonly certificate: x509.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

/** What a certificate says; what is absent is as X509-SVID wants it. `null` leaves the extension away. */
export interface CertificateForm {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly subject?: string;
  readonly isCa?: boolean | null;
  readonly pathLength?: number;
  readonly keyUsage?: x509.KeyUsageFlags | null;
  readonly isKeyUsageCritical?: boolean;
  readonly extendedKeyUsage?: readonly string[];
  /** Milliseconds from now. */
  readonly notBefore?: number;
  /** Milliseconds from now. */
  readonly notAfter?: number;
  readonly extensions?: readonly x509.Extension[];
}

/** A root, or an intermediate under `issuer`. */
export async function makeCa(form: CertificateForm = {}, issuer?: TestCa): Promise<TestCa> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const made = await make(
    { isCa: true, keyUsage: keyCertSign | cRLSign, uris: ['spiffe://example.test'], ...form },
    keys,
    issuer,
  );
  return { der: new Uint8Array(made.rawData), certificate: made, keys };
}

/** A leaf in DER. */
export async function makeLeaf(form: CertificateForm, issuer: TestCa): Promise<Uint8Array> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const usual = { uris: ['spiffe://example.test/orders'], keyUsage: digitalSignature, isCa: false };
  return new Uint8Array((await make({ ...usual, ...form }, keys, issuer)).rawData);
}

let count = 0;

async function make(
  form: CertificateForm,
  keys: webcrypto.CryptoKeyPair,
  issuer?: TestCa,
): Promise<x509.X509Certificate> {
  const now = Date.now();
  count += 1;
  const common = {
    serialNumber: (0x1000 + count).toString(16),
    notBefore: new Date(now + (form.notBefore ?? -DAY_MS)),
    notAfter: new Date(now + (form.notAfter ?? DAY_MS)),
    signingAlgorithm: ALGORITHM,
    extensions: await extensionsOf(form, keys),
  };
  const subject = form.subject ?? `O=Test ${count}`;
  return issuer === undefined
    ? await x509.X509CertificateGenerator.createSelfSigned({ ...common, name: subject, keys })
    : await x509.X509CertificateGenerator.create({
        ...common,
        subject,
        issuer: issuer.certificate.subjectName,
        publicKey: keys.publicKey,
        signingKey: issuer.keys.privateKey,
      });
}

async function extensionsOf(form: CertificateForm, keys: webcrypto.CryptoKeyPair): Promise<x509.Extension[]> {
  const { isCa = null, keyUsage = null, uris = [], dnsNames = [], extendedKeyUsage } = form;
  const names = [
    ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ...uris.map((value) => ({ type: 'url' as const, value })),
  ];
  return [
    ...(isCa === null ? [] : [new x509.BasicConstraintsExtension(isCa, form.pathLength, true)]),
    ...(keyUsage === null ? [] : [new x509.KeyUsagesExtension(keyUsage, form.isKeyUsageCritical ?? true)]),
    ...(extendedKeyUsage === undefined ? [] : [new x509.ExtendedKeyUsageExtension([...extendedKeyUsage])]),
    ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names, form.subject === '')]),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ...(form.extensions ?? []),
  ];
}
