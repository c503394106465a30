import { SvidgateError } from '../core/index.ts';
import type { AuthorityKind, AuthorityState } from './slot.ts';

/** What the plan needs to know of one authority. All that are planned together are of one kind. Times are epoch milliseconds. */
export interface PlannedSlot {
  readonly id: string;
  readonly kind: AuthorityKind;
  readonly state: AuthorityState;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly activationRequested: boolean;
}

/** A step that is due by itself. */
export type RotationStep =
  | { readonly kind: 'prepare' }
  | { readonly kind: 'activate'; readonly id: string }
  | { readonly kind: 'prune'; readonly id: string };

/** A step that an operator asks for. */
export type ManualStep = { readonly kind: 'request_activation' | 'taint' | 'revoke'; readonly id: string };

/** How long before the end of the active authority its successor is published, and signs. */
export interface RotationThresholds {
  /** Default: half of its life, at most 30 days (as SPIRE does). */
  readonly prepareBeforeMs?: number | undefined;
  /** Default: a third of the above, so a sixth of its life, at most 7 days (as SPIRE does). */
  readonly activateBeforeMs?: number | undefined;
}

export interface RotationMoment {
  /** Epoch milliseconds. */
  readonly now: number;
  readonly thresholds: RotationThresholds;
  /** Whether the key manager has said that the key is not there. */
  readonly isKeyLost: (slot: PlannedSlot) => boolean;
  /** Whether the prepared slot must wait for those who do not know it yet. Asked only when it is its turn. */
  readonly mustWait: (slot: PlannedSlot) => boolean;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** How far notBefore lies before the moment of issue: SPIRE's leeway for clocks that run behind. */
export const BACKDATE_MS = 10_000;

/** Counted from the moment of issue: a part of it must never begin before that, however short it is. */
function lifeOf(slot: PlannedSlot): number {
  return Math.max(0, slot.notAfter - slot.notBefore - BACKDATE_MS);
}

/** A threshold that is not shorter than the life would have an authority followed as soon as it signs, and so on for ever. */
function prepareBeforeMs(active: PlannedSlot, thresholds: RotationThresholds): number {
  const life = lifeOf(active);
  const { prepareBeforeMs: wanted } = thresholds;
  return wanted !== undefined && wanted < life ? wanted : Math.min(life / 2, 30 * DAY_MS);
}

/** When the successor is published. */
export function prepareAt(active: PlannedSlot, thresholds: RotationThresholds): number {
  return active.notAfter - prepareBeforeMs(active, thresholds);
}

/** When the successor starts to sign. */
export function activateAt(active: PlannedSlot, thresholds: RotationThresholds): number {
  const prepareMs = prepareBeforeMs(active, thresholds);
  const { activateBeforeMs: wanted } = thresholds;
  return active.notAfter - (wanted !== undefined && wanted <= prepareMs ? wanted : Math.min(prepareMs / 3, 7 * DAY_MS));
}

/** When the successor signs whoever does not know it yet: half of its time is over, and the end of the active one near. */
export function waitUntilLatest(active: PlannedSlot, thresholds: RotationThresholds): number {
  return active.notAfter - (active.notAfter - activateAt(active, thresholds)) / 2;
}

/** An ended authority leaves the bundle a day later, or a life if that is shorter: clocks that run behind still find it. */
export function pruneAt(slot: PlannedSlot): number {
  return slot.notAfter + Math.min(lifeOf(slot), DAY_MS);
}

/**
 * The one next step that is due, or undefined. Steps are taken one at a time, each journalled, until none is due. An
 * authority that is not valid yet was made while the clock was wrong: a prepared one goes, an active one is replaced at
 * once. So is one whose key is lost.
 */
export function nextStep(slots: readonly PlannedSlot[], moment: RotationMoment): RotationStep | undefined {
  const { now, thresholds } = moment;
  const isUsable = (slot: PlannedSlot): boolean =>
    now >= slot.notBefore && now < slot.notAfter && !moment.isKeyLost(slot);
  const active = slots.find((slot) => slot.state === 'active' && isUsable(slot));
  const prepared = slots.find((slot) => slot.state === 'prepared');
  if (prepared === undefined) {
    if (active === undefined || now >= prepareAt(active, thresholds)) return { kind: 'prepare' };
  } else if (!isUsable(prepared)) {
    return { kind: 'prune', id: prepared.id };
  } else if (
    active === undefined ||
    now >= waitUntilLatest(active, thresholds) ||
    ((prepared.activationRequested || now >= activateAt(active, thresholds)) && !moment.mustWait(prepared))
  ) {
    return { kind: 'activate', id: prepared.id };
  }
  const ended = slots.find((slot) => isPast(slot.state) && now >= pruneAt(slot));
  return ended === undefined ? undefined : { kind: 'prune', id: ended.id };
}

/** When the next step falls due after `now`, if nothing else changes. Epoch milliseconds. */
export function nextStepAt(slots: readonly PlannedSlot[], thresholds: RotationThresholds, now: number): number {
  const times = slots.filter((slot) => isPast(slot.state)).map(pruneAt);
  const active = slots.find((slot) => slot.state === 'active');
  if (active !== undefined) {
    const hasNext = slots.some((slot) => slot.state === 'prepared');
    if (hasNext) times.push(activateAt(active, thresholds), waitUntilLatest(active, thresholds));
    else times.push(prepareAt(active, thresholds));
    times.push(active.notAfter);
  }
  return Math.min(...times.filter((time) => time > now), Number.MAX_SAFE_INTEGER);
}

/**
 * Throws `not_found`, or `conflict` with what to do instead. The rules are those of SPIRE's local authorities: only a
 * prepared one is activated, only an old one is tainted, and only a tainted one revoked, since what it signed is worthless
 * from then on; what has ended may be revoked untainted.
 */
export function assertAllowed(slots: readonly PlannedSlot[], step: ManualStep, now: number): void {
  const slot = slots.find(({ id }) => id === step.id);
  if (slot === undefined) throw new SvidgateError('not_found', `there is no such authority: ${step.id}`);
  const refusal = refusalOf(slot, step.kind, now);
  if (refusal !== undefined)
    throw new SvidgateError('conflict', `${slot.kind} authority ${slot.id} is ${slot.state}: ${refusal}`);
}

function refusalOf(slot: PlannedSlot, step: ManualStep['kind'], now: number): string | undefined {
  const { state } = slot;
  switch (step) {
    case 'request_activation':
      return state === 'prepared' ? undefined : 'only a prepared one can be activated';
    case 'taint':
      if (state === 'old') return undefined;
      if (state === 'active') return 'activate another one first, then taint this one';
      return state === 'prepared' ? 'it has signed nothing; prepare another one in its place' : 'it cannot be tainted';
    case 'revoke':
      if (state === 'tainted' || (state === 'old' && now >= slot.notAfter)) return undefined;
      if (state === 'active') return 'activate another one first, then taint and revoke this one';
      if (state === 'old') return 'taint it first, so that what it signed is issued anew';
      return state === 'prepared' ? 'it has signed nothing; prepare another one in its place' : 'it cannot be revoked';
  }
}

/** The slots after a step on one of them. Their order stays. */
export function afterStep<S extends PlannedSlot>(
  slots: readonly S[],
  step: Exclude<RotationStep, { kind: 'prepare' }> | ManualStep,
): readonly S[] {
  const change = (id: string, fields: Partial<PlannedSlot>): readonly S[] =>
    slots.map((slot) => (slot.id === id ? { ...slot, ...fields } : slot));
  switch (step.kind) {
    case 'activate': {
      const { kind } = slots.find(({ id }) => id === step.id) ?? {};
      return slots.map((slot) => {
        if (slot.id === step.id) return { ...slot, state: 'active', activationRequested: false };
        return slot.kind === kind && slot.state === 'active' ? { ...slot, state: 'old' } : slot;
      });
    }
    case 'request_activation':
      return change(step.id, { activationRequested: true });
    case 'taint':
      return change(step.id, { state: 'tainted' });
    case 'revoke':
      return change(step.id, { state: 'revoked' });
    case 'prune':
      return slots.filter(({ id }) => id !== step.id);
  }
}

/** Whether it will never sign again. */
export function isPast(state: AuthorityState): boolean {
  return state === 'old' || state === 'tainted' || state === 'revoked';
}
