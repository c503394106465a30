/** One mistake in a policy folder. */
export interface PolicyProblem {
  /** `rego_parse_error`, `rego_type_error` and others of OPA; `builtin_not_offered`, `data_invalid`, `entrypoint`, … */
  readonly code: string;
  readonly message: string;
  /** Path below the policy folder; empty where the mistake has no file, such as an entrypoint without a rule. */
  readonly file: string;
  /** From 1; 0 where no place is known. */
  readonly line: number;
  /** From 1; 0 where no place is known. */
  readonly column: number;
}

/** `authz.rego:5:1: rego_parse_error: unexpected token`, without the parts that are not known. */
export function formatProblem(problem: PolicyProblem): string {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== '' && part !== 0).join(':');
  return `${place === '' ? '' : `${place}: `}${problem.code}: ${problem.message}`;
}
