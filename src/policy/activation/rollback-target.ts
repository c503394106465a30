import { SvidgateError } from '../../core/index.ts';
import type { PolicySnapshot, SnapshotSource } from '../snapshot-source.ts';
import type { PolicyEvent } from './policy-event.ts';

/** As short as `svidgate status` shows them, and git takes them. */
const MIN_PREFIX = 4;

/**
 * Those of states that may come back into force: they are of the source of now, and signed by a key of now where it verifies.
 * Events know keys by their names alone: see checkSigner.
 */
export async function eventsToGoBackTo(
  events: readonly PolicyEvent[],
  source: SnapshotSource,
): Promise<readonly PolicyEvent[]> {
  const own = events.filter((event) => event.source === source.description);
  if (source.verifies !== true) return own;
  const names = new Set((await source.signers?.())?.map(({ name }) => name));
  return own.filter(({ signedBy }) => signedBy !== undefined && names.has(signedBy));
}

/** Throws `conflict` where the source verifies, and the state was not verified by one of its keys of now. */
export async function checkSigner(snapshot: PolicySnapshot, source: SnapshotSource): Promise<void> {
  if (source.verifies !== true) return;
  const { digest, signedBy, verifiedBy } = snapshot;
  const signers = (await source.signers?.()) ?? [];
  if (signers.some((signer) => signer.name === signedBy && signer.verifiedBy === verifiedBy)) return;
  const what = signedBy === undefined ? 'is not signed' : `is signed by a key ${signedBy} that does not count any more`;
  throw new SvidgateError('conflict', `${digest.slice(0, 12)} ${what}`);
}

/**
 * The digest to go back to: the one that begins with `wanted`, else the last one that the source brought into force before
 * what is in force now. Throws `not_found` and `conflict`. Events come oldest first.
 */
export function rollbackTarget(
  events: readonly PolicyEvent[],
  inForce: string | undefined,
  wanted: string | undefined,
): string {
  const found = wanted === undefined ? previous(events, inForce) : named(events, wanted);
  if (found === inForce) throw new SvidgateError('conflict', `${found.slice(0, 12)} is in force already`);
  return found;
}

function previous(events: readonly PolicyEvent[], inForce: string | undefined): string {
  const activated = events.flatMap(({ kind, digest }) => (kind === 'activated' && digest !== undefined ? digest : []));
  const at = inForce === undefined ? activated.length : activated.lastIndexOf(inForce);
  const before = activated.slice(0, Math.max(0, at)).findLast((digest) => digest !== inForce);
  if (before !== undefined) return before;
  throw new SvidgateError('not_found', 'nothing was in force before that counts now: there is nothing to go back to');
}

function named(events: readonly PolicyEvent[], wanted: string): string {
  const prefix = wanted.toLowerCase();
  const known = events.flatMap(({ kind, digest }) => (kind !== 'refused' && digest !== undefined ? digest : []));
  const matches = [...new Set(known)].filter((digest) => digest.startsWith(prefix));
  const [digest, other] = prefix.length < MIN_PREFIX ? [] : matches;
  if (digest === undefined)
    throw new SvidgateError('not_found', `no state that was in force and counts now begins with ${prefix}`);
  if (other !== undefined)
    throw new SvidgateError('conflict', `more than one state begins with ${prefix}: give more of it`);
  return digest;
}
