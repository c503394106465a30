import { SvidgateError, Watchable, type ReadonlyWatchable } from '../core/index.ts';
import type { AuthoritySlots } from './authority-slots.ts';
import type { BundleAcknowledgements } from './bundle-acknowledgements.ts';
import type { AuthoritySlotStatus, Slot } from './slot.ts';

export interface SlotStatus {
  readonly value: ReadonlyWatchable<readonly AuthoritySlotStatus[]>;
  /** As it is now. Throws `conflict` when it is gone: another one took its place. */
  of(id: string): AuthoritySlotStatus;
  /** Follows acknowledgements until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** What operators see of the authorities. */
export function createSlotStatus(options: {
  readonly slots: AuthoritySlots;
  readonly acknowledgements: BundleAcknowledgements;
}): SlotStatus {
  const { slots, acknowledgements } = options;
  const current = (): readonly AuthoritySlotStatus[] => slots.all.value.map((slot) => toStatus(slot, acknowledgements));
  const status = new Watchable(current());
  const refresh = (): void => {
    const next = current();
    if (JSON.stringify(next) !== JSON.stringify(status.value)) status.set(next);
  };
  slots.all.subscribe(refresh);
  return {
    value: status,
    of(id) {
      refresh();
      const found = status.value.find((slot) => slot.id === id);
      if (found === undefined) throw new SvidgateError('conflict', `another authority took the place of ${id}`);
      return found;
    },
    async run(signal) {
      for await (const _ of acknowledgements.changed.watch(signal)) refresh();
    },
  };
}

function toStatus(slot: Slot, acknowledgements: BundleAcknowledgements): AuthoritySlotStatus {
  const { id, kind, state, notBefore, notAfter, publishedSequence, keyId, keyType, activationRequested } = slot;
  const isAwaited = kind === 'x509' && (state === 'prepared' || state === 'active');
  const waitingFor = isAwaited ? acknowledgements.pending(publishedSequence) : [];
  const status = {
    kind,
    id,
    state,
    notBefore,
    notAfter,
    publishedSequence,
    keyId,
    keyType,
    activationRequested,
    waitingFor,
  };
  if (kind === 'jwt' || slot.upstream === undefined) return status;
  return { ...status, upstream: slot.upstream.kind, upstreamAuthorityId: slot.upstream.authorityId };
}
