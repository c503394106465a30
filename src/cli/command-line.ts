import { Option, type Command } from 'commander';
import { SvidgateError } from '../core/index.ts';
import type { ExitCode } from './exit-code.ts';
import type { OutputFormat, Terminal } from './terminal.ts';

/** What the declaration of a command needs: where it writes, and whom it tells how it ended. */
export interface CliContext {
  readonly terminal: Terminal;
  readonly finish: (code: ExitCode) => void;
}

/** How a client command finds the server. */
export interface ServerOptions {
  readonly config?: string;
  readonly socket?: string;
}

/** What every client command is given. */
export interface ClientOptions extends ServerOptions {
  readonly output: OutputFormat;
  readonly terminal: Terminal;
}

export function outputOption(description: string): Option {
  return new Option('--output <format>', description).choices(['text', 'json']).default('text');
}

/** `--output`, and the ways to name the server. */
export function clientOptions(command: Command, which: 'admin socket' | 'workload socket' = 'admin socket'): Command {
  return command
    .addOption(new Option('--config <file>', "the server's configuration file").env('SVIDGATE_CONFIG'))
    .addOption(new Option('--socket <path>', `${which} of the server, instead of the one in its configuration`))
    .addOption(outputOption('form of the result'));
}

/** Adds an option's value to those before it: for options that may come several times. */
export function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

export function examples(command: Command, ...lines: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join('')}`);
}

/** The error of a command line that cannot be right; it ends the program with EXIT.wrongUsage. */
export function wrongUsage(message: string): SvidgateError {
  return new SvidgateError('config_invalid', `svidgate: ${message}`);
}
