import { Option, type Command } from 'commander';
import { examples, repeated, type CliContext } from '../command-line.ts';
import type { Terminal } from '../terminal.ts';

/** Flags of `policy offload`. */
export interface OffloadFlags {
  readonly entrypoint: string;
  readonly config?: string;
  readonly policy?: string;
  readonly explain?: boolean;
  readonly records?: readonly string[];
  readonly caller?: readonly string[];
  /** YAML is Envoy's own form, as it is sent. */
  readonly output: 'text' | 'json' | 'yaml';
}

export interface OffloadCommandOptions extends OffloadFlags {
  readonly terminal: Terminal;
}

/** `svidgate policy offload` */
export function addPolicyOffload(group: Command, { terminal, finish }: CliContext): void {
  const offload = group
    .command('offload')
    .description('what of a policy Envoy decides without a call, and why the rest takes one')
    .argument('[path]', 'a folder, a .rego or rules file, or a bundle; default: the policies of the configuration')
    .option('-e, --entrypoint <path>', 'with a path: the rule that decides', 'envoy/authz/allow')
    .addOption(
      new Option('--config <file>', "the server's configuration: its policies, and what its gate does first").env(
        'SVIDGATE_CONFIG',
      ),
    )
    .option('--policy <name>', 'one policy of the configuration, offloaded or not')
    .option('--explain', "show the policy of Envoy's RBAC filter that each rule becomes")
    .option(
      '--records <path>',
      'a decision log: how many of its decisions need no call; may be given several times',
      repeated,
    )
    .option('--caller <spiffe-id>', 'the Envoy that asks; may be given several times', repeated)
    .addOption(
      new Option('--output <format>', 'form of the result; yaml: RBAC filters as they are sent')
        .choices(['text', 'json', 'yaml'])
        .default('text'),
    );
  offload.action(async (path: string | undefined, flags: OffloadFlags) => {
    const { showOffload } = await import('../commands/policy-offload.ts');
    finish(await showOffload(path, { ...flags, terminal }));
  });
  examples(
    offload,
    'svidgate policy offload --config svidgate.yaml --records ./data/decisions',
    'svidgate policy offload ./policies/rego --explain --caller spiffe://prod.acme.test/orders',
    'svidgate policy offload bundle.tar.gz -e shop/allow --output yaml',
  );
}
