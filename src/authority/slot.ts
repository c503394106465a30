import type { KeyType } from './key-manager.ts';

export type AuthorityKind = 'x509' | 'jwt';

/**
 * What an authority is at the moment: published and not signing yet; signing; no longer signing, while what it signed
 * lives; the same, but what it signed is being replaced; out of the bundle.
 */
export type AuthorityState = 'prepared' | 'active' | 'old' | 'tainted' | 'revoked';

interface CommonSlot {
  /** X.509: the CA's subject key identifier in hexadecimal. JWT: the `kid`. */
  readonly id: string;
  readonly state: AuthorityState;
  /** The name of its key in the key manager. */
  readonly keyId: string;
  readonly keyType: KeyType;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  /** Epoch milliseconds. Of a CA: the earliest end on its chain. */
  readonly notAfter: number;
  /** The bundle's sequence number when it was published first. */
  readonly publishedSequence: number;
  /** Epoch milliseconds. */
  readonly publishedAt: number;
  /** An operator asked for it to be activated. */
  readonly activationRequested: boolean;
}

export interface X509Slot extends CommonSlot {
  readonly kind: 'x509';
  /** DER: the CA, then those above it without the root. Just the CA when it signed itself. */
  readonly chain: readonly Uint8Array[];
  /** Roots in DER that verifiers of its SVIDs need. */
  readonly roots: readonly Uint8Array[];
  /** What signed it; absent when it signed itself. */
  readonly upstream?: {
    /** Such as `vault`. */
    readonly kind: string;
    /** Its subject key identifier in hexadecimal. */
    readonly authorityId: string;
  };
}

export interface JwtSlot extends CommonSlot {
  readonly kind: 'jwt';
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
}

export type Slot = X509Slot | JwtSlot;

/** One authority, as operators see it. */
export interface AuthoritySlotStatus {
  readonly kind: AuthorityKind;
  readonly id: string;
  readonly state: AuthorityState;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  /** The bundle's sequence number when it was published first. */
  readonly publishedSequence: number;
  readonly keyId: string;
  readonly keyType: KeyType;
  /** The kind of upstream that made it, such as `vault`; absent when it signed itself. */
  readonly upstream?: string;
  /** The CA that signed it: its subject key identifier in hexadecimal; absent when it signed itself. */
  readonly upstreamAuthorityId?: string;
  /** Whether an operator asked for it to be activated, and it waits. */
  readonly activationRequested: boolean;
  /** Connected Envoys that do not hold a bundle with it yet: of X.509 authorities that are prepared or active. */
  readonly waitingFor: readonly string[];
}
