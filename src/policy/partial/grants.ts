import { systemClock, SvidgateError } from '../../core/index.ts';
import { offeredBuiltins } from '../builtins/offered.ts';
import { formatProblem, type PolicyProblem } from '../problem.ts';
import { openPolicy, snapshotSource, type AskOptions } from '../open-policy.ts';
import { createRegoCompiler, type PolicyFiles } from '../rego-compiler.ts';
import { createRegoProgram, type RegoProgram } from '../rego-program.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';
import type { InputNeeds } from '../input-needs.ts';
import { expandMembers } from './expand-members.ts';
import {
  allowQueries,
  denyQuery,
  evaluatePartially,
  type Condition,
  type Conjunction,
  type Residual,
} from './partial-evaluation.ts';

/** One way in which a policy allows: conditions on the input alone, with the data put in. */
export interface Grant {
  readonly conditions: readonly Condition[];
  /** The rules whose conditions they are, those of the entrypoint first. */
  readonly rules: readonly GrantRule[];
  /** Rego, one condition a line. */
  readonly text: string;
}

export interface GrantRule {
  /** Path: `data.envoy.authz.allow`. */
  readonly name: string;
  readonly file: string;
  /** Where it begins, from 1. */
  readonly line: number;
}

/** All ways in which a policy allows. */
export interface GrantList {
  readonly grants: readonly Grant[];
  /** What it came to, also where it denies with an object: for those who look for inputs. */
  readonly residuals: readonly Residual[];
  /** Texts and numbers that the rules name. */
  readonly constants: readonly unknown[];
  /** Places that OPA's partial evaluator gets wrong: where there are any, conditions are good for looking for inputs alone. */
  readonly misjudged: readonly PolicyProblem[];
  /** Compiles them. */
  open(): Promise<PolicyGrants>;
}

/** Tells which ways an input takes. */
export interface PolicyGrants extends AsyncDisposable {
  readonly grants: readonly Grant[];
  /** What of the input matching() looks at. */
  readonly needs: InputNeeds;
  /** Indexes of the grants that hold; undefined when the evaluation failed. */
  matching(input: Uint8Array, ask?: AskOptions): Promise<readonly number[] | undefined>;
}

export interface GrantsOptions {
  readonly snapshot: PolicySnapshot;
  readonly entrypoint: string;
  /** Shared with others. Default: one of its own. */
  readonly program?: RegoProgram;
  readonly signal: AbortSignal;
}

/** More conditions than this are not compiled to one module. */
const MAX_GRANTS = 5000;
/** Of one conjunction, by the members of lists that values may be of. */
const MAX_MEMBERS = 256;
const PACKAGE = 'svidgate_grants';
const TIME_LIMIT_MS = 120_000;

/**
 * Evaluates a policy as far as its data goes. Throws `policy_invalid` where the policy does not compile; open() does so where it
 * allows in more ways than can be told apart, or where the ways are not known exactly.
 */
export async function evaluateGrants(options: GrantsOptions): Promise<GrantList> {
  const { snapshot, entrypoint, signal } = options;
  const { program = createRegoProgram({ clock: systemClock, timeLimitMs: TIME_LIMIT_MS }) } = options;
  const allows = allowQueries(entrypoint);
  const question = { queries: [...allows, denyQuery(entrypoint)], builtins: offeredBuiltins(true), entrypoint, signal };
  const result = await evaluatePartially(program, snapshot.files, question);
  if (result.kind === 'refused') {
    const problems = result.problems.map(formatProblem).join('; ');
    throw new SvidgateError('policy_invalid', `the policy cannot be evaluated without an input: ${problems}`);
  }
  const { residuals, constants } = result;
  const misjudged = result.conflicts.filter(({ code }) => code === 'misplaced_every');
  const whole = withoutRepeats(residuals.slice(0, allows.length).flatMap(({ conjunctions: all }) => all));
  const limit = Math.max(1, Math.min(MAX_MEMBERS, Math.floor(MAX_GRANTS / Math.max(1, whole.length))));
  const conjunctions = withoutRepeats(whole.flatMap((each) => expandMembers(each, limit)));
  const grants = conjunctions.map(({ conditions, text }) => ({
    conditions,
    text,
    rules: rulesOf(conditions, entrypoint),
  }));
  return {
    grants,
    residuals,
    constants,
    misjudged,
    async open() {
      const [first] = misjudged;
      if (first !== undefined) {
        const message = `which ways of the policy to allow are used cannot be told: ${formatProblem(first)}; put it last, or say it with a helper and \`not\``;
        throw new SvidgateError('policy_invalid', message);
      }
      if (grants.length > MAX_GRANTS) {
        const message = `the policy allows in ${grants.length} ways, of which ${MAX_GRANTS} can be told apart`;
        throw new SvidgateError('policy_invalid', message);
      }
      const files = grantFiles(snapshot.files, conjunctions, residuals);
      const path = snapshotSource('grants', { files, tests: {}, digest: `grants of ${snapshot.digest}` });
      const compiler = createRegoCompiler({ clock: systemClock, program, builtins: offeredBuiltins(true) });
      const opened = await openPolicy({ path, entrypoint: `${PACKAGE}/decision`, compiler, signal });
      return {
        grants,
        needs: opened.needs,
        async matching(input, ask) {
          const evaluation = await opened.evaluate(input, ask);
          if (evaluation.kind !== 'value') return undefined;
          return (evaluation.value as { readonly matching: readonly number[] }).matching;
        },
        [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
      };
    },
  };
}

/** The policy itself, since conditions may refer to its rules, and a set of what holds. */
function grantFiles(
  files: PolicyFiles,
  conjunctions: readonly Conjunction[],
  residuals: readonly Residual[],
): PolicyFiles {
  const support = residuals.flatMap(({ modules }) => modules);
  const rules = conjunctions.map(
    ({ text }, index) => `matching contains ${index} if {\n${text === '' ? 'true' : text}\n}`,
  );
  // As a decision, which is all that an entrypoint may give.
  const decision = 'decision := {"allowed": true, "matching": [index | some index in matching]}';
  const module = [`package ${PACKAGE}`, decision, 'matching contains -1 if false', ...rules].join('\n\n');
  return {
    data: files.data,
    modules: {
      ...files.modules,
      ...Object.fromEntries(support.map((text, index) => [`${PACKAGE}/support-${index}.rego`, text])),
      [`${PACKAGE}/grants.rego`]: module,
    },
  };
}

/** Both parts of a rule may lead to the same conditions. */
function withoutRepeats(conjunctions: readonly Conjunction[]): readonly Conjunction[] {
  return [...new Map(conjunctions.map((each) => [each.text, each])).values()];
}

/** The rules that conditions come from, those of the entrypoint first. */
export function rulesOf(conditions: readonly Condition[], entrypoint: string): readonly GrantRule[] {
  const places = new Map<string, GrantRule>();
  for (const { file, rule, ruleName } of conditions) {
    if (file === undefined || rule === undefined || ruleName === undefined) continue;
    places.set(`${file}:${rule}`, { name: ruleName, file, line: rule });
  }
  const decides = `data.${entrypoint.replaceAll('/', '.')}`;
  return [...places.values()].sort((one, other) => Number(other.name === decides) - Number(one.name === decides));
}
