import { CommanderError } from 'commander';
import { describeError, ERROR_CATALOGUE, SvidgateError, type ErrorCode } from '../core/index.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import { createProgram } from './program.ts';
import type { Terminal } from './terminal.ts';
import { visibleLines, visibleOutput } from './visible-text.ts';

export { EXIT, type ExitCode } from './exit-code.ts';

/** Runs one command line, without the program's own name. Never throws: what goes wrong is printed. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.done;
  const finish = (code: ExitCode): void => {
    exitCode = code;
  };
  const program = await createProgram({ terminal: visible(terminal), finish });
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Help and version end with 0; all else that commander throws is wrong usage, and printed already.
    if (error instanceof CommanderError) {
      const isAnswer = error.code === 'commander.helpDisplayed' || error.code === 'commander.version';
      return isAnswer ? EXIT.done : EXIT.wrongUsage;
    }
    return reportFailure(error, terminal);
  }
}

/** Whatever a command forgets, no text of a server, a file or a workload moves the cursor. */
function visible(terminal: Terminal): Terminal {
  return {
    out: (text) => terminal.out(visibleOutput(text)),
    err: (text) => terminal.err(visibleOutput(text)),
  };
}

/** Errors of what was typed. */
const WRONG_USAGE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'config_invalid',
  'invalid_request',
  'spiffe_id_invalid',
]);

/** One clear line for the operator: what is wrong, why, and what to do about it. */
export function reportFailure(caught: unknown, terminal: Terminal): ExitCode {
  const error = SvidgateError.from(caught);
  if (error.code === 'config_invalid') {
    terminal.err(`${visibleLines(error.message)}\n`); // mistakes with their places, one a line
    return EXIT.wrongUsage;
  }
  const what = visibleLines(describeError(error));
  terminal.err(`svidgate: ${what} (${error.code}). ${ERROR_CATALOGUE[error.code].remedy}\n`);
  return WRONG_USAGE.has(error.code) ? EXIT.wrongUsage : EXIT.failed;
}
