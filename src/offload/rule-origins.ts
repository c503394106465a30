import type { Clock } from '../core/index.ts';
import type { OffloadOrigin } from './offload-source.ts';
import { holdsForCaller, type TranslatedPolicy, type TranslatedRule } from './translated-policy.ts';

/** Envoys tell late what they did by a rule: log entries wait for a full buffer, and streams break. */
const KEPT_MS = 15 * 60_000;
/** Of one policy, beside the newest: who edits all the time must not fill the memory. */
const MAX_KEPT = 16;
/** Within it, before and after a change, some Envoys may have had the one set and some the other. */
const CHANGE_MS = 5000;

interface Known {
  readonly translated: TranslatedPolicy;
  readonly origins: ReadonlyMap<string, OffloadOrigin>;
  /** Epoch milliseconds; of the first one after a start, that may have been in force before. */
  readonly since: number;
  /** Epoch milliseconds; undefined while it is the one in force. */
  replacedAt?: number;
}

/** What rules stand for, of the translations in force and of those that were within the last minutes. */
export class RuleOrigins {
  readonly #clock: Clock;
  readonly #known = new Map<string, Known[]>();
  /** Policies of which one was in force. */
  readonly #begun = new Set<string>();

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
    else if (translated !== undefined) {
      const since = this.#begun.has(policy) ? now : -Infinity;
      known.unshift({ translated, origins: originsOf(translated), since });
      this.#begun.add(policy);
    }
    const kept = known.filter(({ replacedAt }) => replacedAt === undefined || now - replacedAt < KEPT_MS);
    this.#known.set(policy, kept.slice(0, MAX_KEPT));
  }

  /** As OffloadSource has it. */
  of(ruleId: string, at = this.#clock.now()): OffloadOrigin | undefined {
    for (const known of this.#known.values()) {
      const having = known.filter(({ origins }) => origins.has(ruleId));
      const newest = having[0]?.origins.get(ruleId);
      if (newest === undefined) continue;
      const [only, ...others] = having.filter((each) => mayBeBy(each, at, having.length > 1));
      if (only !== undefined && others.length === 0) return only.origins.get(ruleId);
      const { policyDigest: _, ...rest } = newest;
      return rest;
    }
    return undefined;
  }
}

/** Who hears of no change keeps what it has for a while. */
function mayBeBy({ since, replacedAt = Infinity }: Known, at: number, hasOthers: boolean): boolean {
  return since - CHANGE_MS < at && (!hasOthers || at < replacedAt + CHANGE_MS);
}

function originsOf({ policy, digest: policyDigest, rules, outer = [] }: TranslatedPolicy): Known['origins'] {
  return new Map(
    [...rules, ...outer].map(({ id, origin, peer, caller }: TranslatedRule) => [
      id,
      { policy, policyDigest, origin, peer: peer.kind, isFor: (ids) => holdsForCaller(caller, ids) },
    ]),
  );
}
