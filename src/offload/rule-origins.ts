import type { Clock } from '../core/index.ts';
import type { OffloadOrigin } from './offload-source.ts';
import { holdsForCaller, type TranslatedPolicy, type TranslatedRule } from './translated-policy.ts';

/** Envoys tell late what they did by a rule: log entries wait for a full buffer, and streams break. */
const KEPT_MS = 15 * 60_000;
/** Of one policy, beside the newest: who edits all the time must not fill the memory. */
const MAX_KEPT = 16;

interface Known {
  readonly translated: TranslatedPolicy;
  readonly origins: ReadonlyMap<string, OffloadOrigin>;
  /** Epoch milliseconds; undefined while it is the one in force. */
  replacedAt?: number;
}

/** What rules stand for, of the translations in force and of those that were within the last minutes. */
export class RuleOrigins {
  readonly #clock: Clock;
  readonly #known = new Map<string, Known[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined: nothing is in force for the policy. */
  inForce(policy: string, translated: TranslatedPolicy | undefined): void {
    const now = this.#clock.now();
    const known = this.#known.get(policy) ?? [];
    for (const each of known) if (each.translated !== translated) each.replacedAt ??= now;
    const again = known.find((each) => each.translated === translated);
    if (again !== undefined) delete again.replacedAt;
    else if (translated !== undefined) known.unshift({ translated, origins: originsOf(translated) });
    const kept = known.filter(({ replacedAt }) => replacedAt === undefined || now - replacedAt < KEPT_MS);
    this.#known.set(policy, kept.slice(0, MAX_KEPT));
  }

  of(ruleId: string): OffloadOrigin | undefined {
    for (const known of this.#known.values()) {
      for (const { origins } of known) {
        const found = origins.get(ruleId);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }
}

function originsOf({ policy, digest: policyDigest, rules, outer = [] }: TranslatedPolicy): Known['origins'] {
  return new Map(
    [...rules, ...outer].map(({ id, origin, peer, caller }: TranslatedRule) => [
      id,
      { policy, policyDigest, origin, peer: peer.kind, isFor: (ids) => holdsForCaller(caller, ids) },
    ]),
  );
}
