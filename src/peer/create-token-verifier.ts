import type { JwtProviderConfig, JwtSvidConfig } from '../config/index.ts';
import type { Clock, Logger, Metrics, ReadonlyWatchable } from '../core/index.ts';
import type { ForeignBundles, SpiffeId, TrustBundle } from '../spiffe/index.ts';
import { createJwtProvider } from './jwt-provider.ts';
import { createJwtSvidIssuer, JWT_SVID } from './jwt-svid-issuer.ts';
import { createJwtVerifier, type JwtVerifier } from './jwt-verifier.ts';
import { JwksSource } from './jwks-source.ts';
import type { TokenIssuer } from './token-issuer.ts';

export interface TokenVerifierOptions {
  /** Absent: no JWT-SVIDs. */
  readonly jwtSvid?: JwtSvidConfig | undefined;
  /** By name. */
  readonly providers: ReadonlyMap<string, JwtProviderConfig>;
  /** Of our own trust domain. */
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly foreignBundles?: ReadonlyWatchable<ForeignBundles>;
  readonly isRevoked: (id: SpiffeId) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface TokenVerifier extends JwtVerifier {
  /** Keeps the keys of the providers fresh until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** Everything that is configured about tokens. A token that names an issuer goes to that one; else it may be a JWT-SVID. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { jwtSvid, providers, bundle, foreignBundles, clock, logger, metrics, isRevoked } = options;
  const sources: JwksSource[] = [];
  const issuers = new Map<string, TokenIssuer>();
  for (const [name, provider] of providers) {
    const { keys: place, ...rest } = provider;
    const keys = new JwksSource({ provider: name, place, clock, logger, metrics });
    sources.push(keys);
    issuers.set(name, createJwtProvider({ ...rest, name, keys, clock }));
  }
  if (jwtSvid !== undefined) {
    issuers.set(JWT_SVID, createJwtSvidIssuer({ ...jwtSvid, bundle, foreignBundles, clock }));
  }
  const verifier = createJwtVerifier({ issuers, isRevoked, clock });
  return {
    verify: (header, limitMs, book) => verifier.verify(header, limitMs, book),
    async run(signal) {
      await Promise.all(sources.map((source) => source.run(signal)));
    },
  };
}
