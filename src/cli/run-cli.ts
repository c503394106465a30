import { readFile } from 'node:fs/promises';
import { Argument, Command, CommanderError, Option } from 'commander';
import { describeError, ERROR_CATALOGUE, SvidgateError } from '../core/index.ts';
import { EXIT, type ExitCode } from './exit-code.ts';
import type { OutputFormat, Terminal } from './terminal.ts';

export { EXIT, type ExitCode } from './exit-code.ts';

/** Runs one command line, without the program's own name. Never throws: what goes wrong is printed. */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.done;
  const program = await createProgram(terminal, (code) => {
    exitCode = code;
  });
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

/** One clear line for the operator: what is wrong, why, and what to do about it. */
export function reportFailure(caught: unknown, terminal: Terminal): ExitCode {
  const error = SvidgateError.from(caught);
  if (error.code === 'config_invalid') {
    terminal.err(`${error.message}\n`); // mistakes with their places, one a line
    return EXIT.wrongUsage;
  }
  terminal.err(`svidgate: ${describeError(error)} (${error.code}). ${ERROR_CATALOGUE[error.code].remedy}\n`);
  return EXIT.failed;
}

type Finish = (code: ExitCode) => void;

async function createProgram(terminal: Terminal, finish: Finish): Promise<Command> {
  const program = new Command('svidgate')
    .description('SPIFFE identities and default-deny Rego decisions for Envoy')
    .version(await readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help for a command')
    .helpCommand('help [command]', 'print help for a command')
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) })
    .showHelpAfterError('(svidgate COMMAND --help shows an example)')
    .exitOverride();
  examples(program, 'svidgate config check svidgate.yaml', 'svidgate serve --config svidgate.yaml');
  addServe(program, terminal, finish);
  addConfig(program, terminal, finish);
  return program;
}

function addServe(program: Command, terminal: Terminal, finish: Finish): void {
  const serve = program
    .command('serve')
    .description('run the server until SIGTERM or SIGINT')
    .addOption(new Option('--config <file>', 'configuration file').env('SVIDGATE_CONFIG').makeOptionMandatory())
    .addOption(outputOption('form of the mistakes in the configuration'))
    .action(async (options: { config: string; output: OutputFormat }) => {
      const { serve: run } = await import('./commands/serve.ts');
      finish(await run({ file: options.config, output: options.output, terminal }));
    });
  examples(serve, 'svidgate serve --config svidgate.yaml', 'SVIDGATE_CONFIG=svidgate.yaml svidgate serve');
}

function addConfig(program: Command, terminal: Terminal, finish: Finish): void {
  const config = program.command('config').description('check a configuration, list its keys');
  examples(config, 'svidgate config check svidgate.yaml', 'svidgate config reference');

  const check: Command = config
    .command('check')
    .description('tell every mistake in a configuration, its entries file and its policies')
    .addArgument(new Argument('<file>', 'configuration file; SVIDGATE_CONFIG when left out').argOptional())
    .addOption(outputOption('form of the result'))
    .action(async (file: string | undefined, options: { output: OutputFormat }) => {
      const path = file ?? process.env['SVIDGATE_CONFIG'];
      if (path === undefined) check.error("error: missing argument 'file', and SVIDGATE_CONFIG is not set");
      const { configCheck } = await import('./commands/config-check.ts');
      finish(await configCheck({ file: path, output: options.output, terminal }));
    });
  examples(check, 'svidgate config check svidgate.yaml', 'svidgate config check svidgate.yaml --output json');

  const reference = config
    .command('reference')
    .description('list every key with its limits and default')
    .addOption(outputOption('Markdown or JSON'))
    .action(async (options: { output: OutputFormat }) => {
      const { configReference, renderConfigReference } = await import('../config/index.ts');
      const isJson = options.output === 'json';
      terminal.out(isJson ? `${JSON.stringify(configReference())}\n` : renderConfigReference());
    });
  examples(reference, 'svidgate config reference');
}

function outputOption(description: string): Option {
  return new Option('--output <format>', description).choices(['text', 'json']).default('text');
}

function examples(command: Command, ...lines: readonly string[]): void {
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join('')}`);
}

/** package.json is two folders up, from src/cli as from dist/cli. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
