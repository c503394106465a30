import type { JwtRefusal, SpiffeId } from '../spiffe/index.ts';
import type { TokenPlace } from './token-finder.ts';

/** Why a token is not verified. A closed set: policies read it as `input.svidgate.jwt.reason`. */
export type TokenRefusal =
  | JwtRefusal
  | 'unknown_issuer'
  | 'claim_mismatch'
  | 'keys_unavailable'
  | 'revoked'
  | 'replayed'
  | 'replay_cache_full'
  | 'issued_before_start';

/** A token that was checked: its signature, who it is from and for, and its times. */
export interface CheckedToken {
  readonly provider: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** The claims as they were signed. */
  readonly claimsText: string;
  /** JWT-SVIDs only. */
  readonly spiffeId?: SpiffeId;
  /** Not before this. Epoch milliseconds. */
  readonly issuedAt: number | undefined;
  /** When it is not taken any more, with the grace that its issuer has. Epoch milliseconds. */
  readonly refusedFrom: number;
  /** Set when a token is good for one use: whose `jti`s are told apart. */
  readonly singleUseOf?: string;
  /** Whether the keys are still those that it was checked with. */
  isCurrent(): boolean;
}

/** Checks the tokens of one issuer, or of one kind. */
export interface TokenIssuer {
  readonly place: TokenPlace;
  /** Whether a token with these claims, which are not proven, is for this one to check. */
  isFor(claims: Readonly<Record<string, unknown>>): boolean;
  /** Throws JwtInvalidError or TokenRefused. It may ask for keys, for no longer than `limitMs`. */
  check(token: string, limitMs: number): Promise<CheckedToken>;
}

/** Ends a check with a reason that is no matter of the token's form. */
export class TokenRefused extends Error {
  readonly reason: TokenRefusal;

  constructor(reason: TokenRefusal) {
    super(reason);
    this.reason = reason;
  }
}

/** How often a check begins again because keys changed while it was under way. */
export const MAX_KEY_CHANGES = 3;
