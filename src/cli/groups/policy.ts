import type { Command } from 'commander';
import { clientOptions, examples, outputOption, type CliContext, type ClientOptions } from '../command-line.ts';
import type { OutputFormat } from '../terminal.ts';
import { addPolicyAuthoringCommands } from './policy-authoring.ts';
import { addPolicyHistory } from './policy-history.ts';
import { addPolicyOffload } from './policy-offload.ts';
import { addPolicyRecordCommands } from './policy-records.ts';
import { addPolicyToolCommands } from './policy-tools.ts';

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

  addShadowReport(group, { terminal, finish });
  addPolicyHistory(group, { terminal, finish });
  addPolicyRecordCommands(group, { terminal, finish });
  addPolicyToolCommands(group, { terminal, finish });
  addPolicyAuthoringCommands(group, { terminal, finish });
  addPolicyOffload(group, { terminal, finish });
}

function addShadowReport(group: Command, { terminal, finish }: CliContext): void {
  const report = clientOptions(
    group
      .command('shadow-report')
      .description('how policies with `shadow_of` or `unenforced` would have decided; all conditions given must hold')
      .argument('[policy]', 'a policy that is tried; all of them when left out'),
  )
    .option('--principal <id>', 'requests of this SPIFFE ID; `unverified` for peers that nobody verified')
    .option('--method <method>', 'requests with this method')
    .option('--route <route>', 'requests of this route, as the report names it')
    .option('--since <duration>', 'kinds of requests of which one came in this time, such as 1h')
    .option('--all-digests', 'also of versions of the policy that are not in force any more')
    .option('--clear', 'forget what was counted of the policy, and begin anew');
  report.action(async (policy: string | undefined, options: Omit<ClientOptions, 'terminal'> & ShadowReportFlags) => {
    const { showShadowReport } = await import('../commands/shadow-report.ts');
    finish(await showShadowReport({ ...options, ...(policy === undefined ? {} : { policy }), terminal }));
  });
  examples(
    report,
    'svidgate policy shadow-report candidate',
    'svidgate policy shadow-report candidate --principal spiffe://prod.acme.test/web --since 24h --output json',
    'svidgate policy shadow-report candidate --clear',
  );
}

/** Flags of `policy shadow-report`. */
export interface ShadowReportFlags {
  readonly principal?: string;
  readonly method?: string;
  readonly route?: string;
  readonly since?: string;
  readonly allDigests?: boolean;
  readonly clear?: boolean;
}
