import { SvidgateError } from '../core/index.ts';
import type { Attestation } from '../attestation/index.ts';
import {
  isSpiffeId,
  matchesSpiffeId,
  type RegistrationEntry,
  type Selector,
  type SpiffeId,
  type SpiffeIdPattern,
} from '../spiffe/index.ts';
import type { Peer, PeerProcess } from '../transport/index.ts';

/** Who asks the gate: a registered process on a Unix socket, the holder of a certificate, or anybody on loopback TCP. */
export type Caller = {
  /** Where it asks: `gate`, `gate:NAME`. */
  readonly listener: string;
} & (
  | { readonly kind: 'attested'; readonly spiffeIds: readonly SpiffeId[]; readonly attestation: Attestation }
  | { readonly kind: 'tls'; readonly spiffeIds: readonly SpiffeId[] }
  | { readonly kind: 'anonymous'; readonly spiffeIds?: never }
);

/** Who may ask at one listener, and for which policies. */
export interface GateAccess {
  /** `gate` is the first, `gate:NAME` each further one. */
  readonly listener: string;
  readonly policies: ReadonlySet<string>;
  /** What a request that names none asks for; anonymous callers get no other. */
  readonly defaultPolicy: string;
  /** Absent: every caller that is proven, for all of `policies`. */
  readonly callers?: readonly { readonly pattern: SpiffeIdPattern; readonly policies: ReadonlySet<string> }[];
}

export interface CallerSources {
  readonly attestor: { attest(peer: PeerProcess): Promise<Attestation> };
  readonly entries: { match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[] };
  readonly access: GateAccess;
}

/**
 * Throws `attestation_failed`, `no_identity` for a process on the Unix socket that no entry matches, and
 * `caller_not_allowed` for a proven caller that is not one of the listener's.
 */
export async function identifyCaller(peer: Peer, sources: CallerSources): Promise<Caller> {
  const { access } = sources;
  const { listener } = access;
  if (peer.kind === 'tcp') return { listener, kind: 'anonymous' };
  const proven: Caller =
    peer.kind === 'tls'
      ? { listener, kind: 'tls', spiffeIds: [certifiedId(peer.spiffeId)] }
      : { listener, kind: 'attested', ...(await attested(peer, sources)) };
  if (access.callers?.some(({ pattern }) => isOneOf(proven, pattern)) === false) {
    throw new SvidgateError('caller_not_allowed', `the caller is none of those of ${listener}`);
  }
  return proven;
}

/** Whether the caller may ask for the policy. A policy that is not there is one that it may not ask for. */
export function mayAsk(caller: Caller, policy: string, access: GateAccess): boolean {
  if (!access.policies.has(policy)) return false;
  switch (caller.kind) {
    case 'anonymous':
      return policy === access.defaultPolicy;
    case 'attested':
    case 'tls':
      return access.callers?.some((some) => some.policies.has(policy) && isOneOf(caller, some.pattern)) ?? true;
  }
}

function isOneOf(caller: Caller, pattern: SpiffeIdPattern): boolean {
  return caller.spiffeIds?.some((id) => matchesSpiffeId(pattern, id)) ?? false;
}

async function attested(
  peer: Peer,
  sources: CallerSources,
): Promise<{ readonly spiffeIds: readonly SpiffeId[]; readonly attestation: Attestation }> {
  if (peer.kind !== 'unix') throw new SvidgateError('attestation_failed', 'callers of this kind are not known');
  const attestation = await sources.attestor.attest(peer.process);
  attestation.assertAlive();
  const entries = sources.entries.match(attestation.selectors);
  if (entries.length === 0) throw new SvidgateError('no_identity', 'the caller of the gate matches no entry');
  return { spiffeIds: [...new Set(entries.map((entry) => entry.spiffeId))], attestation };
}

/** The listener's judge looked at the certificate, at this call again. */
function certifiedId(text: string): SpiffeId {
  if (!isSpiffeId(text)) throw new SvidgateError('attestation_failed', 'the certificate of the caller names nobody');
  return text;
}
