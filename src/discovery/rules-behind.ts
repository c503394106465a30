import type { Clock, Logger, Metrics } from '../core/index.ts';
import type { BookedResource } from './booked-resource.ts';

/** Since when Envoys run older rules of one policy than were sent. */
interface Wait {
  readonly behind: Set<BookedResource>;
  readonly since: number;
  /** How many there were at the most. */
  most: number;
}

/** Which Envoys have not accepted the rules of a policy that they were sent last. */
export class RulesBehind {
  readonly #options: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics };
  /** By policy. */
  readonly #waits = new Map<string, Wait>();

  constructor(options: { readonly clock: Clock; readonly logger: Logger; readonly metrics: Metrics }) {
    this.#options = options;
  }

  /** To be called when it may have changed. */
  note(resource: BookedResource): void {
    const { policy } = resource.facts;
    if (policy === undefined) return this.gone(resource);
    if (resource.isSettled) return this.#settle(policy, resource);
    const { clock, metrics } = this.#options;
    const wait = this.#waits.get(policy) ?? { behind: new Set(), since: clock.now(), most: 0 };
    this.#waits.set(policy, wait);
    if (wait.behind.has(resource)) return;
    wait.behind.add(resource);
    wait.most = Math.max(wait.most, wait.behind.size);
    metrics.gauge('svidgate_offload_envoys_behind', { policy }, wait.behind.size);
  }

  /** No stream has it any more. */
  gone(resource: BookedResource): void {
    if (resource.facts.kind !== 'offload') return;
    for (const policy of this.#waits.keys()) this.#settle(policy, resource);
  }

  #settle(policy: string, resource: BookedResource): void {
    const { clock, logger, metrics } = this.#options;
    const wait = this.#waits.get(policy);
    if (wait === undefined) {
      metrics.gauge('svidgate_offload_envoys_behind', { policy }, 0);
      return;
    }
    if (!wait.behind.delete(resource)) return;
    metrics.gauge('svidgate_offload_envoys_behind', { policy }, wait.behind.size);
    if (wait.behind.size > 0) return;
    this.#waits.delete(policy);
    const duration = Math.max(0, clock.now() - wait.since);
    logger.debug({ policy, count: wait.most, duration_ms: duration }, 'all envoys run the rules in force');
  }
}
