import { hash } from 'node:crypto';
import type { PolicyProblem } from '../problem.ts';
import type { PolicyTest, RegoCompiler } from '../rego-compiler.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';

/** `required`: there must be tests. `when_present`: those that are there must pass. */
export type TestsRule = 'required' | 'when_present' | 'off';

export interface TestsRefusal {
  readonly message: string;
  readonly problems: readonly PolicyProblem[];
}

/** How many failures the message names; the problems have all. */
const NAMED_FAILURES = 3;

/** Over the names and texts of the tests; undefined without any. */
export function digestOfTests({ tests }: PolicySnapshot): string | undefined {
  const files = Object.entries(tests).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return files.length === 0 ? undefined : hash('sha256', JSON.stringify(files));
}

/**
 * Runs the policy's own tests: why it does not pass, or undefined. Throws `deadline_exceeded` after the time limit of the
 * compiler.
 */
export async function runTestsGate(
  snapshot: PolicySnapshot,
  rule: TestsRule,
  own: { readonly compiler: RegoCompiler; readonly signal: AbortSignal },
): Promise<TestsRefusal | undefined> {
  const { files, tests } = snapshot;
  if (rule === 'off') return undefined;
  const none = { message: 'it has no tests, and `tests: required` asks for some', problems: [] };
  if (Object.keys(tests).length === 0) return rule === 'required' ? none : undefined;
  const result = await own.compiler.test({ modules: { ...files.modules, ...tests }, data: files.data }, own.signal);
  if (result.kind === 'refused') return { message: 'its tests do not compile', problems: result.problems };
  const ran = result.tests.filter(({ outcome }) => outcome !== 'skip');
  if (ran.length === 0) return rule === 'required' ? none : undefined;
  const failed = ran.filter(({ outcome }) => outcome !== 'pass');
  if (failed.length === 0) return undefined;
  const named = failed.slice(0, NAMED_FAILURES).map((test) => `${test.package}.${test.name}`);
  const more = failed.length > named.length ? ', …' : '';
  return {
    message: `${failed.length} of its ${ran.length} tests failed: ${named.join(', ')}${more}`,
    problems: failed.map(toProblem),
  };
}

function toProblem({ outcome, error, failedCases = [], ...test }: PolicyTest): PolicyProblem {
  const cases = failedCases.length === 0 ? '' : ` with ${failedCases.join(', ')}`;
  const how = outcome === 'error' ? `ended with an error: ${error ?? ''}` : `failed${cases}`;
  const { file, line, column } = test;
  return {
    code: outcome === 'error' ? 'test_error' : 'test_failed',
    message: `${test.name} ${how}`,
    file,
    line,
    column,
  };
}
