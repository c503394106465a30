import { createHash } from 'node:crypto';
import { formatMistake, readTextFile, type Mistake } from '../config/index.ts';
import { readSteady } from '../core/index.ts';
import type { RegistrationEntry, TrustDomain } from '../spiffe/index.ts';
import { parseAside, parseHere } from './parse-aside.ts';

const MAX_ENTRIES_BYTES = 64 * 1024 * 1024;

/** What is in the file now. */
export type EntriesReading =
  | { readonly kind: 'same' }
  | { readonly kind: 'mistakes'; readonly mistakes: readonly Mistake[] }
  | { readonly kind: 'entries'; readonly entries: readonly RegistrationEntry[] };

/** One entries file, read again and again. */
export class EntriesFile {
  readonly #source: { readonly file: string; readonly trustDomain: TrustDomain };
  /** What was read last, right or wrong, so that an unchanged file costs nothing and is logged once. */
  #lastSeen: string | undefined;

  constructor(source: { readonly file: string; readonly trustDomain: TrustDomain }) {
    this.#source = source;
  }

  /** `same` when it is as it was at the last reading. Rejects when the signal is aborted. */
  async read(signal: AbortSignal): Promise<EntriesReading> {
    const { file, trustDomain } = this.#source;
    const read = await readSteady(file, () => readTextFile(file, { maxBytes: MAX_ENTRIES_BYTES }));
    const seen = read.mistake === undefined ? digestOf(read.text) : formatMistake(read.mistake);
    if (seen === this.#lastSeen) return { kind: 'same' };
    this.#lastSeen = seen;
    if (read.mistake !== undefined) return { kind: 'mistakes', mistakes: [read.mistake] };
    const parsed = await parseAside({ text: read.text, file, trustDomain }, signal);
    if (parsed.mistakes !== undefined) return { kind: 'mistakes', mistakes: parsed.mistakes };
    return { kind: 'entries', entries: parsed.entries };
  }

  /** The next reading counts as a new one. */
  forget(): void {
    this.#lastSeen = undefined;
  }
}

/** Every mistake of an entries file, being unreadable included; empty when the server would take it. */
export async function checkEntriesFile(file: string, trustDomain: TrustDomain): Promise<readonly Mistake[]> {
  const read = await readTextFile(file, { maxBytes: MAX_ENTRIES_BYTES });
  if (read.mistake !== undefined) return [read.mistake];
  return parseHere({ text: read.text, file, trustDomain }).mistakes ?? [];
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
