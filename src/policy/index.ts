/**
 * policy: from Rego on disk to decisions: snapshots of policy folders, OPA's compiler, evaluation in threads, reload.
 * Promises: allow only where the live policy's entrypoint is `true`, or an object whose `allowed` is; every call settles
 * by its deadline; an edit is in force as a whole or not at all, and a policy that does not compile leaves the last
 * good one in force.
 * Must not know Envoy's messages, identities, who asks, nor what is done with a decision.
 */
export type {
  ActivationGate,
  Candidate,
  GateName,
  ReplayFindings,
  ReplayLimits,
  ReplayQuestion,
} from './activation/activation-gate.ts';
export type { KeptSnapshots } from './activation/kept-snapshot.ts';
export type { LiveSnapshots } from './activation/policy-slot.ts';
export type { PolicyEvent, PolicyHistory, PolicyHold } from './activation/policy-event.ts';
export type { TestsRule } from './activation/tests-gate.ts';
export {
  bundleSource,
  type BundleSourceOptions,
  type ClientIdentity,
  type KeptBundles,
  type RemoteSource,
  type ServerJudge,
} from './download/index.ts';
export { createBundleReader, type BundleReader } from './bundle/index.ts';
export { createRegoProgram, type RegoProgram } from './rego-program.ts';
export { checkPolicyFolder } from './check-policy-folder.ts';
export type { CompiledPolicyCache } from './compiled-policy-cache.ts';
export {
  isFailure,
  type AllowDecision,
  type Decision,
  type DenyDecision,
  type DenyReason,
  type EvaluatedDecision,
  type PolicyRecording,
} from './decision.ts';
export {
  readAnswer,
  type AllowEffects,
  type DenyEffects,
  type HeaderField,
  type JwtSvidWish,
  type PolicyAnswer,
} from './decision-effects.ts';
export type { EvaluationOptions, NdBuiltinCache } from './evaluation.ts';
export type { LogRules } from './log-rules.ts';
export type { InputNeeds, PolicyInput } from './input-needs.ts';
export {
  openPolicy,
  PolicyRefusedError,
  snapshotSource,
  type AskOptions,
  type OpenedPolicy,
  type OpenPolicyOptions,
} from './open-policy.ts';
export type { OperatorRequest, PolicyMemory, RollbackRequest } from './live-policy.ts';
export {
  createPolicyEngine,
  type ListedPolicyEvent,
  type PolicyEngine,
  type PolicyEngineOptions,
} from './policy-engine.ts';
export type { PolicyData } from './policy-data.ts';
export type { PolicyLoadError, PolicySource, PolicyStatus } from './policy-status.ts';
export { isBundlePath, loadVerification } from './bundle/index.ts';
export { pathSource, type PathSourceOptions } from './path-source.ts';
export { folderSource, type PolicySnapshot, type SnapshotSource, type SourceStatus } from './snapshot-source.ts';
export { formatProblem, type PolicyProblem } from './problem.ts';
export {
  createPolicyTools,
  decisionOf,
  readKeptSnapshot,
  type BundleSigning,
  type CheckedSource,
  type FailedCondition,
  type FileCoverage,
  type NamedValue,
  type PolicyExplanation,
  type PolicyFinding,
  type PolicyQuestion,
  type PolicyTools,
  type ReferenceAnswer,
  type Refused,
  type RulePlace,
  type SpiffeLiteral,
  type TestRun,
} from './tools/index.ts';
export {
  evaluateGrants,
  rulesOf,
  type Grant,
  type GrantList,
  type GrantRule,
  type GrantsOptions,
  type PolicyGrants,
} from './partial/grants.ts';
export {
  allowQueries,
  denyQuery,
  evaluatePartially,
  refOf,
  type Condition,
  type Conjunction,
  type Residual,
  type SupportRule,
  type Term,
} from './partial/partial-evaluation.ts';
export { offeredBuiltins } from './builtins/offered.ts';
