import { join, relative } from 'node:path';
import type { PolicyProblem, Refused } from '../policy/index.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { OutputFormat, Terminal } from './terminal.ts';
import { visibleText } from './visible-text.ts';

/** A mistake or a warning, with what to do about it where that is known. */
export interface ShownProblem extends PolicyProblem {
  readonly severity: 'error' | 'warning';
  readonly remedy?: string;
}

/** `policies/rego/authz.rego:5:1: error: unexpected token (rego_parse_error)`, and the remedy in a line of its own. */
export function formatShownProblem(path: string, problem: ShownProblem): string {
  const { code, message, line, column, severity, remedy } = problem;
  const place = [placeOf(path, problem), line, column].filter((part) => part !== 0).join(':');
  const what = message.split('\n').map(visibleText).join('\n    ');
  return `${place}: ${severity}: ${what} (${code})\n${remedy === undefined ? '' : `    ${visibleText(remedy)}\n`}`;
}

/** The path as it was named, or the file below it. */
export function placeOf(path: string, { file }: Pick<PolicyProblem, 'file'>): string {
  const isPart = file !== '' && !path.endsWith(file) && !/\.(?:tar\.gz|tgz)$/.test(path);
  const all = isPart
    ? join(path, file)
    : file !== '' && path.endsWith(file)
      ? path
      : `${path}${file === '' ? '' : `!${file}`}`;
  const short = relative(process.cwd(), all);
  return visibleText(all.startsWith('/') && short !== '' && !short.startsWith('..') ? short : all);
}

/** Tells that a policy does not compile, and gives EXIT.failed. */
export function printRefused(
  path: string,
  { problems }: Refused,
  { output, terminal }: { readonly output: OutputFormat; readonly terminal: Terminal },
): ExitCode {
  if (output === 'json') {
    terminal.out(`${JSON.stringify({ ok: false, problems })}\n`);
  } else {
    for (const problem of problems) terminal.out(formatShownProblem(path, { ...problem, severity: 'error' }));
    terminal.out(`${path} does not compile\n`);
  }
  return EXIT.failed;
}
