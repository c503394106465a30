import type { Clock, Logger, Metrics } from '../core/index.ts';

export interface UnenforcedOptions {
  /** Until when, in epoch milliseconds, by the names of the policies. */
  readonly until: ReadonlyMap<string, number>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const LONG_MS = 90 * 86_400_000;

/**
 * The policies that do not decide yet. Each decides from its time on, and for good: a clock that goes back or tells no
 * time lengthens nothing.
 */
export class UnenforcedPolicies {
  readonly #options: UnenforcedOptions;
  readonly #left: Map<string, number>;
  readonly #startedAt: number;
  readonly #startedTick = performance.now();

  constructor(options: UnenforcedOptions) {
    this.#options = options;
    this.#left = new Map(options.until);
    this.#startedAt = options.clock.now();
  }

  /** The names that there still are, with their times. */
  get all(): ReadonlyMap<string, number> {
    for (const name of this.#left.keys()) this.has(name);
    return this.#left;
  }

  has(name: string): boolean {
    const until = this.#left.get(name);
    if (until === undefined) return false;
    const now = this.#options.clock.now();
    // What has passed since the start by a clock that nobody sets.
    const passed = this.#startedAt + (performance.now() - this.#startedTick);
    if (now < until && passed < until) return true; // false also for a time that is no number
    this.#end(name);
    return false;
  }

  /** To be called once, at the start. */
  announce(): void {
    const { logger, metrics, clock } = this.#options;
    for (const [policy, until] of this.#options.until) {
      if (!this.has(policy)) continue;
      metrics.gauge('svidgate_policy_unenforced_until_seconds', { policy }, until / 1000);
      const fields = { policy, expires_at: new Date(until).toISOString() };
      logger.warn(fields, 'policy not enforced: what it denies is let through');
      if (until - clock.now() > LONG_MS) logger.warn(fields, 'policy not enforced for more than 90 days');
    }
  }

  #end(policy: string): void {
    const { logger, metrics } = this.#options;
    const until = this.#left.get(policy) ?? 0;
    this.#left.delete(policy);
    metrics.gauge('svidgate_policy_unenforced_until_seconds', { policy }, 0);
    logger.warn({ policy, expires_at: new Date(until).toISOString() }, 'policy enforced: its time without has ended');
  }
}
