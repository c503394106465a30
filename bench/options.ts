import { parseArgs } from 'node:util';

export type Options =
  | { readonly kind: 'help' }
  | { readonly kind: 'list' }
  | { readonly kind: 'render' }
  | { readonly kind: 'mistake'; readonly message: string }
  | {
      readonly kind: 'run';
      readonly name: string;
      readonly json: boolean;
      readonly write: boolean;
      readonly quick: boolean;
    };

export const HELP = `usage: npm run bench -- [NAME] [--json] [--write] [--quick]

Measures one part of svidgate beside what it is compared with, in one run. Without a name: lists the benchmarks.
Progress goes to standard error, figures to standard output. Exit code 0 done, 1 failed, 2 wrong usage.

  --json    the last line is one JSON object: bench, machine, figures, aims
  --write   keeps the figures in bench/results/ and writes docs/benchmarks.md; without a name, from the kept figures
  --quick   tiny counts, to see that it works; the figures say nothing
  --help    this text

example: npm run bench -- authz --json
`;

const FLAGS = {
  json: { type: 'boolean', default: false },
  write: { type: 'boolean', default: false },
  quick: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Reads the command line. `names` are the benchmarks that there are. */
export function parseOptions(args: readonly string[], names: readonly string[]): Options {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options: FLAGS, allowPositionals: true });
  } catch (error) {
    return mistake((error as Error).message);
  }
  const { values, positionals } = parsed;
  if (values.help) return { kind: 'help' };
  const [name, more] = positionals;
  if (name === undefined) return { kind: values.write ? 'render' : 'list' };
  if (more !== undefined) return mistake(`one benchmark at a time: ${positionals.join(', ')}`);
  if (!names.includes(name)) return mistake(`no benchmark ${JSON.stringify(name)}: there are ${names.join(', ')}`);
  const { json, write, quick } = values;
  if (write && quick) return mistake('figures of --quick say nothing, so --write does not keep them');
  return { kind: 'run', name, json, write, quick };
}

function mistake(message: string): Options {
  return { kind: 'mistake', message };
}
