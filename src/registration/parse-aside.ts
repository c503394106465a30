import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Mistake } from '../config/index.ts';
import { describeError } from '../core/index.ts';
import type { RegistrationEntry, TrustDomain } from '../spiffe/index.ts';
import { parseEntries } from './entries-document.ts';

export interface EntriesText {
  readonly text: string;
  readonly file: string;
  readonly trustDomain: TrustDomain;
}

export type EntriesResult =
  | { readonly entries: readonly RegistrationEntry[]; readonly mistakes?: never }
  | { readonly mistakes: readonly Mistake[]; readonly entries?: never };

/** Some 150 entries: below it, starting a thread costs more than parsing. */
const MAX_CHARACTERS_HERE = 16 * 1024;

/** As parseEntries, in this thread. */
export function parseHere(source: EntriesText): EntriesResult {
  const parsed = parseEntries(source);
  return parsed.mistakes === undefined ? { entries: parsed.value } : { mistakes: parsed.mistakes };
}

/**
 * As parseHere, in a thread of its own when the text is large: 10,000 entries take about a second, in which no request
 * could be answered. A thread that dies (out of memory) is a mistake of the file. Rejects when the signal is aborted.
 */
export async function parseAside(source: EntriesText, signal: AbortSignal): Promise<EntriesResult> {
  if (source.text.length <= MAX_CHARACTERS_HERE) return parseHere(source);
  // TypeScript in the sources, JavaScript in the package: the extension of this file.
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  const thread = new Worker(new URL(`./parse-thread${extension}`, import.meta.url), {
    workerData: source,
    env: {},
    execArgv: [],
    name: 'svidgate entries',
  });
  try {
    const ended = once(thread, 'exit', { signal }).then(() => undefined);
    const answered = once(thread, 'message', { signal }) as Promise<[EntriesResult]>;
    ended.catch(() => undefined); // whichever comes second has no reader
    const [result] = (await Promise.race([answered, ended])) ?? [tooLarge(source, 'its thread ended')];
    return result;
  } catch (error) {
    if (signal.aborted) throw error;
    return tooLarge(source, describeError(error));
  } finally {
    await thread.terminate();
  }
}

function tooLarge({ file }: EntriesText, reason: string): EntriesResult {
  const message = `the file cannot be parsed: ${reason}`;
  return { mistakes: [{ file, line: 1, column: 1, message, remedy: 'keep it smaller' }] };
}
