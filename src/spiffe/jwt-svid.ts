import type { SpiffeId } from './spiffe-id.ts';

/** A JWT-SVID (JWT-SVID §3). The token is never logged. */
export interface JwtSvid {
  readonly spiffeId: SpiffeId;
  /** Compact serialisation of the JWS. */
  readonly token: string;
  /** Epoch milliseconds. */
  readonly issuedAt: number;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** The `kid` of the key that signed it. */
  readonly keyId: string;
}
