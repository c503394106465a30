import { isDeepStrictEqual } from 'node:util';
import type { AllowEffects, DenyEffects, HeaderField } from '../policy/index.ts';

/** How a policy answers a request, as Envoy would be told. */
export type ShadowAnswer =
  | { readonly kind: 'allow'; readonly reason: string; readonly effects?: AllowEffects }
  | { readonly kind: 'deny'; readonly reason: string; readonly effects?: DenyEffects }
  /** No decision could be made. */
  | { readonly kind: 'failure'; readonly reason: string };

/** What became of a request that a candidate was to see. The set is closed: it is a metric label. */
export const COMPARISONS = [
  /** Same decision, same effects. */
  'same',
  /** Same decision, but another status, body, header or metadata. */
  'other_effects',
  /** Denied, and the candidate allows. */
  'would_allow',
  /** Allowed, and the candidate denies. */
  'would_deny',
  /** The live policy failed, which denies, and the candidate denies. */
  'live_failed',
  /** The candidate failed: undefined, an error, too slow, or it asks for what Envoy must not be told. */
  'candidate_failed',
  /** Not compared: too many were waiting. */
  'dropped',
  /** Not compared: one of the two is not loaded. */
  'not_active',
] as const;

export type Comparison = (typeof COMPARISONS)[number];

/** By effect: the reason of an answer counts for nothing. */
export function compareAnswers(live: ShadowAnswer, candidate: ShadowAnswer): Comparison {
  if (candidate.kind === 'failure') return 'candidate_failed';
  if (candidate.kind === 'allow') {
    if (live.kind !== 'allow') return 'would_allow';
    return sameOrNot(allowEffects(live.effects), allowEffects(candidate.effects));
  }
  if (live.kind === 'allow') return 'would_deny';
  if (live.kind === 'failure') return 'live_failed';
  return sameOrNot(denyEffects(live.effects), denyEffects(candidate.effects));
}

function sameOrNot(one: unknown, other: unknown): Comparison {
  return isDeepStrictEqual(one, other) ? 'same' : 'other_effects';
}

/** What is left out and what is empty have one effect. */
function allowEffects(effects?: AllowEffects): object {
  return {
    headers: lowerCase(effects?.headers),
    removed: (effects?.requestHeadersToRemove ?? []).map((name) => name.toLowerCase()).sort(),
    set: effects?.queryParametersToSet ?? [],
    unset: [...(effects?.queryParametersToRemove ?? [])].sort(),
    added: lowerCase(effects?.responseHeadersToAdd),
    metadata: effects?.dynamicMetadata ?? {},
  };
}

function denyEffects(effects?: DenyEffects): object {
  return {
    headers: lowerCase(effects?.headers),
    status: effects?.httpStatus ?? 403,
    body: effects?.body,
    metadata: effects?.dynamicMetadata ?? {},
  };
}

function lowerCase(headers: readonly HeaderField[] = []): readonly HeaderField[] {
  return headers.map(({ name, value }) => ({ name: name.toLowerCase(), value }));
}
