import type { Clock, ReadonlyWatchable } from '../core/index.ts';
import {
  trustDomainOf,
  verifyJwtSvid,
  type ForeignBundles,
  type TrustBundle,
  type TrustDomain,
} from '../spiffe/index.ts';
import { MAX_KEY_CHANGES, TokenRefused, type TokenIssuer } from './token-issuer.ts';
import type { TokenPlace } from './token-finder.ts';

/** The name of JWT-SVIDs among the issuers. */
export const JWT_SVID = 'jwt_svid';

export interface JwtSvidIssuerOptions {
  readonly place: TokenPlace;
  /** The token must be for one of them. */
  readonly audiences: readonly string[];
  readonly singleUse: boolean;
  /** Of our own trust domain. */
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly foreignBundles?: ReadonlyWatchable<ForeignBundles> | undefined;
  readonly clock: Clock;
}

/** JWT-SVIDs of our own trust domain and of those whose bundles we hold. Their end has no grace (JWT-SVID §3.3). */
export function createJwtSvidIssuer(options: JwtSvidIssuerOptions): TokenIssuer {
  const { place, audiences, singleUse, clock } = options;
  const bundles = (trustDomain: TrustDomain): TrustBundle | undefined => {
    const own = options.bundle.value;
    return trustDomain === own.trustDomain ? own : options.foreignBundles?.value.get(trustDomain);
  };
  return {
    place,
    isFor: ({ sub }) => typeof sub === 'string' && sub.startsWith('spiffe://'),
    async check(token) {
      for (let tries = 1; tries <= MAX_KEY_CHANGES; tries += 1) {
        const used = new Map<TrustDomain, TrustBundle | undefined>();
        const verified = await verifyJwtSvid(token, {
          audience: audiences,
          bundles: (trustDomain) => {
            const bundle = bundles(trustDomain);
            used.set(trustDomain, bundle);
            return bundle;
          },
          now: clock.now(),
        });
        const { spiffeId, expiresAt, claims, claimsText } = verified;
        const trustDomain = trustDomainOf(spiffeId);
        const isCurrent = (): boolean => bundles(trustDomain) === used.get(trustDomain);
        if (!isCurrent()) continue;
        const { iat } = claims;
        return {
          provider: JWT_SVID,
          claims,
          claimsText,
          spiffeId,
          issuedAt: typeof iat === 'number' ? iat * 1000 : undefined,
          refusedFrom: expiresAt,
          ...(singleUse ? { singleUseOf: trustDomain } : {}),
          isCurrent,
        };
      }
      throw new TokenRefused('keys_unavailable');
    },
  };
}
