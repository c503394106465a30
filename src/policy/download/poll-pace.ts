import { createBackoff } from '../../core/index.ts';

export interface PollPaceOptions {
  /** Between two questions, more or less by a quarter at random: many gates must not come at once. */
  readonly intervalMs: number;
  /** How long a place that can wait for news is told to; 0: it is not told to. */
  readonly longPollMs: number;
  readonly random?: () => number;
}

/** How a question ended. */
export type PollOutcome =
  /** `canWait`: whether the place says that it can wait; undefined when it does not say. */
  { readonly kind: 'changed' | 'unchanged'; readonly canWait: boolean | undefined } | { readonly kind: 'failed' };

/** When a place is asked again, and whether it is told to wait. */
export interface PollPace {
  /** For the next question. */
  readonly waitMs: number;
  /** Takes the outcome of a question that took `tookMs`, and gives the pause before the next one. */
  after(outcome: PollOutcome, tookMs: number): number;
}

const FIRST_RETRY_MS = 1000;
/** Between two questions to a place that always has news. */
const MIN_GAP_MS = 1000;

export function createPollPace({ intervalMs, longPollMs, random = Math.random }: PollPaceOptions): PollPace {
  const backoff = createBackoff({ baseMs: Math.min(FIRST_RETRY_MS, intervalMs), maxMs: intervalMs, random });
  let canWait = longPollMs > 0;
  // The first question shows at once whether the place is there, and so does the one after a wait that was cut.
  let isWaiting = false;
  const polling = (): number => intervalMs * (0.75 + random() / 2);
  return {
    get waitMs() {
      return isWaiting ? longPollMs : 0;
    },
    after(outcome, tookMs) {
      const waited = isWaiting;
      if (outcome.kind === 'failed') {
        isWaiting = false;
        return backoff.next();
      }
      backoff.reset();
      canWait = longPollMs > 0 && (outcome.canWait ?? canWait);
      // It says that it can wait, and does not.
      const isHasty = waited && outcome.kind === 'unchanged' && tookMs < longPollMs / 2;
      isWaiting = canWait;
      return canWait && !isHasty ? Math.max(0, MIN_GAP_MS - tookMs) : polling();
    },
  };
}
