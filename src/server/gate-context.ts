import type { AuthzConfig, GateListenerConfig } from '../config/index.ts';
import { SvidgateError, type Watchable } from '../core/index.ts';
import type { GateOptions } from '../gate/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import type { Peer, ServerTls } from '../transport/index.ts';
import type { GateIdentity } from './gate-identity.ts';
import type { ServerParts } from './parts.ts';

/** What the listeners have in common. */
export interface GateContext {
  readonly parts: ServerParts;
  readonly authz: AuthzConfig;
  readonly policies: PolicyEngine;
  readonly gateIdentity: GateIdentity;
  readonly shared: Omit<GateOptions, 'access'>;
  readonly isStopping: Watchable<boolean>;
}

/** What is configured with TLS never listens without. */
export function tlsOf(listener: GateListenerConfig, { gateIdentity }: GateContext): { readonly tls?: ServerTls } {
  const tls = gateIdentity.tls.of(listener);
  if ((tls === undefined) !== (listener.tls === undefined)) {
    throw new SvidgateError('internal', `${listener.name} has no TLS`);
  }
  return tls === undefined ? {} : { tls };
}

/** The first attestation of an executable hashes it; that must not eat the deadline of the first request. */
export function attestEarly(peer: Peer, parts: ServerParts): void {
  if (peer.kind === 'unix') parts.attestor.attest(peer.process).catch(() => undefined); // logged; the check denies
}
