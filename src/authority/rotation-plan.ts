import type { AuthorityRecord } from '../datastore/index.ts';

/** What the rotation plan needs to know of one CA. Times are epoch milliseconds. */
export interface AuthoritySlot {
  readonly id: string;
  readonly state: AuthorityRecord['state'];
  readonly notBefore: number;
  readonly notAfter: number;
}

export type RotationStep =
  | { readonly kind: 'prepare' }
  | { readonly kind: 'activate'; readonly id: string }
  | { readonly kind: 'prune'; readonly id: string };

const DAY_MS = 24 * 60 * 60 * 1000;

/** How far notBefore lies before the moment of issue: SPIRE's leeway for clocks that run behind. */
export const BACKDATE_MS = 10_000;

/** Counted from the moment of issue: a part of it must never begin before that, however short it is. */
function lifeOf(slot: AuthoritySlot): number {
  return slot.notAfter - slot.notBefore - BACKDATE_MS;
}

/** A new root is published when this much of the active CA's life is left: half of it, at most 30 days (as SPIRE does). */
export function prepareAt(active: AuthoritySlot): number {
  return active.notAfter - Math.min(lifeOf(active) / 2, 30 * DAY_MS);
}

/** The published root starts to sign when this much is left: a sixth, at most 7 days (as SPIRE does). */
export function activateAt(active: AuthoritySlot): number {
  return active.notAfter - Math.min(lifeOf(active) / 6, 7 * DAY_MS);
}

/** An ended root leaves the bundle a day later, or a life if that is shorter: clocks that run behind still find it. */
export function pruneAt(slot: AuthoritySlot): number {
  return slot.notAfter + Math.min(lifeOf(slot), DAY_MS);
}

/**
 * The one next step that is due, or undefined. Steps are taken one at a time, each journalled, until none is due. A CA
 * that is not valid yet was made while the clock was wrong: a prepared one goes, an active one is replaced at once.
 */
export function nextStep(slots: readonly AuthoritySlot[], now: number): RotationStep | undefined {
  const active = slots.find((slot) => slot.state === 'active' && now >= slot.notBefore);
  const prepared = slots.find((slot) => slot.state === 'prepared');
  if (prepared !== undefined && (now >= prepared.notAfter || now < prepared.notBefore))
    return { kind: 'prune', id: prepared.id };
  if (prepared !== undefined && (active === undefined || now >= activateAt(active))) {
    return { kind: 'activate', id: prepared.id };
  }
  if (prepared === undefined && (active === undefined || now >= prepareAt(active))) return { kind: 'prepare' };
  const ended = slots.find((slot) => slot.state === 'old' && now >= pruneAt(slot));
  return ended === undefined ? undefined : { kind: 'prune', id: ended.id };
}

/** When the next step falls due, if nothing else changes. Epoch milliseconds. */
export function nextStepAt(slots: readonly AuthoritySlot[]): number {
  const times = slots.filter((slot) => slot.state === 'old').map(pruneAt);
  const active = slots.find((slot) => slot.state === 'active');
  if (active !== undefined) {
    times.push(slots.some((slot) => slot.state === 'prepared') ? activateAt(active) : prepareAt(active));
  }
  return Math.min(...times, Number.MAX_SAFE_INTEGER);
}
