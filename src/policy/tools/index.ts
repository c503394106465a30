/** What people do with policies beside having them decide. */
export { decide as decisionOf } from '../decision.ts';
export { readKeptSnapshot } from './kept-snapshot.ts';
export type {
  AllowingRule,
  FailedCondition,
  NamedValue,
  NearRule,
  PolicyExplanation,
  RulePlace,
} from './explanation.ts';
export {
  createPolicyTools,
  type BundleSigning,
  type CheckedSource,
  type FileCoverage,
  type PackOptions,
  type PolicyFinding,
  type PolicyQuestion,
  type PolicyTools,
  type ReferenceAnswer,
  type Refused,
  type SpiffeLiteral,
  type TestRun,
} from './policy-tools.ts';
