/**
 * policy: from Rego on disk to decisions: snapshots of policy folders, OPA's compiler, evaluation in threads, reload.
 * Promises: allow only where the live policy's entrypoint is `true`, or an object whose `allowed` is; every call settles
 * by its deadline; an edit is in force as a whole or not at all, and a policy that does not compile leaves the last
 * good one in force.
 * Must not know Envoy's messages, identities, who asks, nor what is done with a decision.
 */
export { checkPolicyFolder } from './check-policy-folder.ts';
export type { CompiledPolicyCache } from './compiled-policy-cache.ts';
export {
  isFailure,
  type AllowDecision,
  type Decision,
  type DenyDecision,
  type DenyReason,
  type EvaluatedDecision,
} from './decision.ts';
export {
  readAnswer,
  type AllowEffects,
  type DenyEffects,
  type HeaderField,
  type PolicyAnswer,
} from './decision-effects.ts';
export type { EvaluationOptions, NdBuiltinCache } from './evaluation.ts';
export type { InputNeeds, PolicyInput } from './input-needs.ts';
export {
  openPolicy,
  PolicyRefusedError,
  snapshotSource,
  type AskOptions,
  type OpenedPolicy,
  type OpenPolicyOptions,
} from './open-policy.ts';
export { createPolicyEngine, type PolicyEngine, type PolicyEngineOptions } from './policy-engine.ts';
export type { PolicyData } from './policy-data.ts';
export type { PolicyLoadError, PolicySource, PolicyStatus } from './policy-status.ts';
export { folderSource, type PolicySnapshot, type SnapshotSource, type SourceStatus } from './snapshot-source.ts';
export { formatProblem, type PolicyProblem } from './problem.ts';
