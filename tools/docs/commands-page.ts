import type { Argument, Command, Option } from 'commander';
import { EXIT, runCli } from '../../src/cli/index.ts';
import { createProgram } from '../../src/cli/program.ts';
import { codeBlock, page, table } from './markdown.ts';

const SILENT = { terminal: { out: () => undefined, err: () => undefined }, finish: () => undefined };
/** They stand once, at the top. */
const COMMON = new Set(['--output', '--help']);
const SERVER = new Set(['--config', '--socket']);

/** docs/reference/commands.md, from what the commands say of themselves. */
export async function commandsPage(): Promise<string> {
  const leaves = leavesOf(await createProgram(SILENT), []);
  const sections = await Promise.all(leaves.map(sectionOf));
  return page('Commands', 'what src/cli/groups/ declares', [
    codeBlock('sh', ['svidgate status --config svidgate.yaml', 'svidgate entry create --help']),
    'Each command has `--help` with an example. `--output json` gives one JSON object on a line of its own instead of ' +
      'text; its keys stay as they are, and more may be added.',
    'Commands that ask a running server find it by `--config FILE`, whose `admin.socket` and `workload_socket` they use, ' +
      'by `SVIDGATE_CONFIG`, which names such a file, or by `--socket PATH`. `svid fetch` and `svid watch` also take ' +
      '`SPIFFE_ENDPOINT_SOCKET`.',
    table(
      ['Exit code', 'Means'],
      [
        [String(EXIT.done), 'done'],
        [String(EXIT.failed), 'failed: the server refused, or could not be reached'],
        [String(EXIT.wrongUsage), 'wrong usage or configuration: the command line, a file or a value cannot be right'],
      ],
    ),
    ...sections.flat(),
  ]);
}

interface Leaf {
  readonly words: readonly string[];
  readonly command: Command;
}

function leavesOf(command: Command, words: readonly string[]): readonly Leaf[] {
  if (command.commands.length === 0) return [{ words, command }];
  return command.commands.flatMap((child) => leavesOf(child, [...words, child.name()]));
}

async function sectionOf({ words, command }: Leaf): Promise<readonly string[]> {
  const rows = [
    ...command.registeredArguments.map((argument) => [`\`${nameOf(argument)}\``, describeArgument(argument)]),
    ...command.options
      .filter(({ long }) => !COMMON.has(long ?? '') && !(SERVER.has(long ?? '') && asksServer(command)))
      .map((option) => [`\`${option.flags}\``, describeOption(option)]),
  ];
  return [
    `## svidgate ${words.join(' ')}`,
    sentence(command.description()),
    codeBlock('sh', await examplesOf(words)),
    ...(rows.length === 0 ? [] : [table(['Argument or option', 'Meaning'], rows)]),
  ];
}

function asksServer(command: Command): boolean {
  return command.options.some(({ long }) => long === '--socket');
}

function nameOf(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
  return argument.required ? `<${name}>` : `[${name}]`;
}

function describeArgument({ description, argChoices, defaultValue }: Argument): string {
  return [description, ...choices(argChoices), ...defaults(defaultValue)].filter((part) => part !== '').join('; ');
}

function describeOption({ description, argChoices, defaultValue, mandatory, envVar }: Option): string {
  const env = envVar === undefined ? [] : [`or \`${envVar}\``];
  return [
    description,
    ...choices(argChoices),
    ...defaults(defaultValue),
    ...env,
    ...(mandatory ? ['required'] : []),
  ].join('; ');
}

function choices(values: readonly string[] | undefined): readonly string[] {
  return values === undefined ? [] : [values.map((value) => `\`${value}\``).join(', ')];
}

function defaults(value: unknown): readonly string[] {
  return typeof value === 'string' ? [`default \`${value}\``] : [];
}

async function examplesOf(words: readonly string[]): Promise<readonly string[]> {
  let text = '';
  await runCli([...words, '--help'], { out: (piece) => (text += piece), err: () => undefined });
  return [...text.matchAll(/^ {2}\$ (.*)$/gm)].map(([, line = '']) => line);
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
