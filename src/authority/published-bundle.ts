import type { TrustBundle, TrustDomain } from '../spiffe/index.ts';
import type { JournalState } from './journal.ts';
import type { JwtSlot, Slot, X509Slot } from './slot.ts';

/** The CAs whose SVIDs are to be trusted, in the order they were made. */
export function publishedCas(slots: readonly Slot[]): readonly X509Slot[] {
  return slots.filter((slot): slot is X509Slot => slot.kind === 'x509' && slot.state !== 'revoked');
}

/** Each root once, in the order it was added. */
export function publishedRoots(state: Pick<JournalState, 'slots' | 'upstreamRoots'>): readonly Uint8Array[] {
  const roots = new Map<string, Uint8Array>();
  for (const root of [...publishedCas(state.slots).flatMap((slot) => slot.roots), ...state.upstreamRoots]) {
    const key = Buffer.from(root).toString('base64');
    if (!roots.has(key)) roots.set(key, root);
  }
  return [...roots.values()];
}

/** The bundle that this state is published as. */
export function toBundle(
  state: JournalState,
  trustDomain: TrustDomain,
  revocationLists: readonly Uint8Array[] | undefined,
): TrustBundle {
  const jwtSlots = state.slots.filter((slot): slot is JwtSlot => slot.kind === 'jwt' && slot.state !== 'revoked');
  return {
    trustDomain,
    x509Authorities: publishedRoots(state),
    jwtAuthorities: jwtSlots.map(({ id, publicKey }) => ({ keyId: id, publicKey })),
    ...(revocationLists === undefined ? {} : { revocationLists }),
    sequence: state.sequence,
  };
}
