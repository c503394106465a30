/** Why a policy answered one input as it did. Whatever it says about other answers was tried, by OPA's evaluator. */
export interface PolicyExplanation {
  /** `deny`: a value that does not allow. */
  readonly outcome: 'allow' | 'deny' | 'undefined' | 'error';
  /** JSON text of what the entrypoint gave. */
  readonly value?: string;
  /** What the evaluation ended with. */
  readonly error?: string;
  /** The rules that gave an allow, in the order of evaluation. */
  readonly allowed?: readonly AllowingRule[];
  /** The rules that would have allowed, those with the fewest failing conditions first. Empty where none was found. */
  readonly nearest?: readonly NearRule[];
  /** How many rules of the entrypoint failed so early that they were not tried. */
  readonly notTried?: number;
  /** The search ended by its limits: there may be rules that are nearer. */
  readonly incomplete?: boolean;
}

export interface RulePlace {
  /** Such as `envoy.authz.allow`. */
  readonly rule: string;
  /** `title` of its metadata. */
  readonly title?: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface AllowingRule extends RulePlace {
  /** Without this rule the request would not have been allowed. */
  readonly alone: boolean;
  /** What its variables stood for. */
  readonly values?: readonly NamedValue[];
}

/** With all of its conditions taken as they say, and nothing else changed, the decision is an allow. */
export interface NearRule extends RulePlace {
  readonly conditions: readonly FailedCondition[];
}

export interface FailedCondition extends RulePlace {
  /** `true`: the condition failed, and is taken as true. `false`: the rule held, and is taken as one that does not. */
  readonly taken: 'true' | 'false';
  /** As it is written. */
  readonly text: string;
  /** What it met. */
  readonly values?: readonly NamedValue[];
}

export interface NamedValue {
  readonly name: string;
  /** JSON text, cut off where it is long. Absent: undefined. */
  readonly value?: string;
  /** The record does not have the real one, or a part of it. */
  readonly masked?: boolean;
}
