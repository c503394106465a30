import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { root } from '../../tools/setup/paths.mjs';
import type { SoakResult } from './run-soak.ts';
import { LIMITS } from './verdict.ts';

const DOCUMENT = join(root, 'docs/resilience.md');
const BEGIN = '<!-- soak: written by `npm run soak -- --write` -->';
const END = '<!-- end of soak -->';

/** Puts the result between the two marks of docs/resilience.md. */
export async function writeSoakResult(result: SoakResult): Promise<void> {
  const text = await readFile(DOCUMENT, 'utf8');
  const [before, after] = [text.split(BEGIN)[0], text.split(END)[1]];
  if (before === undefined || after === undefined) throw new Error(`${DOCUMENT} has no place for a soak`);
  const fresh = [before, BEGIN, '\n\n', soakTable(result), '\n\n', END, after].join('');
  const options = { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT };
  await writeFile(DOCUMENT, await format(fresh, options));
}

export function soakTable(result: SoakResult): string {
  const { vitals, growth, counts } = result;
  const [first, last] = [vitals[0]!, vitals.at(-1)!];
  const changes = [...counts].reduce((sum, [name, count]) => (name.startsWith('change:') ? sum + count : sum), 0);
  const mb = (from: number, to: number): string => `${from.toFixed(0)} MB to ${to.toFixed(0)} MB`;
  const rows = [
    ['date', new Date().toISOString().slice(0, 10)],
    ['minutes', String(Math.round(result.seconds / 60))],
    ['requests', result.requests.toLocaleString('en-US')],
    ['wrong answers', String(result.wrong)],
    ['changes while they ran', changes.toLocaleString('en-US')],
    ['resident memory, without garbage', mb(first.residentMb, last.residentMb)],
    ['of the second half, at most', `${growth.residentMbPerHour.toFixed(1)} MB/h, ${LIMITS.residentMbPerHour}`],
    ['heap and buffers of the main thread', mb(first.heapMb, last.heapMb)],
    ['of the second half, at most', `${growth.heapMbPerHour.toFixed(1)} MB/h, ${LIMITS.heapMbPerHour}`],
    ['descriptors and threads', `${first.descriptors} and ${first.threads} to ${last.descriptors} and ${last.threads}`],
    ['problems', result.problems.length === 0 ? 'none' : result.problems.join('; ').slice(0, 500)],
  ];
  return ['| | |', '| --- | --- |', ...rows.map(([what, value]) => `| ${what} | ${value} |`)].join('\n');
}
