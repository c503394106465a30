import type { TrustDomain } from './spiffe-id.ts';

/** What proves the SVIDs of one trust domain (SPIFFE Trust Domain and Bundle §3). Never merged with another domain's. */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  /** Root certificates in DER, in the order they were added. */
  readonly x509Authorities: readonly Uint8Array[];
  /** Grows by one with each change (SPIFFE Bundle §4.1.1). */
  readonly sequence: number;
}
