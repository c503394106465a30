import { bitString, extension, integer, integerFromHex, objectIdentifier, octetString, sequence } from './der.ts';
import { setOf, tagged, taggedString, time, TRUE } from './der.ts';
import { newSerial } from './keys.ts';
import type { IssuedCertificate, Validity } from './leaf-issuer.ts';
import { EXTENSION, nameOf, signedBy } from './signed.ts';
import { SIGNATURE_ALGORITHMS, spkiOf, subjectKeyIdOf, type Signer } from './signer.ts';

export interface CaSubject {
  /** The trust domain's own SPIFFE ID, the URI SAN (X509-SVID §4.1). */
  readonly uri: string;
  readonly organization: string;
  /** The CA's own key. */
  readonly signer: Signer;
}

const IS_CA = extension(EXTENSION.basicConstraints, sequence(TRUE), true);
/** keyCertSign and cRLSign: bits 5 and 6. */
const KEY_USAGE = extension(EXTENSION.keyUsage, bitString(Buffer.from([0b0000_0110]), 1), true);
/** PKCS#9 extensionRequest (RFC 2985 §5.4.2). */
const EXTENSION_REQUEST = objectIdentifier('1.2.840.113549.1.9.14');
const URI = 6;

/**
 * A self-signed root for a trust domain (X509-SVID §3, §4): CA true, keyCertSign and cRLSign, the trust domain's own
 * SPIFFE ID as URI SAN. Its name carries the serial, so that two roots of one domain are never mistaken for each other.
 */
export async function createRoot(request: CaSubject & Validity): Promise<IssuedCertificate> {
  const serial = newSerial();
  const name = nameOf({ organization: request.organization, serialNumber: serial });
  const content = sequence(
    tagged(0, integer(Buffer.from([2]))),
    integerFromHex(serial),
    SIGNATURE_ALGORITHMS[request.signer.type],
    name,
    sequence(time(request.notBefore), time(request.notAfter)),
    name,
    spkiOf(request.signer.publicKey),
    tagged(3, sequence(...caExtensions(request))),
  );
  return { certificate: await signedBy(request.signer, content), serial };
}

/**
 * A certification request (PKCS#10, RFC 2986) in DER that asks for an intermediate CA: the same subject and extensions as
 * a root has, without a validity, which the upstream sets.
 */
export async function createCsr(request: CaSubject): Promise<Uint8Array> {
  const attribute = sequence(EXTENSION_REQUEST, setOf(sequence(...caExtensions(request))));
  const content = sequence(
    integer(Buffer.from([0])),
    nameOf({ organization: request.organization, serialNumber: newSerial() }),
    spkiOf(request.signer.publicKey),
    tagged(0, attribute),
  );
  return await signedBy(request.signer, content);
}

function caExtensions({ uri, signer }: CaSubject): readonly Uint8Array[] {
  const keyId = subjectKeyIdOf(spkiOf(signer.publicKey));
  return [
    IS_CA,
    KEY_USAGE,
    extension(EXTENSION.subjectAltName, sequence(taggedString(URI, Buffer.from(uri, 'ascii')))),
    extension(EXTENSION.subjectKeyId, octetString(keyId)),
  ];
}
