import 'reflect-metadata';
import { X509Certificate as NodeCertificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { SvidgateError } from '../core/index.ts';
import { formMistake } from './certificate-form.ts';
import type { KeyPair } from './keys.ts';

/** What we read out of a certificate, once, before anything in it is believed. */
export interface Certificate {
  readonly der: Uint8Array;
  /** Hexadecimal, lower case, without leading zeros. */
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  /** Every URI in the subject alternative name, in order. */
  readonly uris: readonly string[];
  /** basicConstraints cA. */
  readonly isCa: boolean;
  /** basicConstraints pathLenConstraint: how many intermediates may stand below it; undefined for any number. */
  readonly pathLength: number | undefined;
  /** The keyUsage bits, or undefined when the extension is missing. */
  readonly keyUsage: KeyUsage | undefined;
  /** Object identifiers of extendedKeyUsage, or undefined when the extension is missing. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** Hexadecimal subject key identifier, or the empty string. */
  readonly subjectKeyId: string;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  /** Object identifiers of critical extensions that we do not process (RFC 5280 §4.2: refuse). */
  readonly unknownCritical: readonly string[];
  /** Whether the key pair is the one that this certificate is for. */
  isFor(keyPair: KeyPair): boolean;
  /** Whether `issuer` issued and signed this certificate. */
  isSignedBy(issuer: Certificate): boolean;
}

export interface KeyUsage {
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly cRLSign: boolean;
}

/** extendedKeyUsage id-kp-clientAuth and id-kp-serverAuth (RFC 5280 §4.2.1.12). */
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/** extendedKeyUsage anyExtendedKeyUsage (RFC 5280 §4.2.1.12). */
export const ANY_USAGE = '2.5.29.37.0';

const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
const PROCESSED = new Set([BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALTERNATIVE_NAME]);

const MAX_CERTIFICATE_BYTES = 64 * 1024;

const nodeCertificates = new WeakMap<Certificate, NodeCertificate>();

/** Throws `certificate_invalid` when the bytes are not one X.509 certificate, hold an extension twice, or are not of the form that Envoy asks for. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw invalid(`certificate is larger than ${MAX_CERTIFICATE_BYTES} bytes`);
  try {
    const node = new NodeCertificate(der);
    const parsed = new x509.X509Certificate(new Uint8Array(der));
    // Both also take PEM, each finds it by rules of its own, and an extension may hold the PEM of another certificate.
    if (!node.raw.equals(der) || !Buffer.from(parsed.rawData).equals(der)) {
      throw invalid('not one X.509 certificate in DER');
    }
    const mistake = formMistake(der);
    if (mistake !== undefined) throw invalid(`certificate has ${mistake}`);
    const certificate = readCertificate(parsed, node);
    nodeCertificates.set(certificate, node);
    return certificate;
  } catch (error) {
    if (error instanceof SvidgateError) throw error;
    throw invalid('not an X.509 certificate in DER', error);
  }
}

function readCertificate(parsed: x509.X509Certificate, node: NodeCertificate): Certificate {
  const types = [...parsed.extensions].map((extension) => extension.type);
  if (new Set(types).size !== types.length) throw invalid('certificate holds an extension twice');
  const usage = parsed.getExtension(x509.KeyUsagesExtension)?.usages;
  const has = (flag: number): boolean => usage !== undefined && (usage & flag) !== 0;
  const constraints = parsed.getExtension(x509.BasicConstraintsExtension);
  const certificate: Certificate = {
    der: new Uint8Array(parsed.rawData),
    serial: parsed.serialNumber.toLowerCase().replace(/^0+(?=.)/, ''),
    notBefore: parsed.notBefore.getTime(),
    notAfter: parsed.notAfter.getTime(),
    uris: uriNames(parsed),
    isCa: constraints?.ca ?? false,
    pathLength: constraints?.pathLength,
    keyUsage:
      usage === undefined
        ? undefined
        : {
            digitalSignature: has(x509.KeyUsageFlags.digitalSignature),
            keyCertSign: has(x509.KeyUsageFlags.keyCertSign),
            cRLSign: has(x509.KeyUsageFlags.cRLSign),
          },
    extendedKeyUsage: parsed.getExtension(x509.ExtendedKeyUsageExtension)?.usages.map(String),
    subjectKeyId: parsed.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId.toLowerCase() ?? '',
    publicKey: node.publicKey.export({ type: 'spki', format: 'der' }),
    unknownCritical: [...parsed.extensions]
      .filter((extension) => extension.critical && !PROCESSED.has(extension.type))
      .map((extension) => extension.type),
    isFor: (keyPair) => node.checkPrivateKey(keyPair.privateKey),
    isSignedBy: (issuer) => {
      const issuerNode = nodeCertificates.get(issuer);
      return issuerNode !== undefined && node.checkIssued(issuerNode) && node.verify(issuerNode.publicKey);
    },
  };
  return certificate;
}

function uriNames(parsed: x509.X509Certificate): readonly string[] {
  const names = parsed.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  return names.filter((name) => name.type === 'url').map((name) => name.value);
}

function invalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('certificate_invalid', message, { cause });
}
