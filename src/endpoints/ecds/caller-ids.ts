import type { ReadonlyWatchable } from '../../core/index.ts';
import type { RegistrySnapshot } from '../../registration/index.ts';
import type { Selector, SpiffeId } from '../../spiffe/index.ts';

/**
 * The SPIFFE IDs of the entries that match the caller, as the gate has them: now, and when they have changed, until the
 * signal is aborted. Sorted; none where it is not registered.
 */
export async function* watchCallerIds(
  entries: ReadonlyWatchable<Pick<RegistrySnapshot, 'match' | 'concerns'>>,
  selectors: ReadonlySet<Selector>,
  signal: AbortSignal,
): AsyncGenerator<readonly SpiffeId[], void, void> {
  let isStale = true;
  let wake: (() => void) | undefined;
  const rouse = (): void => wake?.();
  // Each change is seen, since a snapshot tells only what differs from the one before.
  const unsubscribe = entries.subscribe((snapshot) => {
    if (!snapshot.concerns(selectors)) return;
    isStale = true;
    rouse();
  });
  signal.addEventListener('abort', rouse);
  try {
    let last: readonly SpiffeId[] | undefined;
    while (!signal.aborted) {
      if (!isStale) await new Promise<void>((resolve) => (wake = resolve));
      if (signal.aborted) return;
      isStale = false;
      const ids = [...new Set(entries.value.match(selectors).map(({ spiffeId }) => spiffeId))].sort();
      if (last === undefined || !sameIds(last, ids)) yield (last = ids);
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', rouse);
  }
}

function sameIds(one: readonly SpiffeId[], other: readonly SpiffeId[]): boolean {
  return one.length === other.length && one.every((id, index) => id === other[index]);
}
