import type { SpiffeId } from './spiffe-id.ts';

/** Reasons of RFC 5280 §5.3.1 that fit an SVID. */
export const REVOCATION_REASONS = [
  'unspecified',
  'key_compromise',
  'affiliation_changed',
  'superseded',
  'cessation_of_operation',
  'privilege_withdrawn',
] as const;
export type RevocationReason = (typeof REVOCATION_REASONS)[number];

/** One revocation, as it is stored, listed and undone. */
export interface Revocation {
  /** Its own name, for undoing it. */
  readonly id: string;
  readonly target: RevocationTarget;
  readonly reason: RevocationReason;
  /** Epoch milliseconds. */
  readonly revokedAt: number;
}

export type RevocationTarget =
  | {
      readonly kind: 'serial';
      /** Lower-case hexadecimal without leading zeros. */
      readonly serial: string;
      /** The CA that signed it, its holder and its end, where we know them. */
      readonly authorityId?: string;
      readonly spiffeId?: SpiffeId;
      /** Epoch milliseconds. */
      readonly notAfter?: number;
      /** Its holder has ended: nobody has its key any more, so the gate alone looks for it, and no revocation list names it. */
      readonly holderEnded?: boolean;
    }
  | { readonly kind: 'spiffe_id'; readonly spiffeId: SpiffeId };
