import { enumerated, extension, integer, integerFromHex, sequence, tagged, taggedString, time } from './der.ts';
import { keyIdOf, subjectOf } from './leaf-issuer.ts';
import { EXTENSION, signedBy } from './signed.ts';
import { SIGNATURE_ALGORITHMS, type Signer } from './signer.ts';

/** CRLReason (RFC 5280 §5.3.1). */
export const CRL_REASONS = {
  unspecified: 0,
  key_compromise: 1,
  affiliation_changed: 3,
  superseded: 4,
  cessation_of_operation: 5,
  privilege_withdrawn: 9,
} as const;
export type CrlReason = keyof typeof CRL_REASONS;

/** One revoked certificate as a list holds it. */
export function encodeRevokedCertificate(revoked: {
  /** Hexadecimal. */
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly revokedAt: number;
  readonly reason: CrlReason;
}): Uint8Array {
  // RFC 5280 §5.3.1: `unspecified` is said by leaving the extension out.
  const extensions =
    revoked.reason === 'unspecified'
      ? []
      : [sequence(extension(EXTENSION.reasonCode, enumerated(CRL_REASONS[revoked.reason])))];
  return sequence(integerFromHex(revoked.serial), time(revoked.revokedAt), ...extensions);
}

/**
 * A revocation list in DER (RFC 5280 §5), in the name of the CA and signed by its key. Takes entries that are encoded
 * already, so that a list of 100,000 costs one pass over bytes each time it changes.
 */
export async function createRevocationList(request: {
  readonly ca: { readonly certificate: Uint8Array; readonly signer: Signer };
  /** CRL number (§5.2.3), a whole number that only grows. */
  readonly number: number;
  /** Epoch milliseconds. */
  readonly thisUpdate: number;
  /** Epoch milliseconds. */
  readonly nextUpdate: number;
  readonly entries: readonly Uint8Array[];
}): Promise<Uint8Array> {
  const { ca, entries } = request;
  const keyId = Buffer.from(keyIdOf(ca.certificate), 'hex');
  const content = sequence(
    integer(Buffer.from([1])),
    SIGNATURE_ALGORITHMS[ca.signer.type],
    subjectOf(ca.certificate),
    time(request.thisUpdate),
    time(request.nextUpdate),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    tagged(
      0,
      sequence(
        extension(EXTENSION.authorityKeyId, sequence(taggedString(0, keyId))),
        extension(EXTENSION.crlNumber, integerFromHex(request.number.toString(16))),
      ),
    ),
  );
  return await signedBy(ca.signer, content);
}
