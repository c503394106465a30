import type { KeyObject } from 'node:crypto';
import { SvidgateError } from '../core/index.ts';
import {
  bitString,
  childrenOf,
  contentOf,
  extension,
  integer,
  integerFromHex,
  objectIdentifier,
  octetString,
  sequence,
  tagged,
  taggedString,
  time,
} from './der.ts';
import { parseCertificate } from './certificate.ts';
import { newSerial } from './keys.ts';
import { EXTENSION, nameOf, signedBy } from './signed.ts';
import { SIGNATURE_ALGORITHMS, spkiOf, subjectKeyIdOf, type Signer } from './signer.ts';

export interface Validity {
  /** Epoch milliseconds; certificates hold whole seconds, so it is cut down. */
  readonly notBefore: number;
  /** Epoch milliseconds, cut down to whole seconds. */
  readonly notAfter: number;
}

export interface IssuedCertificate {
  readonly certificate: Uint8Array;
  /** Hexadecimal, lower case, without leading zeros. */
  readonly serial: string;
}

export interface LeafRequest extends Validity {
  readonly uri: string;
  /** Lower-case ASCII; the first is the common name, too, unless it is longer than one may be. */
  readonly dnsNames?: readonly string[] | undefined;
  /** Of the subject; without it and DNS names the subject is empty. */
  readonly organization?: string | undefined;
  /** The key, or its SubjectPublicKeyInfo in DER. */
  readonly publicKey: KeyObject | Uint8Array;
}

/** Issues leaves in the name of one CA. */
export interface LeafIssuer {
  /** The caller has seen to it that it does not outlive the CA. Throws what the signer throws. */
  issue(request: LeafRequest): Promise<IssuedCertificate>;
}

const VERSION_3 = tagged(0, integer(Buffer.from([2])));
/** digitalSignature, keyEncipherment and keyAgreement: bits 0, 2 and 4. */
const KEY_USAGE = extension(EXTENSION.keyUsage, bitString(Buffer.from([0b1010_1000]), 3), true);
/** serverAuth and clientAuth. */
const EXTENDED_KEY_USAGE = extension(
  EXTENSION.extendedKeyUsage,
  sequence(objectIdentifier('1.3.6.1.5.5.7.3.1'), objectIdentifier('1.3.6.1.5.5.7.3.2')),
);
const NOT_A_CA = extension(EXTENSION.basicConstraints, sequence(), true);

/** GeneralName (RFC 5280 §4.2.1.6). */
const DNS_NAME = 2;
const URI = 6;

/** RFC 5280 appendix A: ub-common-name. */
const MAX_COMMON_NAME_LENGTH = 64;

/**
 * Leaves as X.509-SVIDs are (X509-SVID §3, §4): exactly one URI SAN after the DNS names, CA false, digitalSignature,
 * keyEncipherment and keyAgreement, serverAuth and clientAuth. What all leaves of the CA share is encoded once.
 */
export function createLeafIssuer(ca: { readonly certificate: Uint8Array; readonly signer: Signer }): LeafIssuer {
  const algorithm = SIGNATURE_ALGORITHMS[ca.signer.type];
  const issuer = subjectOf(ca.certificate);
  const issuerKeyId = extension(
    EXTENSION.authorityKeyId,
    sequence(taggedString(0, Buffer.from(keyIdOf(ca.certificate), 'hex'))),
  );
  return {
    async issue(request) {
      const serial = newSerial();
      const spki = request.publicKey instanceof Uint8Array ? request.publicKey : spkiOf(request.publicKey);
      const subject = nameOf({ organization: request.organization, commonName: commonNameOf(request.dnsNames) });
      const content = sequence(
        VERSION_3,
        integerFromHex(serial),
        algorithm,
        issuer,
        sequence(time(request.notBefore), time(request.notAfter)),
        subject,
        spki,
        tagged(
          3,
          sequence(
            KEY_USAGE,
            EXTENDED_KEY_USAGE,
            NOT_A_CA,
            extension(EXTENSION.subjectKeyId, octetString(subjectKeyIdOf(spki))),
            issuerKeyId,
            extension(EXTENSION.subjectAltName, alternativeNames(request), contentOf(subject).length === 0),
          ),
        ),
      );
      return { certificate: await signedBy(ca.signer, content), serial };
    },
  };
}

/** The subject of a certificate as it stands there: names are compared byte by byte by some verifiers. */
export function subjectOf(certificate: Uint8Array): Uint8Array {
  const [content = new Uint8Array()] = childrenOf(certificate);
  const [, , , , , subject = new Uint8Array()] = childrenOf(content);
  return subject;
}

/** Its subject key identifier in hexadecimal; where it carries none, the one its key would get from us. */
export function keyIdOf(certificate: Uint8Array): string {
  const { subjectKeyId, publicKey } = parseCertificate(certificate);
  return subjectKeyId === '' ? subjectKeyIdOf(publicKey).toString('hex') : subjectKeyId;
}

function commonNameOf(dnsNames: readonly string[] | undefined): string | undefined {
  const first = dnsNames?.[0];
  return first !== undefined && first.length <= MAX_COMMON_NAME_LENGTH ? first : undefined;
}

function alternativeNames({ uri, dnsNames = [] }: LeafRequest): Buffer {
  return sequence(...dnsNames.map((name) => taggedString(DNS_NAME, ascii(name))), taggedString(URI, ascii(uri)));
}

/** IA5String. Throws `invalid_request` for anything but printable ASCII, which could be read as another name. */
function ascii(text: string): Uint8Array {
  if (!/^[\u0021-\u007e]+$/.test(text)) {
    throw new SvidgateError('invalid_request', 'a name in a certificate must be printable ASCII');
  }
  return Buffer.from(text, 'ascii');
}
