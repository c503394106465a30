import type { TrustDomain } from './spiffe-id.ts';

/** A key that signs JWT-SVIDs, as others see it. */
export interface JwtAuthority {
  /** The `kid` of its tokens. */
  readonly keyId: string;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
}

/** What proves the SVIDs of one trust domain (SPIFFE Trust Domain and Bundle §3). Never merged with another domain's. */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  /** Root certificates in DER, in the order they were added. */
  readonly x509Authorities: readonly Uint8Array[];
  /** In the order they were added. */
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** Certificate revocation lists in DER: none, or one for each X.509 authority (Envoy refuses everybody otherwise). */
  readonly revocationLists?: readonly Uint8Array[];
  /** Grows by one with each change (SPIFFE Bundle §4.1.1). */
  readonly sequence: number;
  /** How often to look for a new one (SPIFFE Bundle §4.1.2), in seconds; absent when its issuer gave none. */
  readonly refreshHintSeconds?: number;
}

/** Bundles of foreign trust domains by name. */
export type ForeignBundles = ReadonlyMap<TrustDomain, TrustBundle>;
