import type { ReadonlyWatchable } from '../core/index.ts';
import type { Revocation, RevocationReason, RevocationTarget, SpiffeId } from '../spiffe/index.ts';

/** All revocations at one moment. Never changes. */
export interface RevocationSnapshot {
  /** Oldest first. */
  readonly all: readonly Revocation[];
  hasSerial(serial: string): boolean;
  /** Whether the ID itself is revoked. */
  hasSpiffeId(id: SpiffeId): boolean;
  /** Whether an SVID of this ID that has not ended is revoked by its serial: for a gate that is shown no certificate. */
  hasSerialOf(id: SpiffeId): boolean;
}

export interface Revocations {
  readonly snapshot: ReadonlyWatchable<RevocationSnapshot>;
  /** Stored before it returns. Revoking twice gives the first one again. */
  revoke(request: { readonly target: RevocationTarget; readonly reason: RevocationReason }): Promise<Revocation>;
  /** Throws `not_found`. */
  undo(id: string): Promise<Revocation>;
}
