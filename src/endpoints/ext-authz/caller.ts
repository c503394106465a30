import { SvidgateError } from '../../core/index.ts';
import type { Attestation } from '../../attestation/index.ts';
import type { RegistrationEntry, Selector, SpiffeId } from '../../spiffe/index.ts';
import type { Peer, PeerProcess } from '../../transport/index.ts';

/** Who asks the gate: a registered process on the Unix socket, or anybody on loopback TCP. */
export type Caller =
  { readonly kind: 'attested'; readonly spiffeIds: readonly SpiffeId[] } | { readonly kind: 'anonymous' };

export interface CallerSources {
  readonly attestor: { attest(peer: PeerProcess): Promise<Attestation> };
  readonly entries: { match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[] };
}

/** Throws `attestation_failed`, or `no_identity` for a process on the Unix socket that no entry matches. */
export async function identifyCaller(peer: Peer, sources: CallerSources): Promise<Caller> {
  if (peer.kind === 'tcp') return { kind: 'anonymous' };
  if (peer.kind !== 'unix') throw new SvidgateError('attestation_failed', 'no callers by certificate are allowed here');
  const attestation = await sources.attestor.attest(peer.process);
  attestation.assertAlive();
  const entries = sources.entries.match(attestation.selectors);
  if (entries.length === 0) throw new SvidgateError('no_identity', 'the caller of the gate matches no entry');
  return { kind: 'attested', spiffeIds: [...new Set(entries.map((entry) => entry.spiffeId))] };
}
