import { OFFERED_BUILTINS } from '../builtins/offered.ts';
import type { PolicyProblem } from '../problem.ts';
import type { PolicyFiles } from '../rego-compiler.ts';
import type { RegoProgram } from '../rego-program.ts';

/**
 * What is left of one query when all is known but the unknowns: it holds where one of the conjunctions does. Data, and rules
 * that depend on nothing else, are gone; what a row of data gives is a conjunction of its own.
 */
export interface Residual {
  readonly conjunctions: readonly Conjunction[];
  /** Rules that conditions refer to, where something could not be written as a plain condition. */
  readonly support: readonly SupportRule[];
  /** The same as Rego modules. */
  readonly modules: readonly string[];
}

/** Holds where all its conditions do; without any, always. */
export interface Conjunction {
  readonly conditions: readonly Condition[];
  /** The body as Rego, one condition a line. It may refer to the rules of the policy, and to those of `modules`. */
  readonly text: string;
}

/** A rule of a supporting module. */
export interface SupportRule {
  /** Without `data`. */
  readonly path: readonly Term[];
  readonly args?: readonly Term[];
  /** A branch after others of its rule. */
  readonly else?: boolean;
  /** Of a set or an object. */
  readonly key?: Term;
  readonly value?: Term;
  readonly default: boolean;
  readonly conditions: readonly Condition[];
  readonly text: string;
}

/** One expression: a term that must be neither undefined nor false, or a call that must be so. */
export interface Condition {
  readonly negated?: boolean;
  /** Name of a builtin: `eq`, `startswith`, …; absent for a term alone, which is the first of `args`. */
  readonly operator?: string;
  readonly args?: readonly Term[];
  /** Whether the last of `args` takes the result of the call. */
  readonly output?: boolean;
  /** Its form is in `text` alone: `every`, `with`, functions of the policy. */
  readonly opaque?: boolean;
  readonly text: string;
  /** Where it stands in the policy, from 1; absent where that is not known. */
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  /** The line where the rule that it stands in begins, and its path: `data.envoy.authz.allow`. */
  readonly rule?: number;
  readonly ruleName?: string;
}

/** Has one of its fields. */
export interface Term {
  /** Any JSON scalar. */
  readonly value?: unknown;
  /** A variable, such as `input`, then keys. */
  readonly ref?: readonly Term[];
  readonly var?: string;
  readonly array?: readonly Term[];
  readonly set?: readonly Term[];
  readonly object?: readonly (readonly [Term, Term])[];
  readonly call?: { readonly operator: string; readonly args: readonly Term[] };
  /** `array`, `set` or `object` for an empty one; `other` for comprehensions, whose Rego is in `text`. */
  readonly kind?: 'array' | 'set' | 'object' | 'other';
  readonly text?: string;
}

export interface PartialQuestion {
  /** Rego, such as `data.envoy.authz.allow == true`. One that can never hold has no conjunctions. */
  readonly queries: readonly string[];
  /** References whose value is not known. Default: `input`. */
  readonly unknowns?: readonly string[];
  /** What the policy may call. Default: all that is offered. Those that depend on more than their arguments are not called. */
  readonly builtins?: readonly string[];
  /** Slash path of the rule that is looked at for `conflicts` and `deciding`. */
  readonly entrypoint?: string;
}

export type PartialResult =
  | {
      readonly kind: 'evaluated';
      /** One for each query. */
      readonly residuals: readonly Residual[];
      /** Texts and numbers that the rules name. */
      readonly constants: readonly unknown[];
      /** Rules below the entrypoint that may have two values at once: an error, which conjunctions do not show. */
      readonly conflicts: readonly PolicyProblem[];
      /** Where the rules of the entrypoint stand; the message is their path. */
      readonly deciding: readonly PolicyProblem[];
    }
  | { readonly kind: 'refused'; readonly problems: readonly PolicyProblem[] };

/** Asks OPA's partial evaluator. Throws as RegoProgram.run does. */
export async function evaluatePartially(
  program: RegoProgram,
  files: PolicyFiles,
  { signal, entrypoint, ...question }: PartialQuestion & { readonly signal: AbortSignal },
): Promise<PartialResult> {
  const entrypoints = entrypoint === undefined ? {} : { entrypoints: [entrypoint] };
  const request = { op: 'partial', ...files, builtins: OFFERED_BUILTINS, ...question, ...entrypoints };
  const response = (await program.run(request, signal)) as PartialResponse;
  if (!response.ok) return { kind: 'refused', problems: response.errors };
  const { residuals = [], constants = [], conflicts = [], deciding = [] } = response;
  return { kind: 'evaluated', residuals, constants: constants.map(({ value }) => value), conflicts, deciding };
}

/** Queries of which one holds where the entrypoint allows: `true`, or an object whose `allowed` is. */
export function allowQueries(entrypoint: string): readonly string[] {
  const ref = refOf(entrypoint);
  return [`${ref} == true`, `${ref}.allowed == true`];
}

/** Holds where the entrypoint denies with an object, which may have a status or a body. */
export function denyQuery(entrypoint: string): string {
  return `${refOf(entrypoint)}.allowed == false`;
}

/** Rego of what an entrypoint names. */
export function refOf(entrypoint: string): string {
  return `data${entrypoint
    .split('/')
    .map((key) => `[${JSON.stringify(key)}]`)
    .join('')}`;
}

type PartialResponse =
  | { readonly ok: false; readonly errors: readonly PolicyProblem[] }
  | {
      readonly ok: true;
      readonly residuals?: readonly Residual[];
      readonly constants?: readonly Term[];
      readonly conflicts?: readonly PolicyProblem[];
      readonly deciding?: readonly PolicyProblem[];
    };
