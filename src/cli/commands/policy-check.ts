import { systemClock } from '../../core/index.ts';
import { INPUT_SCHEMA } from '../../gate/index.ts';
import { createPolicyTools, type PolicySnapshot, type PolicyTools } from '../../policy/index.ts';
import { wrongUsage } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { CheckFlags, ToolOptions } from '../groups/policy-tools.ts';
import { knownPrincipals, literalsOfData, unissuedPrincipals, type KnownPrincipals } from '../policy-principals.ts';
import { formatShownProblem, type ShownProblem } from '../policy-problems.ts';

/** `policy check` */
export async function checkPolicy(path: string | undefined, options: CheckFlags & ToolOptions): Promise<ExitCode> {
  const { output, terminal, schema = false, strict = false, entrypoint } = options;
  if (schema) {
    terminal.out(`${JSON.stringify(INPUT_SCHEMA, undefined, 2)}\n`);
    return EXIT.done;
  }
  if (path === undefined) throw wrongUsage('which policy? svidgate policy check PATH');
  const { signal } = new AbortController();
  const principals = await knownPrincipals(options, (text) => terminal.err(text));
  const tools = createPolicyTools({ clock: systemClock });
  const snapshot = await tools.source(path).read(signal);
  const question = { entrypoint, signal, ...(principals === undefined ? {} : { principals }) };
  const found = await findProblems(tools, snapshot, question);
  const problems = strict ? found.map((problem) => ({ ...problem, severity: 'error' as const })) : found;
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  if (output === 'json') {
    terminal.out(`${JSON.stringify({ ok: errors === 0, path, digest: snapshot.digest, problems })}\n`);
  } else {
    for (const problem of problems) terminal.out(formatShownProblem(path, problem));
    terminal.out(`${path}: ${countProblems(problems)}\n`);
  }
  return errors === 0 ? EXIT.done : EXIT.failed;
}

/** `2 errors, 1 warning` */
export function countProblems(problems: readonly ShownProblem[]): string {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  if (problems.length === 0) return 'nothing to say';
  const count = (number: number, what: string): readonly string[] =>
    number === 0 ? [] : [`${number} ${what}${number === 1 ? '' : 's'}`];
  return [...count(errors, 'error'), ...count(warnings, 'warning')].join(', ');
}

/** What never works as it is written, or is open by itself; the rest may be meant. */
const ERRORS: ReadonlySet<string> = new Set(['default_allows', 'input_type', 'input_unknown']);

/** Everything there is to say about a policy, in the order of files and lines. */
export async function findProblems(
  tools: PolicyTools,
  snapshot: PolicySnapshot,
  question: { readonly entrypoint: string; readonly signal: AbortSignal; readonly principals?: KnownPrincipals },
): Promise<readonly ShownProblem[]> {
  const { entrypoint, signal, principals } = question;
  const checked = await tools.check(snapshot.files, { entrypoint, schema: INPUT_SCHEMA, signal });
  if (checked.kind === 'refused')
    return checked.problems.map((problem) => ({ ...problem, severity: 'error' as const }));
  const literals = [...checked.literals, ...literalsOfData(snapshot)];
  const problems: readonly ShownProblem[] = [
    ...checked.warnings.map((warning) => ({ ...warning, severity: 'warning' as const })),
    ...checked.findings.map((finding) => ({
      ...finding,
      severity: ERRORS.has(finding.code) ? ('error' as const) : ('warning' as const),
    })),
    ...(principals === undefined ? [] : unissuedPrincipals(literals, principals)),
  ];
  return problems.toSorted(
    (one, other) =>
      (one.file < other.file ? -1 : Number(one.file > other.file)) ||
      one.line - other.line ||
      one.column - other.column,
  );
}
