import type { Decision } from '../decision.ts';
import type { NdBuiltinCache } from '../evaluation.ts';
import type { InputNeeds } from '../input-needs.ts';

/** What a policy has to pass before it decides, in this order; the names are a metric label and part of the history. */
export type GateName =
  /** It could be read, and its bundle is signed as it should be. */
  | 'source'
  /** It compiles, calls only what is offered, and has its entrypoint. */
  | 'compiler'
  /** The entrypoint can give a decision, as far as its type tells. */
  | 'result_type'
  /** It could be loaded. */
  | 'load'
  /** The answer to an empty input is a decision, or none. */
  | 'trial'
  /** Its own tests pass. */
  | 'tests'
  /** Recorded decisions stay as they were. */
  | 'replay';

/** How many recorded decisions are made again, and how many of them may come out otherwise. */
export interface ReplayLimits {
  readonly maxChanged: number;
  /** The newest ones; at least 1. */
  readonly records: number;
}

/** A policy that recorded decisions are tried on. */
export interface Candidate {
  /** What requests will choose it by. */
  readonly policy: string;
  readonly digest: string;
  readonly entrypoint: string;
  /** What of the input it can look at. */
  readonly needs: InputNeeds;
  /** As the engine decides; it asks nobody and never rejects. The answers of earlier exchanges come with `nd`. */
  decide(input: Uint8Array, options?: { readonly nd?: NdBuiltinCache }): Promise<Decision>;
}

export interface ReplayQuestion {
  /** Does not decide yet. */
  readonly candidate: Candidate;
  /** What decides now; absent when nothing does. */
  readonly inForce?: Candidate;
  readonly limits: ReplayLimits;
  readonly signal: AbortSignal;
}

export interface ReplayFindings {
  readonly replayed: number;
  readonly changed: number;
  /** Records that do not hold all that their decision was made of. */
  readonly notReplayable: number;
  /** Some of those that changed, each a line that names principal, method, route, what it was and would be, and the decision id. */
  readonly examples: readonly string[];
}

/** Makes recorded decisions again. */
export interface ActivationGate {
  /** Of decisions of the policy by that name, save those for anonymous callers. What it throws keeps the candidate out. */
  replay(question: ReplayQuestion): Promise<ReplayFindings>;
}
