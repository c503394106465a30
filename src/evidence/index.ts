/**
 * evidence: what was decided and why, as records, and what would be otherwise under another policy: replay of records, candidates
 * beside the live policies, and policies that do not decide yet.
 * Promises: nothing here changes or delays an answer; of a request is kept who asked for what, and in records what an
 * allow-list names, masked before it reaches a disk; every table and queue is bounded, what is lost is counted, and a failing
 * datastore costs counts alone.
 * Must not know Envoy's messages but for entries of its access log (offloaded/), how callers are proven, or how policies are evaluated.
 */
export {
  policyDifference,
  type ComparedPolicy,
  type DifferenceGroup,
  type DifferenceOptions,
  type DifferenceReport,
  type DifferentRequest,
} from './difference/policy-difference.ts';
export { recordedInputs } from './difference/recorded-inputs.ts';
export { tellingParts } from './difference/simplest.ts';
export {
  openRecordLog,
  readRecords,
  recordedText,
  type LossLine,
  type LossReason,
  type ReadCounts,
  type ReadProgress,
  type ReadRecordsOptions,
  type RecordCursor,
  type RecordLog,
  type RecordLogOptions,
  type RecordLogStatus,
  type RecordReading,
} from './log/index.ts';
export { createActivationReplay } from './activation/activation-replay.ts';
export { openPolicyEvidence, type PolicyEvidence, type TrialPolicy } from './policy-evidence.ts';
export { recordedEvaluation, type RecordedEvaluation } from './replay/recorded-evaluation.ts';
export { replay, type ReplayOptions, type ReplayPolicy } from './replay/replay.ts';
export type { AnswerChange } from './replay/recorded-answer.ts';
export type { ReplayChange, ReplayReport } from './replay/replay-report.ts';
export type { AnsweredCheck, CheckFactsToRecord, CommonFacts, LoggedAnswer } from './records/answered-check.ts';
export type { DecisionRecord, RecordedPaths } from './records/decision-record.ts';
export {
  openDecisionRecorder,
  type DecisionRecorder,
  type DecisionRecorderOptions,
  type LoggedAnswerRecorder,
  type OpenDecisionRecorder,
} from './records/decision-recorder.ts';
export { MAX_ENTRY_BYTES } from './offloaded/logged-entry.ts';
export {
  OffloadBooks,
  type BookedProcess,
  type EnvoyBook,
  type OffloadEvidence,
  type SavedBooks,
  type ToldCounters,
} from './offloaded/offload-books.ts';
export type { OffloadedFacts } from './offloaded/offloaded-facts.ts';
export { openHashKey } from './records/hash-key.ts';
export type { ShownParts } from './records/input-rules.ts';
export type { RecorderStatus } from './records/record-protocol.ts';
export { recordedPaths } from './records/recorded-paths.ts';
export { grantUsage, type GrantUsage, type RuleUsage, type UsageReport } from './usage/grant-usage.ts';
export { migrationReport, type MigratingCaller, type MigrationReport } from './usage/migration-report.ts';
export { parseOldCredential, type OldCredential } from './usage/old-credential.ts';
export { COMPARISONS, type Comparison, type ShadowAnswer } from './shadow-answer.ts';
export type { ShadowDifference, ShadowReport, ShadowReportFilter, ShadowSummary } from './shadow-report.ts';
export { shadowSubject, type ShadowSubject, type SubjectParts } from './shadow-subject.ts';
export type { AnsweredRequest, PolicyTrials } from './shadow-trials.ts';
