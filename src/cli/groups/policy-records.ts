import { InvalidArgumentError, type Command } from 'commander';
import { examples, outputOption, repeated, type CliContext } from '../command-line.ts';
import type { DecisionLogFlags } from '../decision-log.ts';
import type { OutputFormat } from '../terminal.ts';

/** `svidgate policy replay|…`: tools that read decision logs. */
export function addPolicyRecordCommands(group: Command, context: CliContext): void {
  addReplay(group, context);
  addDiff(group, context);
  addUnused(group, context);
  addMigrationReport(group, context);
}

interface OutputFlag {
  readonly output: OutputFormat;
}

/** Flags of `policy replay`. */
export interface ReplayFlags extends DecisionLogFlags {
  readonly policy: string;
  readonly entrypoint: string;
  readonly maxChanged: number;
  readonly minReplayable: number;
  readonly samples: number;
}

function addReplay(group: Command, { terminal, finish }: CliContext): void {
  const replay = logOptions(
    group
      .command('replay')
      .description('what a policy would have answered to recorded decisions; 1 when too many would change')
      .requiredOption('--policy <path>', 'the policy that is tried: a folder, a .rego or rules file, or a bundle'),
  )
    .option('-e, --entrypoint <path>', 'the rule that decides', DEFAULT_ENTRYPOINT)
    .option('--max-changed <number>', 'how many decisions may change', count, 0)
    .option('--min-replayable <percent>', 'how much of the log must be replayable', percent, 0)
    .option('--samples <number>', 'decision ids shown for each change', count, 3)
    .addOption(outputOption('form of the result'));
  replay.action(async (flags: ReplayFlags & OutputFlag) => {
    const { replayPolicy } = await import('../commands/policy-replay.ts');
    finish(await replayPolicy({ ...flags, terminal }));
  });
  examples(
    replay,
    'svidgate policy replay --from ./data/decisions --policy ./policies/rego',
    'svidgate policy replay --from decisions.jsonl.gz --policy ./new --name payments --since 24h --max-changed 10',
  );
}

/** Flags of `policy diff`. */
export interface DiffFlags {
  readonly entrypoint: string;
  readonly from?: readonly string[];
  readonly name?: string;
  readonly samples: number;
  readonly seed: number;
  readonly tries: number;
}

function addDiff(group: Command, { terminal, finish }: CliContext): void {
  const diff = group
    .command('diff')
    .description('look for requests that two policies answer differently; 1 when there are some')
    .argument('<old>', 'a folder, a .rego or rules file, or a bundle')
    .argument('<new>', 'a folder, a .rego or rules file, or a bundle')
    .option('-e, --entrypoint <path>', 'the rule that decides', DEFAULT_ENTRYPOINT)
    .option(
      '--from <path>',
      'a decision log, whose requests are tried and changed, too; may be given several times',
      repeated,
    )
    .option('--name <policy>', 'of the log, decisions of the policy with this name; default: of all')
    .option('--samples <number>', 'requests shown of each kind of difference', count, 3)
    .option('--seed <number>', 'the same number tries the same requests', count, 1)
    .option('--tries <number>', 'how many requests are tried', count, 20_000)
    .addOption(outputOption('form of the result'));
  diff.action(async (before: string, after: string, flags: DiffFlags & OutputFlag) => {
    const { diffPolicies } = await import('../commands/policy-diff.ts');
    finish(await diffPolicies([before, after], { ...flags, terminal }));
  });
  examples(
    diff,
    'svidgate policy diff ./policies/rego ./new',
    'svidgate policy diff ./old.rego ./new.rego -e payments/authz/decision --from ./data/decisions',
  );
}

/** Flags of `policy unused`. */
export interface UnusedFlags extends DecisionLogFlags {
  readonly policy: string;
  readonly entrypoint: string;
}

function addUnused(group: Command, { terminal, finish }: CliContext): void {
  const unused = logOptions(
    group
      .command('unused')
      .description('what a policy grants and no recorded allow used, by principal; 0 also when there is something')
      .requiredOption('--policy <path>', 'the policy: a folder, a .rego or rules file, or a bundle'),
  )
    .option('-e, --entrypoint <path>', 'the rule that decides', DEFAULT_ENTRYPOINT)
    .addOption(outputOption('form of the result'));
  unused.action(async (flags: UnusedFlags & OutputFlag) => {
    const { unusedGrants } = await import('../commands/policy-unused.ts');
    finish(await unusedGrants({ ...flags, terminal }));
  });
  examples(unused, 'svidgate policy unused --from ./data/decisions --policy ./policies/rego --since 90d');
}

/** Flags of `policy migration-report`. */
export interface MigrationFlags extends DecisionLogFlags {
  readonly oldCredential: readonly string[];
}

function addMigrationReport(group: Command, { terminal, finish }: CliContext): void {
  const report = logOptions(
    group
      .command('migration-report')
      .description('which callers still send an old credential beside their identity, by route')
      .requiredOption(
        '--old-credential <kind:name>',
        'header:NAME, query:NAME, jwt-provider:NAME or jwt-issuer:ISSUER; may be given several times',
        repeated,
      ),
  ).addOption(outputOption('form of the result'));
  report.action(async (flags: MigrationFlags & OutputFlag) => {
    const { showMigrationReport } = await import('../commands/policy-migration.ts');
    finish(await showMigrationReport({ ...flags, terminal }));
  });
  examples(report, 'svidgate policy migration-report --from ./data/decisions --old-credential header:x-static-token');
}

const DEFAULT_ENTRYPOINT = 'envoy/authz/allow';

function logOptions(command: Command): Command {
  return command
    .requiredOption(
      '--from <path>',
      'a decision log: its folder, or a .jsonl file, also with gzip, also of OPA; may be given several times',
      repeated,
    )
    .option('--name <policy>', 'decisions of the policy with this name; default: of all')
    .option('--since <when>', 'a time, or how long ago: 24h')
    .option('--until <when>', 'a time, or how long ago');
}

function count(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('not a whole number');
  return Number(text);
}

function percent(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (text === '' || !(value >= 0 && value <= 100)) throw new InvalidArgumentError('not between 0 and 100');
  return value;
}
