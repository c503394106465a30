import type { Revocations } from '../authority/index.ts';
import type { ReadonlyWatchable } from '../core/index.ts';
import {
  createPeerVerifier,
  createRequestVerifier,
  createTokenVerifier,
  createXfccVerifier,
  type RequestVerifier,
} from '../peer/index.ts';
import type { ForeignBundles, TrustBundle } from '../spiffe/index.ts';
import type { PartsContext } from './authority-parts.ts';

/** How the gate finds out who sent a request. */
export interface GateIdentity {
  readonly requests: RequestVerifier;
  /** Keeps the keys of token issuers fresh until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** Undefined without a gate. */
export function createGateIdentity(
  { config, clock, logger, metrics }: PartsContext,
  trust: {
    readonly bundle: ReadonlyWatchable<TrustBundle>;
    readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
    readonly intermediates: ReadonlyWatchable<readonly Uint8Array[]>;
    readonly revocations: Revocations;
  },
): GateIdentity | undefined {
  const { authz } = config;
  if (authz === undefined) return undefined;
  const { xfccTrusted, jwtSvid, jwtProviders } = authz.identity;
  const { snapshot } = trust.revocations;
  const peers = createPeerVerifier({ ...trust, revocations: snapshot, clock });
  const tokens = createTokenVerifier({
    jwtSvid,
    providers: jwtProviders,
    bundle: trust.bundle,
    foreignBundles: trust.foreignBundles,
    isRevoked: (id) => snapshot.value.hasSpiffeId(id),
    clock,
    logger: logger.child({ room: 'gate' }),
    metrics,
  });
  const xfcc = createXfccVerifier({ peers, trusted: xfccTrusted });
  return { requests: createRequestVerifier({ peers, xfcc, tokens }), run: (signal) => tokens.run(signal) };
}
