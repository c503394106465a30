import type { SpiffeId } from './spiffe-id.ts';

/** An X.509-SVID with its private key (X509-SVID). Never logged, never serialised but to its holder. */
export interface X509Svid {
  readonly spiffeId: SpiffeId;
  /** DER, leaf first, then intermediates; the root is left out. */
  readonly certificateChain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** Lower-case hexadecimal, without leading zeros. */
  readonly serial: string;
  /** Which CA signed it: the hexadecimal subject key identifier. */
  readonly authorityId: string;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}
