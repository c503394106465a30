import type { MessagePort } from 'node:worker_threads';
import type { LogFields, Metrics } from '../../core/index.ts';
import type { LossReason, RecordLogStatus } from '../log/index.ts';
import type { SinkSettings, SinkStatus } from '../sinks/index.ts';
import type { RulesAnswer } from './apply-log-rules.ts';
import type { DecisionFacts, EvaluatedFacts } from './decision-facts.ts';
import type { RecordedPaths } from './decision-record.ts';
import type { RuleQuestion } from './log-rule-questions.ts';
import type { ShownParts } from './input-rules.ts';

/** What the recording thread is given at its start. */
export interface RecordThreadJob {
  readonly port: MessagePort;
  readonly folder: string;
  readonly maxBytes: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly shown: ShownParts;
  /** Of the hashes. */
  readonly key: Uint8Array;
  /** Who gets the records beside the disk; default nobody. */
  readonly sinks?: SinkSettings;
}

/** How the log and who gets it fare. */
export interface RecorderStatus {
  readonly log: RecordLogStatus;
  readonly sinks: readonly SinkStatus[];
}

/** Facts on their way: what all decisions of a policy have in common goes once. */
export interface SentFacts extends Omit<DecisionFacts, 'evaluated'> {
  readonly evaluated?: Omit<EvaluatedFacts, 'recorded'> & {
    /** Number of the paths. */
    readonly recorded: number;
    /** Of the input among the inputs. */
    readonly inputBytes: number;
    /** Number of the log rules of its policy; absent when it has none. */
    readonly rules?: number;
  };
}

/** Of what Envoys answered by themselves, what many have in common. */
export type SentCommon = Omit<DecisionFacts, 'decisionId' | 'at' | 'requestNumber' | 'request' | 'evaluated'> & {
  readonly offloaded: NonNullable<DecisionFacts['offloaded']>;
  readonly evaluated: Omit<NonNullable<SentFacts['evaluated']>, 'inputBytes'>;
};

/** The newest that the recording thread knows. */
export const MAX_COMMON = 4096;

/** One of those: its id, `requestNumber`, `at`, the number of what it has in common, bytes of its entry among the inputs. */
export type SentLogged = readonly [
  decisionId: string,
  requestNumber: number,
  at: number,
  common: number,
  inputBytes: number,
];

export interface LostDecisions {
  readonly reason: LossReason;
  readonly policy?: string;
  readonly count: number;
}

export interface DecisionsMessage {
  readonly kind: 'decisions';
  /** JSON text of a list of SentFacts and SentLogged. */
  readonly facts: string;
  /** Of all that have one, one after the other. */
  readonly inputs: Uint8Array;
  /** Paths that were not sent before, by their numbers. */
  readonly paths: readonly (readonly [number, RecordedPaths])[];
  /** The same of what many have in common. */
  readonly common: readonly (readonly [number, SentCommon])[];
  readonly lost: readonly LostDecisions[];
}

export type ToRecordThread =
  | DecisionsMessage
  | { readonly kind: 'status'; readonly id: number }
  | { readonly kind: 'ruled'; readonly id: number; readonly answer: RulesAnswer }
  /** The answer to `write`; a failure when nobody reads. */
  | { readonly kind: 'written'; readonly failure?: string }
  /** Everything that was sent before is written first. */
  | { readonly kind: 'close' };

export type FromRecordThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  /** The oldest message of decisions is done, but for these records that wait for their log rules. */
  | { readonly kind: 'done'; readonly waiting: number }
  /** So many of those are done. */
  | { readonly kind: 'followed'; readonly count: number }
  | { readonly kind: 'status'; readonly id: number; readonly status: RecorderStatus }
  | ({ readonly kind: 'rule' } & RuleQuestion)
  /** Lines for standard output, which log lines go to as well; one message at a time. */
  | { readonly kind: 'write'; readonly lines: string }
  | { readonly kind: 'closed' }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly fields: LogFields;
      readonly message: string;
    }
  | { readonly kind: 'metric'; readonly method: keyof Metrics; readonly values: readonly unknown[] };
