import type { Command } from 'commander';
import { examples, outputOption, repeated, type CliContext } from '../command-line.ts';
import type { OutputFormat } from '../terminal.ts';

/** Policies for those who do not write Rego. */
export function addPolicyAuthoringCommands(group: Command, { terminal, finish }: CliContext): void {
  const rules = group
    .command('rules')
    .description('show the Rego that a rules file becomes, or write it with its tests; a server takes the file itself')
    .argument('<file>', 'YAML; `-` for standard input')
    .option('--out <folder>', 'write rules.rego, paths.rego and rules_test.rego there')
    .addOption(outputOption('form of the result'));
  rules.action(async (file: string, options: { readonly output: OutputFormat; readonly out?: string }) => {
    const { showRules } = await import('../commands/policy-rules.ts');
    finish(await showRules(file, { ...options, terminal }));
  });
  examples(rules, 'svidgate policy rules rules.yaml', 'svidgate policy rules rules.yaml --out policy');

  const istio = group
    .command('import-istio')
    .description(
      "turn Istio's AuthorizationPolicies of one workload into a rules file; what cannot be kept exactly is refused",
    )
    .argument('<file>', 'YAML, of several documents; `-` for standard input')
    .option('--workload <namespace/labels>', 'whose policies, such as shop/app=orders,version=v1')
    .option('--root-namespace <name>', 'whose policies hold for all', 'istio-system')
    .option('--trust-domain <name>', 'of namespaces and service accounts; may be given several times', repeated, [])
    .option(
      '--provider <name=issuer>',
      'who issues tokens, by name of authz.jwt_providers; may be given several times',
      repeated,
      [],
    )
    .addOption(outputOption('form of the result'));
  istio.action(async (file: string, options: Omit<IstioFlags, 'file'> & { readonly output: OutputFormat }) => {
    const { importIstioFile } = await import('../commands/import-istio.ts');
    finish(await importIstioFile({ ...options, file }, terminal));
  });
  examples(
    istio,
    'svidgate policy import-istio policies.yaml --trust-domain cluster.local > rules.yaml',
    'svidgate policy import-istio all.yaml --workload shop/app=orders --provider accounts=https://accounts.acme.test',
  );
}

/** Flags of `policy import-istio`. */
export interface IstioFlags {
  readonly file: string;
  readonly workload?: string;
  readonly rootNamespace: string;
  readonly trustDomain: readonly string[];
  readonly provider: readonly string[];
  readonly output: OutputFormat;
}
