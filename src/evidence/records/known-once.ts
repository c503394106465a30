import type { OffloadedDecision } from '../offloaded/expand-offloaded.ts';
import type { RecordedPaths } from './decision-record.ts';
import { MAX_COMMON, type DecisionsMessage, type SentCommon } from './record-protocol.ts';

/** What requests have in common that Envoys answered by themselves. */
export interface KnownCommon {
  readonly facts: OffloadedDecision;
  /** Number of the log rules. */
  readonly rules: number | undefined;
}

/** What was sent once, by its number. */
export class KnownOnce {
  readonly #paths = new Map<number, RecordedPaths>();
  readonly #common = new Map<number, KnownCommon>();

  learn({ paths, common }: Pick<DecisionsMessage, 'paths' | 'common'>): void {
    for (const [number, path] of paths) this.#paths.set(number, path);
    for (const [number, facts] of common) {
      this.#common.set(number, this.#known(facts));
      // The other thread knows fewer than these.
      this.#common.delete(number - 2 * MAX_COMMON);
    }
  }

  paths(number: number): RecordedPaths | undefined {
    return this.#paths.get(number);
  }

  common(number: number): KnownCommon | undefined {
    return this.#common.get(number);
  }

  #known({ evaluated, ...facts }: SentCommon): KnownCommon {
    const { recorded: number, rules, ...more } = evaluated;
    const recorded = this.#paths.get(number);
    const whole = recorded === undefined ? {} : { evaluated: { ...more, recorded } };
    return { facts: { ...facts, ...whole, decisionId: '', requestNumber: 0, at: 0 }, rules };
  }
}
