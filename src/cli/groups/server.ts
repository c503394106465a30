import { Argument, Option, type Command } from 'commander';
import { examples, outputOption, repeated, type CliContext } from '../command-line.ts';
import type { OutputFormat } from '../terminal.ts';

/** `svidgate serve` */
export function addServe(program: Command, { terminal, finish }: CliContext): void {
  const serve = program
    .command('serve')
    .description('run the server until SIGTERM or SIGINT')
    .addOption(new Option('--config <file>', 'configuration file').env('SVIDGATE_CONFIG').makeOptionMandatory())
    .addOption(outputOption('form of the mistakes in the configuration'))
    .action(async (options: { config: string; output: OutputFormat }) => {
      const { serve: run } = await import('../commands/serve.ts');
      finish(await run({ file: options.config, output: options.output, terminal }));
    });
  examples(serve, 'svidgate serve --config svidgate.yaml', 'SVIDGATE_CONFIG=svidgate.yaml svidgate serve');
}

interface CheckOptions {
  readonly envoy?: readonly string[];
  readonly config?: string;
  readonly output: OutputFormat;
}

/** `svidgate config …` */
export function addConfigGroup(program: Command, { terminal, finish }: CliContext): void {
  const config = program.command('config').description('check a configuration, list its keys');
  examples(config, 'svidgate config check svidgate.yaml', 'svidgate config reference');

  const check: Command = config
    .command('check')
    .description('tell every mistake in a configuration, its entries file and its policies; or what breaks an offload')
    .addArgument(new Argument('<file>', 'configuration file; SVIDGATE_CONFIG when left out').argOptional())
    .option('--envoy <file>', 'a bootstrap of Envoy, or a file of LDS or RDS; may be given several times', repeated)
    .option('--config <file>', 'the same as the argument: with --envoy, whose policies there are')
    .addOption(outputOption('form of the result'))
    .action(async (file: string | undefined, { envoy, config: named, ...options }: CheckOptions) => {
      const path = file ?? named ?? process.env['SVIDGATE_CONFIG'];
      if (envoy !== undefined) {
        const { checkEnvoy } = await import('../commands/config-check-envoy.ts');
        finish(
          await checkEnvoy({ ...options, files: envoy, ...(path === undefined ? {} : { config: path }), terminal }),
        );
        return;
      }
      if (path === undefined) check.error("error: missing argument 'file', and SVIDGATE_CONFIG is not set");
      const { configCheck } = await import('../commands/config-check.ts');
      finish(await configCheck({ file: path, ...options, terminal }));
    });
  examples(
    check,
    'svidgate config check svidgate.yaml',
    'svidgate config check svidgate.yaml --output json',
    'svidgate config check --envoy envoy.yaml --config svidgate.yaml',
  );

  const reference = config
    .command('reference')
    .description('list every key with its limits and default')
    .addOption(outputOption('Markdown or JSON'))
    .action(async (options: { output: OutputFormat }) => {
      const { configReference, renderConfigReference } = await import('../../config/index.ts');
      const isJson = options.output === 'json';
      terminal.out(isJson ? `${JSON.stringify(configReference())}\n` : renderConfigReference());
    });
  examples(reference, 'svidgate config reference');
}
