import type { EvaluatedDecision } from '../../policy/index.ts';
import type { DecisionFacts } from './decision-facts.ts';
import type { RefusedCaller } from './refused-share.ts';

/** A check that was answered. */
export interface AnsweredCheck {
  readonly decisionId: string;
  readonly policy: string;
  readonly outcome: DecisionFacts['outcome'];
  /** Whose check it is, when no policy was asked about it that they may ask; else absent. */
  readonly refused?: RefusedCaller;
  /** Of the input that `facts` has; default 0. */
  readonly inputBytes?: number;
  /** Everything else; asked for once, after the answer is on its way. */
  readonly facts: () => CheckFactsToRecord;
}

export type CheckFactsToRecord = Omit<
  DecisionFacts,
  'decisionId' | 'policy' | 'outcome' | 'requestNumber' | 'evaluated'
> & { readonly evaluated?: EvaluatedDecision };

/** A request that Envoy answered by itself. Half of the queue is kept for all others. */
export interface LoggedAnswer {
  readonly decisionId: string;
  /** When its entry came, epoch milliseconds. */
  readonly at: number;
  /** The entry of the access log. */
  readonly entry: Uint8Array;
  /** The process that says so. */
  readonly offloadedBy: number;
  /** The same object wherever it is the same: it goes to the recording thread once. */
  readonly common: CommonFacts;
}

/** What requests have in common that one caller answered by the same rule. */
export type CommonFacts = Omit<DecisionFacts, 'decisionId' | 'at' | 'requestNumber' | 'request' | 'evaluated'> & {
  readonly offloaded: NonNullable<DecisionFacts['offloaded']>;
  readonly evaluated: Omit<EvaluatedDecision, 'input'>;
};
