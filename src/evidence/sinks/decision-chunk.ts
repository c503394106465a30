import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { RecordLine } from '../log/index.ts';
import type { LostRecords } from './sink.ts';

/** The body of one upload, of the first `count` lines. */
export interface DecisionChunk {
  readonly count: number;
  /** A gzipped JSON array; undefined when nothing is left to be sent. */
  readonly body: Uint8Array | undefined;
  readonly lost: readonly LostRecords[];
}

const compress = promisify(gzip);
const { rawJSON: rawJson } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };
/** No more is compressed in vain than this times the limit. */
const MAX_FACTOR = 64;
/** A portion that fills less than this of the limit was too small. */
const GOOD_FILL = 0.9;

/**
 * Makes uploads of a compressed size: how much goes in is guessed from the ones before, as OPA does. A record that does not fit
 * alone loses `nd_builtin_cache` first, as with OPA, then its input, and is then not replayable any more.
 */
export class ChunkMaker {
  readonly #maxBytes: number;
  #guess: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#guess = maxBytes;
  }

  /** `isTight`: the receiver took not even one record of this size. */
  async next(lines: readonly RecordLine[], isTight = false): Promise<DecisionChunk> {
    if (isTight) return await this.#smallest(lines);
    let count = prefix(lines, this.#guess);
    for (;;) {
      const { records, lost } = recordsIn(lines.slice(0, count));
      if (records.length === 0) return { count, body: undefined, lost };
      const body = await compress(arrayOf(records));
      if (body.length <= this.#maxBytes) {
        if (count < lines.length && body.length < this.#maxBytes * GOOD_FILL) {
          this.#guess = Math.min(this.#guess * 2, this.#maxBytes * MAX_FACTOR);
        }
        return { count, body, lost };
      }
      if (count === 1) return await this.#smallest(lines);
      const taken = records.reduce((sum, text) => sum + text.length, 0);
      this.#guess = Math.max(this.#maxBytes, Math.floor((taken * this.#maxBytes * GOOD_FILL) / body.length));
      count = Math.min(count - 1, prefix(lines, this.#guess));
    }
  }

  /** The first record without what can be left out. */
  async #smallest(lines: readonly RecordLine[]): Promise<DecisionChunk> {
    const { records, lost } = recordsIn(lines.slice(0, 1));
    const [text] = records;
    if (text === undefined) return { count: 1, body: undefined, lost };
    for (const names of [['nd_builtin_cache'], ['nd_builtin_cache', 'input']]) {
      const shorter = withoutMembers(text, names);
      const body = shorter === undefined ? undefined : await compress(arrayOf([shorter]));
      if (body !== undefined && body.length <= this.#maxBytes) return { count: 1, body, lost };
    }
    return { count: 1, body: undefined, lost: [{ reason: 'too_large', count: 1 }] };
  }
}

/** How many lines are no longer than this together; at least one. */
function prefix(lines: readonly RecordLine[], bytes: number): number {
  let sum = 0;
  const end = lines.findIndex((line) => (sum += line.bytes.length + 1) > bytes);
  return end === -1 ? lines.length : Math.max(1, end);
}

/** Losses are not for receivers of decisions; what a disk damaged would make the whole array unreadable. */
function recordsIn(lines: readonly RecordLine[]): {
  readonly records: readonly string[];
  readonly lost: readonly LostRecords[];
} {
  const texts = lines.filter(({ kind }) => kind === 'record').map(({ bytes }) => bytes.toString('utf8'));
  const records = texts.filter(isJsonObject);
  const damaged = texts.length - records.length;
  return { records, lost: damaged === 0 ? [] : [{ reason: 'damaged', count: damaged }] };
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

function arrayOf(records: readonly string[]): string {
  return `[${records.join(',')}]`;
}

/** Undefined when it has none of them. Numbers stay as they are written. */
function withoutMembers(text: string, names: readonly string[]): string | undefined {
  const keepNumber = (_key: string, value: unknown, context?: { readonly source: string }): unknown =>
    typeof value === 'number' && context !== undefined ? rawJson(context.source) : value;
  const record = JSON.parse(text, keepNumber) as Record<string, unknown>;
  const present = names.filter((name) => Object.hasOwn(record, name));
  if (present.length === 0) return undefined;
  const pointers = present.map((name) => `/${name}`);
  for (const name of present) delete record[name];
  record['erased'] = [...textsIn(record['erased']), ...pointers];
  const own = record['svidgate'];
  if (typeof own === 'object' && own !== null) {
    const unreplayable = 'unreplayable' in own ? textsIn(own.unreplayable) : [];
    record['svidgate'] = { ...own, replayable: false, unreplayable: [...unreplayable, ...pointers] };
  }
  return JSON.stringify(record);
}

function textsIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
