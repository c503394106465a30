import type { DecisionFacts } from '../records/decision-facts.ts';
import type { JsonRecord } from '../records/decision-record.ts';
import { knownInput } from './known-input.ts';
import { decodeEntry } from './logged-entry.ts';
import { loggedRequest } from './logged-request.ts';
import type { OffloadedFacts } from './offloaded-facts.ts';

export type OffloadedDecision = DecisionFacts & { readonly offloaded: OffloadedFacts };

export interface ExpandedFacts {
  readonly facts: DecisionFacts;
  /** What is known of the input, as JSON.parse makes it; of nobody else. */
  readonly input?: JsonRecord;
}

/**
 * The facts of a request that Envoy answered by itself, as those of a check would be. Throws what decodeEntry throws.
 * @param entry of the access log
 */
export function expandOffloaded(facts: OffloadedDecision, entry: Uint8Array): ExpandedFacts {
  const { evaluated, offloaded, ...rest } = facts;
  const decoded = decodeEntry(entry);
  const { verifiesPeer } = offloaded;
  const request = loggedRequest(decoded, { verifiesPeer, now: facts.at });
  const own = {
    ...rest,
    at: request.at ?? facts.at,
    request: request.facts,
    ...(request.spiffeId === undefined ? {} : { envoyPeer: request.spiffeId }),
  };
  if (evaluated === undefined || !offloaded.knowsPolicy) return { facts: { ...own, offloaded } };
  const { policy, callerIds = [] } = facts;
  const { document, recorded, missing } = knownInput(
    { entry: decoded, request, policy, callerIds },
    evaluated.recorded,
  );
  return {
    facts: { ...own, offloaded: { ...offloaded, missing }, evaluated: { ...evaluated, recorded } },
    input: document,
  };
}
