import type { HttpListenerConfig } from '../config/index.ts';
import { createHttpAuthzEndpoint } from '../endpoints/http-authz/index.ts';
import { startPeerHttpServer, type PeerHttpServer } from '../transport/index.ts';
import { attestEarly, tlsOf, type GateContext } from './gate-context.ts';
import { openAddress } from './open-address.ts';

/** One listener for HTTP. Throws what `startPeerHttpServer` throws. */
export function startHttpListener(listener: HttpListenerConfig, context: GateContext): Promise<PeerHttpServer> {
  const { parts, authz, shared } = context;
  const { name, listen, policies, defaultPolicy, callers, scheme, path, isPeerInXfcc } = listener;
  const endpoint = createHttpAuthzEndpoint({
    ...shared,
    access: { listener: name, policies, defaultPolicy, ...(callers === undefined ? {} : { callers }) },
    logger: shared.logger.child({ listener: name }),
    scheme,
    path,
    isPeerInXfcc,
  });
  return startPeerHttpServer({
    name,
    address: openAddress(listen),
    ...tlsOf(listener, context),
    ...endpoint,
    identify: parts.tracker.identify,
    onPeer: (peer) => attestEarly(peer, parts),
    maxBodyBytes: authz.maxRequestBytes,
    logger: parts.logger.child({ room: 'transport' }),
    metrics: parts.metrics,
  });
}
