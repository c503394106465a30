import type { Clock, Logger, ReadonlyWatchable } from '../core/index.ts';
import type { Slot } from './slot.ts';

/** What connected Envoys have acknowledged of the bundle. */
export interface BundleAcknowledgements {
  /** Names of those that have not acknowledged a bundle with this sequence number or a later one. */
  pending(sequence: number): readonly string[];
  /** Changes whenever `pending` may have. */
  readonly changed: ReadonlyWatchable<number>;
}

/** When nobody tells what was acknowledged. */
export const noAcknowledgements: BundleAcknowledgements = {
  pending: () => [],
  changed: { value: 0, subscribe: () => () => undefined, watch: async function* () {} },
};

export interface AcknowledgementGate {
  /** How many milliseconds the prepared slot must wait before it signs; the time counts from the first question. */
  waitMs(slot: Slot): number;
}

/**
 * Holds a new authority back until everybody knows it or the limit has passed. Envoys acknowledge CAs; whoever has not
 * connected again since this process started cannot, so that for the length of the limit nobody's silence is taken for an
 * answer. Nobody acknowledges JWT keys, which clients fetch: one is published for the whole limit before it signs.
 */
export function createAcknowledgementGate(options: {
  readonly acknowledgements: BundleAcknowledgements;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}): AcknowledgementGate {
  const { acknowledgements, timeoutMs, clock, logger } = options;
  let startedAt = clock.now();
  let waiting: { readonly id: string; readonly since: number } | undefined;
  /** A time that lies ahead was taken before the clock was set back, and says nothing. */
  const begun = (at: number | undefined): number => (at === undefined || at > clock.now() ? clock.now() : at);
  const leftSince = (since: number): number => Math.max(0, since + timeoutMs - clock.now());
  return {
    waitMs(slot) {
      startedAt = begun(startedAt);
      if (slot.kind === 'jwt') {
        return leftSince(slot.publishedAt > clock.now() ? startedAt : Math.max(slot.publishedAt, startedAt));
      }
      const pending = acknowledgements.pending(slot.publishedSequence);
      if (pending.length === 0) return leftSince(startedAt);
      waiting = { id: slot.id, since: begun(waiting?.id === slot.id ? waiting.since : undefined) };
      const left = leftSince(waiting.since);
      if (left === 0) {
        const fields = { ca_id: slot.id, count: pending.length, waiting_for: pending };
        logger.warn(fields, 'a new ca signs although envoys did not acknowledge it');
      }
      return left;
    },
  };
}
