import type { FileCoverage, TestRun } from '../policy/index.ts';
import { placeOf } from './policy-problems.ts';
import { formatTable } from './table.ts';
import { visibleLines, visibleText } from './visible-text.ts';

/** What the tests of a policy gave. */
export interface TestVerdict {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Of the lines with something to evaluate, in percent; absent when not asked for. */
  readonly coverage?: number;
  /** Why the command fails; absent when all is well. */
  readonly failure?: string;
}

export function judgeTests(
  run: TestRun,
  options: { readonly coverage: boolean; readonly threshold?: number },
): TestVerdict {
  const count = (...outcomes: readonly string[]): number =>
    run.tests.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const verdict = { passed: count('pass'), failed: count('fail', 'error'), skipped: count('skip') };
  const coverage = options.coverage ? { coverage: coveredPercent(run.coverage) } : {};
  const failure = failureOf(run, { ...verdict, ...coverage }, options.threshold);
  return { ...verdict, ...coverage, ...(failure === undefined ? {} : { failure }) };
}

function failureOf(run: TestRun, verdict: TestVerdict, threshold: number | undefined): string | undefined {
  const { failed, coverage } = verdict;
  if (run.tests.length === 0) return 'there are no tests';
  if (failed > 0) return `${failed} ${failed === 1 ? 'test fails' : 'tests fail'}`;
  if (threshold === undefined || coverage === undefined || coverage >= threshold) return undefined;
  return `${formatPercent(coverage)} of the lines are covered, less than ${threshold} %`;
}

/** 100 where there is nothing to cover. */
export function coveredPercent(files: readonly FileCoverage[]): number {
  const total = files.reduce((sum, file) => sum + file.total, 0);
  const covered = files.reduce((sum, file) => sum + file.covered, 0);
  return total === 0 ? 100 : (100 * covered) / total;
}

/** Rounded down: 100 % is all of them. */
export function formatPercent(percent: number): string {
  return `${Math.floor(percent * 10) / 10} %`;
}

/** The failing tests with their places, what they printed, the coverage, and a last line with the counts. */
export function formatTestRun(path: string, run: TestRun, verdict: TestVerdict): string {
  const failures = run.tests
    .filter(({ outcome }) => outcome === 'fail' || outcome === 'error')
    .flatMap(({ file, line, name, package: packageName, outcome, error, failedCases = [], output = '' }) => [
      `${placeOf(path, { file })}:${line}: ${outcome}: ${visibleText(packageName)}.${visibleText(name)}\n`,
      ...failedCases.map((failed) => `    case ${visibleText(failed)}\n`),
      ...(error === undefined ? [] : [`    ${visibleText(error)}\n`]),
      ...(output === '' ? [] : [`${visibleLines(output.trimEnd().replaceAll(/^(?=.)/gm, '    '))}\n`]),
    ]);
  const { passed, failed, skipped, coverage } = verdict;
  const coverageText = coverage === undefined ? '' : formatCoverage(path, run.coverage, coverage);
  const skippedText = skipped === 0 ? '' : `, ${skipped} skipped`;
  return `${failures.join('')}${coverageText}${passed} passed, ${failed} failed${skippedText}\n`;
}

function formatCoverage(path: string, files: readonly FileCoverage[], percent: number): string {
  const rows = files.map(({ file, covered, total, uncovered }) => [
    placeOf(path, { file }),
    formatPercent(total === 0 ? 100 : (100 * covered) / total),
    uncovered.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(' '),
  ]);
  return formatTable(['FILE', 'COVERED', 'LINES WITHOUT A TEST'], [...rows, ['all', formatPercent(percent), '']]);
}
