import type { Revocations } from '../authority/index.ts';
import { supervise, type ReadonlyWatchable } from '../core/index.ts';
import {
  createClientJudge,
  createPeerVerifier,
  createRequestVerifier,
  createTokenVerifier,
  createXfccVerifier,
  type RequestVerifier,
} from '../peer/index.ts';
import type { ForeignBundles, TrustBundle } from '../spiffe/index.ts';
import type { ClientJudge } from '../transport/index.ts';
import type { PartsContext } from './authority-parts.ts';
import { createGateTls, type GateTls, type GateTlsSources } from './gate-tls.ts';

/** How the gate finds out who sent a request. */
export interface GateIdentity {
  readonly requests: RequestVerifier;
  readonly tls: GateTls;
  /** Whose certificates count, at whatever end. */
  readonly certificates: ClientJudge;
  /** Keeps the keys of token issuers and what the gate shows of itself fresh until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** Undefined without a gate. */
export function createGateIdentity(
  context: PartsContext,
  trust: {
    readonly bundle: ReadonlyWatchable<TrustBundle>;
    readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
    readonly intermediates: ReadonlyWatchable<readonly Uint8Array[]>;
    readonly revocations: Revocations;
    readonly signer: GateTlsSources['signer'];
  },
): GateIdentity | undefined {
  const { config, clock, logger, metrics } = context;
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
  const clients = createClientJudge({ ...trust, revocations: snapshot, peers });
  const tls = createGateTls(context, authz, { signer: trust.signer, clients });
  return {
    requests: createRequestVerifier({ peers, xfcc, tokens }),
    tls,
    certificates: clients,
    run: (signal) => supervise(signal, [(each) => tokens.run(each), (each) => tls.run(each)]),
  };
}
