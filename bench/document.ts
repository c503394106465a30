import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { root } from '../tools/setup/paths.mjs';
import type { Benchmark, Figure, Result } from './benchmark.ts';

/** A result with what each figure means, as it is kept. */
export interface StoredResult {
  readonly result: Result;
  readonly meanings: Readonly<Record<string, string>>;
}

export const DOCUMENT = join(root, 'docs/benchmarks.md');

const resultFile = (name: string): string => join(root, 'bench/results', `${name}.json`);

/** Keeps a result and writes the document anew, with the last results of all benchmarks. */
export async function writeResult(
  result: Result,
  figures: readonly Figure[],
  benchmarks: readonly Benchmark[],
): Promise<void> {
  const meanings = Object.fromEntries(figures.map(({ name, meaning }) => [name, meaning]));
  const stored: StoredResult = { result, meanings };
  const file = resultFile(result.bench);
  await writeFile(file, await formatted(file, JSON.stringify(stored, undefined, 2)));
  await writeDocument(benchmarks);
}

/** Writes the document from the kept results. */
export async function writeDocument(benchmarks: readonly Benchmark[]): Promise<void> {
  await writeFile(DOCUMENT, await renderDocument(benchmarks));
}

/** The document as the kept results make it. */
export async function renderDocument(benchmarks: readonly Benchmark[]): Promise<string> {
  const sections = await Promise.all(
    benchmarks.map(async (benchmark) => {
      const stored = await readStored(benchmark.name);
      return stored === undefined ? [] : section(benchmark, stored);
    }),
  );
  return formatted(DOCUMENT, [INTRODUCTION, ...sections.flat()].join('\n\n'));
}

const INTRODUCTION = `# Benchmarks

The last kept results, written by \`npm run bench -- NAME --write\`. Each benchmark measures svidgate beside something
else in the same run, in rounds that take turns, and gives medians over the rounds: a ratio says more than a rate, since
both sides of it had the same machine at the same time. To measure on your own machine: \`npm run bench\` lists them.`;

function section(benchmark: Benchmark, { result, meanings }: StoredResult): readonly string[] {
  const rows = Object.entries(result.figures).map(
    ([name, value]) => `| \`${name}\` | ${value} | ${meanings[name] ?? ''} |`,
  );
  const aims = result.aims.map(
    ({ name, bound, aim, figure, met }) => `| \`${name}\` | ${bound} ${aim} | ${figure} | ${met ? 'yes' : 'no'} |`,
  );
  return [
    `## ${benchmark.name}`,
    benchmark.method,
    `Measured on: ${result.machine}.`,
    ['| figure | value | meaning |', '| --- | ---: | --- |', ...rows].join('\n'),
    ...(aims.length === 0
      ? []
      : [['| figure | aim | value | met |', '| --- | --- | ---: | --- |', ...aims].join('\n')]),
    ...(benchmark.notes === undefined ? [] : [benchmark.notes]),
  ];
}

async function readStored(name: string): Promise<StoredResult | undefined> {
  try {
    return JSON.parse(await readFile(resultFile(name), 'utf8')) as StoredResult;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function formatted(file: string, text: string): Promise<string> {
  return format(text, { ...(await resolveConfig(file)), filepath: file, proseWrap: 'always' });
}
