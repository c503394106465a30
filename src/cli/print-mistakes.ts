import { relative } from 'node:path';
import { formatMistake, type Mistake } from '../config/index.ts';
import type { OutputFormat } from './terminal.ts';

/** The mistakes as text or as one JSON object, with a closing count. */
export function formatMistakes(file: string, mistakes: readonly Mistake[], output: OutputFormat): string {
  const shown = mistakes.map((mistake) => ({ ...mistake, file: displayPath(mistake.file) }));
  if (output === 'json') return `${JSON.stringify({ file, ok: shown.length === 0, mistakes: shown })}\n`;
  const lines = shown.map(formatMistake);
  return [...lines, closingLine(file, shown.length), ''].join('\n');
}

function closingLine(file: string, count: number): string {
  if (count === 0) return `${file}: no mistakes`;
  return `${file}: ${count} ${count === 1 ? 'mistake' : 'mistakes'}`;
}

/** From the working directory when it is below it. */
function displayPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' || short.startsWith('..') ? path : short;
}
