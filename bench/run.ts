/** `npm run bench -- NAME`: one benchmark, its figures as a table, and as JSON on the last line when asked for. */
import type { Aim, Benchmark, Figure, Result } from './benchmark.ts';
import { BENCHMARKS } from './catalogue.ts';
import { writeDocument, writeResult } from './document.ts';
import { describeMachine } from './machine.ts';
import { HELP, parseOptions, type Options } from './options.ts';
import { rounded } from './statistics.ts';

/** A benchmark takes a fraction of it on an idle machine; one that hangs must not hang whoever waits for it. */
const LIMIT_MS = 600_000;

const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const names = BENCHMARKS.map(({ name }) => name);
  const options = parseOptions(args, names);
  switch (options.kind) {
    case 'help':
      process.stdout.write(HELP);
      return 0;
    case 'list':
      process.stdout.write(list());
      return 0;
    case 'render':
      await writeDocument(BENCHMARKS);
      return 0;
    case 'mistake':
      process.stderr.write(`bench: ${options.message}\n\n${HELP}`);
      return 2;
    case 'run':
      return runOne(
        BENCHMARKS.find(({ name }) => name === options.name)!,
        options,
      );
  }
}

function list(): string {
  const lines = BENCHMARKS.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}\n`);
  return `${lines.join('')}\nnpm run bench -- NAME runs one; --help tells more.\n`;
}

async function runOne(benchmark: Benchmark, options: Extract<Options, { kind: 'run' }>): Promise<number> {
  endWithUs(benchmark.name);
  const begin = performance.now();
  const progress = (what: string): void => {
    process.stderr.write(`${benchmark.name}: ${((performance.now() - begin) / 1000).toFixed(1)} s  ${what}\n`);
  };
  try {
    const machine = await describeMachine();
    const measured = await benchmark.run({ size: options.quick ? 'quick' : 'full', progress });
    const figures = measured.map((figure) => ({ ...figure, value: rounded(figure.value) }));
    const result: Result = {
      bench: benchmark.name,
      machine,
      figures: Object.fromEntries(figures.map(({ name, value }) => [name, value])),
      aims: aimsOf(benchmark, figures),
    };
    progress('done');
    process.stdout.write(`${table(figures)}${aimLines(result.aims)}\n${machine}\n`);
    if (options.write) await writeResult(result, figures, BENCHMARKS);
    if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(
      `bench: ${benchmark.name} failed: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    return 1;
  }
}

/** Throws when a figure that is aimed at was not measured. */
function aimsOf({ name, aims = [] }: Benchmark, figures: readonly Figure[]): readonly Aim[] {
  return aims.map((aimedAt) => {
    const figure = figures.find((one) => one.name === aimedAt.name)?.value;
    if (figure === undefined) throw new Error(`${name} has no figure ${aimedAt.name}`);
    return { ...aimedAt, figure, met: aimedAt.bound === 'at most' ? figure <= aimedAt.aim : figure >= aimedAt.aim };
  });
}

function aimLines(aims: readonly Aim[]): string {
  return aims.map(({ name, bound, aim, met }) => `aim ${met ? 'met' : 'missed'}: ${name} ${bound} ${aim}\n`).join('');
}

function table(figures: readonly Figure[]): string {
  const width = Math.max(...figures.map(({ name }) => name.length));
  const lines = figures.map(
    ({ name, value, meaning }) => `${name.padEnd(width)}  ${String(value).padStart(8)}  ${meaning}\n`,
  );
  return lines.join('');
}

/** process.exit() runs the exit handlers, which end all children and remove the folders; a signal alone would not. */
function endWithUs(name: string): void {
  for (const [signal, code] of Object.entries(SIGNAL_EXIT_CODES)) process.on(signal, () => process.exit(code));
  setTimeout(() => {
    process.stderr.write(`bench: ${name} has not ended after ${LIMIT_MS / 1000} s\n`);
    process.exit(1);
  }, LIMIT_MS).unref();
}
