import { InvalidArgumentError, Option, type Command } from 'commander';
import { examples, outputOption, repeated, type CliContext, type ServerOptions } from '../command-line.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';

/** `svidgate policy build|check|test|eval|explain|watch`: tools for those who write policies. */
export function addPolicyToolCommands(group: Command, context: CliContext): void {
  addBuild(group, context);
  addCheck(group, context);
  addTest(group, context);
  addEval(group, context);
  addExplain(group, context);
  addWatch(group, context);
}

/** What every one of these commands is given. */
export interface ToolOptions {
  readonly output: OutputFormat;
  readonly terminal: Terminal;
}

interface EntrypointFlag {
  /** Slash-separated path of the rule that decides. */
  readonly entrypoint: string;
}

/** Flags of `policy build`. */
export interface BuildFlags extends EntrypointFlag {
  readonly out?: string;
  readonly wasm?: boolean;
  readonly revision: string;
  readonly tests: boolean;
  readonly signingKey?: string;
  readonly signingAlg: string;
  readonly keyId: string;
  readonly scope?: string;
}

/** Flags of `policy check`. */
export interface CheckFlags extends EntrypointFlag, ServerOptions {
  readonly strict?: boolean;
  readonly schema?: boolean;
}

/** Flags of `policy test`. */
export interface TestFlags {
  readonly coverage?: boolean;
  readonly threshold?: number;
  readonly run?: string;
  readonly watch?: boolean;
}

/** Where a recorded decision is looked for. */
export interface DecisionFlags {
  readonly from?: readonly string[];
  readonly config?: string;
}

/** Flags of `policy eval`. */
export interface EvalFlags extends EntrypointFlag, DecisionFlags {
  readonly input?: string;
  readonly decision?: string;
  readonly reference?: boolean;
}

/** Flags of `policy explain`. */
export interface ExplainFlags extends DecisionFlags {
  readonly policy?: string;
  readonly entrypoint?: string;
}

/** Flags of `policy watch`. */
export interface WatchFlags extends EntrypointFlag {
  readonly from?: readonly string[];
  readonly name?: string;
}

const DEFAULT_ENTRYPOINT = 'envoy/authz/allow';
const POLICY = 'a folder, a .rego file, or an OPA bundle (.tar.gz)';
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512'];

function addBuild(group: Command, { terminal, finish }: CliContext): void {
  const build = withEntrypoint(
    group.command('build').description('make an OPA bundle of a policy, or its WASM module').argument('<path>', POLICY),
  )
    .option('-o, --out <file>', 'what is written; default: bundle.tar.gz, or policy.wasm')
    .option('--wasm', "the module alone, as OPA's `build -t wasm` makes it")
    .option('--revision <text>', 'what the bundle calls itself', '')
    .option('--no-tests', 'leave the _test.rego files out')
    .option('--signing-key <file>', 'sign it: a private key in PEM, or for HS256 and its like the secret')
    .addOption(
      new Option('--signing-alg <name>', 'algorithm of the signature')
        .choices([...ALGORITHMS, ...SECRET_ALGORITHMS])
        .default('RS256'),
    )
    .option('--key-id <name>', 'the name that verifiers know the key by', '')
    .option('--scope <text>', 'what verifiers with a scope ask for')
    .addOption(outputOption('form of the result'));
  build.action(async (path: string, flags: BuildFlags & { readonly output: OutputFormat }) => {
    const { buildPolicy } = await import('../commands/policy-build.ts');
    finish(await buildPolicy(path, { ...flags, terminal }));
  });
  examples(
    build,
    'svidgate policy build ./policies/rego -o bundle.tar.gz --revision v7',
    'svidgate policy build ./policies/rego --signing-key release.pem --signing-alg ES256 --key-id release',
  );
}

function addCheck(group: Command, { terminal, finish }: CliContext): void {
  const check = withEntrypoint(
    group
      .command('check')
      .description('what the server would refuse, and what is probably not meant; 1 when there are errors')
      .argument('[path]', POLICY),
  )
    .option('--strict', 'warnings are errors')
    .option('--schema', 'print the JSON schema of the input, and nothing else')
    .addOption(
      new Option(
        '--config <file>',
        'compare SPIFFE IDs in the policy with the entries of this server, or of its entries file when it does not run',
      ).env('SVIDGATE_CONFIG'),
    )
    .option('--socket <path>', 'the same, by the admin socket of a server')
    .addOption(outputOption('form of the result'));
  check.action(async (path: string | undefined, flags: CheckFlags & { readonly output: OutputFormat }) => {
    const { checkPolicy } = await import('../commands/policy-check.ts');
    finish(await checkPolicy(path, { ...flags, terminal }));
  });
  examples(
    check,
    'svidgate policy check ./policies/rego --config svidgate.yaml',
    'svidgate policy check --schema > input.schema.json',
  );
}

function addTest(group: Command, { terminal, finish }: CliContext): void {
  const test = group
    .command('test')
    .description("run the tests of a policy with OPA's runner; 1 when one fails")
    .argument('<path>', POLICY)
    .option('--coverage', 'show which lines no test evaluates')
    .option('--threshold <percent>', 'fail when less of the lines is covered', percent)
    .option('--run <regex>', 'tests whose package and name match')
    .option('--watch', 'run them again after each change, until Ctrl-C')
    .addOption(outputOption('form of the result'));
  test.action(async (path: string, flags: TestFlags & { readonly output: OutputFormat }) => {
    const { testPolicy } = await import('../commands/policy-test.ts');
    finish(await testPolicy(path, { ...flags, terminal }));
  });
  examples(
    test,
    'svidgate policy test ./policies/rego',
    'svidgate policy test ./policies/rego --threshold 90 --run denied',
  );
}

function addEval(group: Command, { terminal, finish }: CliContext): void {
  const evaluate = decisionOptions(
    withEntrypoint(
      group
        .command('eval')
        .description('the decision of a policy about one input, as the gate makes it')
        .argument('<path>', POLICY),
    ).option('-i, --input <file>', 'the input document as JSON; `-` for standard input'),
  )
    .option('--decision <id>', 'the input of a recorded decision, with what builtins answered then')
    .option('--reference', "by OPA's own evaluator rather than the compiled module")
    .addOption(outputOption('form of the result'));
  evaluate.action(async (path: string, flags: EvalFlags & { readonly output: OutputFormat }) => {
    const { evalPolicy } = await import('../commands/policy-eval.ts');
    finish(await evalPolicy(path, { ...flags, terminal }));
  });
  examples(
    evaluate,
    'svidgate policy eval ./policies/rego --input request.json',
    'svidgate policy eval ./policies/rego --decision 0197f3c2-6c6d-7000-8000-2a0c4f0b9d11 --from ./data/decisions',
  );
}

function addExplain(group: Command, { terminal, finish }: CliContext): void {
  const explain = decisionOptions(
    group
      .command('explain')
      .description('which rule allowed a recorded request, or what was missing for an allow')
      .argument('<decision-id>', 'of the log, the decision log or the headers of the reply'),
  )
    .option('--policy <path>', 'the policy that decided; default: the one that was in force then')
    .option('-e, --entrypoint <path>', 'the rule that decides; default: the recorded one')
    .addOption(outputOption('form of the result'));
  explain.action(async (id: string, flags: ExplainFlags & { readonly output: OutputFormat }) => {
    const { explainDecision } = await import('../commands/policy-explain.ts');
    finish(await explainDecision(id, { ...flags, terminal }));
  });
  examples(
    explain,
    'svidgate policy explain 0197f3c2-6c6d-7000-8000-2a0c4f0b9d11 --config svidgate.yaml',
    'svidgate policy explain 0197f3c2-6c6d-7000-8000-2a0c4f0b9d11 --from decisions.jsonl --policy ./policies/rego',
  );
}

function addWatch(group: Command, { terminal, finish }: CliContext): void {
  const watch = withEntrypoint(
    group
      .command('watch')
      .description('build, check, test and replay a policy after each change, until Ctrl-C')
      .argument('<path>', 'a folder or a .rego file'),
  )
    .option('--from <path>', 'decisions to replay: a decision log; may be given several times', repeated)
    .option('--name <policy>', 'decisions of the policy with this name; default: of all')
    .addOption(outputOption('form of the result: json is one object a line'));
  watch.action(async (path: string, flags: WatchFlags & { readonly output: OutputFormat }) => {
    const { watchPolicy } = await import('../commands/policy-watch.ts');
    finish(await watchPolicy(path, { ...flags, terminal }));
  });
  examples(watch, 'svidgate policy watch ./policies/rego --from ./data/decisions');
}

function withEntrypoint(command: Command): Command {
  return command.option('-e, --entrypoint <path>', 'the rule that decides', DEFAULT_ENTRYPOINT);
}

function decisionOptions(command: Command): Command {
  return command
    .option('--from <path>', 'the decision log; default: the one of the configuration', repeated)
    .addOption(new Option('--config <file>', "the server's configuration file").env('SVIDGATE_CONFIG'));
}

function percent(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (text === '' || !(value >= 0 && value <= 100)) throw new InvalidArgumentError('not between 0 and 100');
  return value;
}
