import { bitString, objectIdentifier, printableString, sequence, setOf, utf8String } from './der.ts';
import { SIGNATURE_ALGORITHMS, type Signer } from './signer.ts';

/** Puts the signature around what is to be signed, as certificates, requests and revocation lists have it. */
export async function signedBy(signer: Signer, content: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(sequence(content, SIGNATURE_ALGORITHMS[signer.type], bitString(await signer.sign(content))));
}

/** The attributes of a Name (RFC 5280 §4.1.2.4), in this order. One that is undefined is left out. */
export interface NameAttributes {
  readonly organization?: string | undefined;
  readonly commonName?: string | undefined;
  /** Letters and digits. */
  readonly serialNumber?: string | undefined;
}

export function nameOf({ organization, commonName, serialNumber }: NameAttributes): Buffer {
  return sequence(
    ...(organization === undefined ? [] : [attribute('2.5.4.10', utf8String(organization))]),
    ...(commonName === undefined ? [] : [attribute('2.5.4.3', utf8String(commonName))]),
    ...(serialNumber === undefined ? [] : [attribute('2.5.4.5', printableString(serialNumber))]),
  );
}

function attribute(oid: string, value: Uint8Array): Buffer {
  return setOf(sequence(objectIdentifier(oid), value));
}

/** Object identifiers of the extensions that we write (RFC 5280 §4.2, §5.2, §5.3). */
export const EXTENSION = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  reasonCode: '2.5.29.21',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;
