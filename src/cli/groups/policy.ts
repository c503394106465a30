import type { Command } from 'commander';
import { examples, outputOption, type CliContext } from '../command-line.ts';
import type { OutputFormat } from '../terminal.ts';

/** `svidgate policy …` */
export function addPolicyGroup(program: Command, { terminal, finish }: CliContext): void {
  const group = program.command('policy').description('policies of the gate');
  examples(group, 'svidgate policy import-opa-config opa-config.yaml');

  const importOpa = group
    .command('import-opa-config')
    .description(
      "turn a configuration of OPA's Envoy plugin into an authz section; what differs goes to standard error",
    )
    .argument('<file>', 'YAML or JSON; `-` for standard input')
    .addOption(outputOption('form of the result'));
  importOpa.action(async (file: string, options: { readonly output: OutputFormat }) => {
    const { importOpa: run } = await import('../commands/import-opa-config.ts');
    finish(await run(file, { ...options, terminal }));
  });
  examples(importOpa, 'svidgate policy import-opa-config opa-config.yaml > authz.yaml');
}
