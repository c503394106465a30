import type { DecisionRecord } from '../evidence/index.ts';
import {
  encodeRules,
  holdsForCaller,
  isOpen,
  offloadMatcher,
  requestOfInput,
  type OffloadSet,
  type TranslatedPolicy,
  type TranslatedRule,
} from '../offload/index.ts';
import { isSpiffeId, type SpiffeId } from '../spiffe/index.ts';

/** How many recorded decisions Envoy would make by itself, by rules as they are now and with nothing revoked. */
export interface OffloadShare {
  /** Decisions of the policy by callers that were proven. */
  readonly decisions: number;
  /** Allowed by a rule. */
  readonly allowed: number;
  /** Refused by `fast_deny`. */
  readonly refused: number;
  /** Take a call. */
  readonly called: number;
  /** The record lacks what rules look at: nobody can tell. */
  readonly unknown: number;
  /** Ids of decisions, some of them, in which the rules allow what was denied: by another policy, or somebody revoked. */
  readonly otherwise: readonly string[];
  readonly otherwiseCount: number;
  /** By the id of the rule. */
  readonly byRule: ReadonlyMap<string, number>;
}

const SHOWN = 5;

/**
 * @param callers in the place of those that were recorded, as which Envoy's own SPIFFE IDs are known
 */
export async function offloadShare(
  records: AsyncIterable<DecisionRecord>,
  translated: TranslatedPolicy,
  { policy, callers }: { readonly policy?: string | undefined; readonly callers: readonly SpiffeId[] },
): Promise<OffloadShare> {
  const sets = new CallerSets(translated);
  const counts = { decisions: 0, allowed: 0, refused: 0, called: 0, unknown: 0, otherwiseCount: 0 };
  const [byRule, otherwise] = [new Map<string, number>(), [] as string[]];
  for await (const { svidgate, input, decision_id: id } of records) {
    if (svidgate.caller === 'anonymous' || (policy !== undefined && svidgate.policy !== policy)) continue;
    counts.decisions += 1;
    const request = requestOfInput(completed(input, svidgate));
    if (request === undefined) {
      counts.unknown += 1;
      continue;
    }
    const { allow, refused } = sets.matcher(callers.length > 0 ? callers : (svidgate.caller_ids ?? []))(request);
    if (allow === undefined) counts[refused ? 'refused' : 'called'] += 1;
    else {
      counts.allowed += 1;
      byRule.set(allow, (byRule.get(allow) ?? 0) + 1);
    }
    if (allow !== undefined && (svidgate.outcome === 'deny' || svidgate.outcome === 'failure')) {
      counts.otherwiseCount += 1;
      if (otherwise.length < SHOWN) otherwise.push(id);
    }
  }
  return { ...counts, otherwise, byRule };
}

type Json = Readonly<Record<string, unknown>>;

/**
 * The input with what rules ask for beside what the policy reads, which alone is recorded: method, peer, and a path that is as
 * plain as they want it. How a path was written, and which headers came that nobody reads, is not known.
 */
function completed(input: Json | undefined, { method, peer }: DecisionRecord['svidgate']): Json | undefined {
  if (input === undefined) return undefined;
  const attributes = (input['attributes'] ?? {}) as Json;
  const request = (attributes['request'] ?? {}) as Json;
  const http = { method, path: pathOf(input['parsed_path']), ...((request['http'] ?? {}) as Json) };
  const known = peer === undefined ? {} : { peer: { verified: true, spiffe_id: peer.spiffe_id } };
  return {
    ...input,
    attributes: { ...attributes, request: { ...request, http } },
    svidgate: { ...known, ...((input['svidgate'] ?? {}) as Json) },
  };
}

/** Of its segments; one that nobody reads may be any. */
function pathOf(segments: unknown): string {
  if (!Array.isArray(segments)) return '/';
  return `/${segments.map((segment: unknown) => (typeof segment === 'string' ? encodeURIComponent(segment) : '-')).join('/')}`;
}

/** What callers are sent; a log has few of them. */
class CallerSets {
  readonly #translated: TranslatedPolicy;
  readonly #matchers = new Map<string, ReturnType<typeof offloadMatcher>>();

  constructor(translated: TranslatedPolicy) {
    this.#translated = translated;
  }

  matcher(ids: readonly string[]): ReturnType<typeof offloadMatcher> {
    const key = ids.join(' ');
    const matcher = this.#matchers.get(key) ?? offloadMatcher(callerSet(this.#translated, ids.filter(isSpiffeId)));
    this.#matchers.set(key, matcher);
    return matcher;
  }
}

/** With nothing revoked; without what Envoy cannot be told. */
export function callerSet(translated: TranslatedPolicy, ids: readonly SpiffeId[]): OffloadSet {
  const { policy, digest, outer } = translated;
  const allow = toldRules(translated).told.filter(({ caller }) => holdsForCaller(caller, ids));
  return { policy, policyDigest: digest, allow, ...(outer === undefined ? {} : { outer }) };
}

/** The rules that can be sent, and those that cannot be said exactly in Envoy's words. */
export function toldRules({ policy, digest, rules }: TranslatedPolicy): {
  readonly told: readonly TranslatedRule[];
  readonly untold: readonly TranslatedRule[];
} {
  const left = new Set(encodeRules({ policy, policyDigest: digest, allow: rules }).left);
  // Of whom a part of the SPIFFE ID is asked for, those are told that have an entry.
  const isTold = ({ id, peer }: TranslatedRule): boolean => !left.has(id) || isOpen(peer);
  return { told: rules.filter(isTold), untold: rules.filter((rule) => !isTold(rule)) };
}
