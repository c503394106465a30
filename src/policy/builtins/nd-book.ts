import type { NdBuiltinCache } from '../evaluation.ts';
import { canonicalText } from './canonical-text.ts';
import { NON_DETERMINISTIC_BUILTINS } from './offered.ts';
import type { BuiltinAnswer } from './opa-builtins.ts';

/** What an evaluation got from builtins whose answer is not given by their arguments alone. */
export interface NdAnswers {
  readonly nd: NdBuiltinCache;
  /** Names of builtins of which some answer could not be kept: too large, or not UTF-8. */
  readonly lost: readonly string[];
}

const TIME = 'time.now_ns';
const NO_ARGUMENTS = '[]';
/** They depend on the time alone: that is what is kept, and they are computed again. */
const BY_TIME: ReadonlySet<string> = new Set([TIME, 'io.jwt.decode_verify']);
/** The only answer with a set in it, which JSON does not have: an array in the book. */
const GIVES_SET = 'net.lookup_ip_addr';
const NON_DETERMINISTIC: ReadonlySet<string> = new Set(NON_DETERMINISTIC_BUILTINS);
/** Of one evaluation, in characters: it goes from thread to thread with each answer. */
const MAX_KEPT = 256 * 2 ** 10;
const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Keeps what such builtins answered in one evaluation, or answers in their place what they answered in an earlier one. */
export class NdBook {
  #given: NdBuiltinCache | undefined;
  #kept: Map<string, Map<string, string>> | undefined;
  #lost: Set<string> | undefined;
  #size = 0;

  /** The next calls are those of another evaluation. */
  begin(given: NdBuiltinCache | undefined): void {
    this.#given = given;
    this.#kept = undefined;
    this.#lost = undefined;
    this.#size = 0;
  }

  /** The time of the earlier evaluation, in nanoseconds since 1970; undefined where there was none, or it never asked. */
  get givenTime(): bigint | undefined {
    const text = entryOf(this.#given, TIME, NO_ARGUMENTS);
    return text === undefined || !/^-?\d{1,19}$/.test(text) ? undefined : BigInt(text);
  }

  /** Undefined when nothing of the kind was asked. */
  get answers(): NdAnswers | undefined {
    if (this.#kept === undefined && this.#lost === undefined) return undefined;
    const nd = Object.fromEntries([...(this.#kept ?? [])].map(([name, calls]) => [name, Object.fromEntries(calls)]));
    return { nd, lost: [...(this.#lost ?? [])] };
  }

  /**
   * What the builtin answered in the earlier evaluation; undefined where it has to be asked. Throws when there was an
   * earlier evaluation and it did not make this call.
   */
  recall(name: string, argumentsText: Uint8Array): BuiltinAnswer | undefined {
    if (this.#given === undefined || !NON_DETERMINISTIC.has(name)) return undefined;
    const key = keyOf(argumentsText);
    const text = key === undefined ? undefined : entryOf(this.#given, name, key);
    if (text === undefined) {
      if (BY_TIME.has(name) && this.givenTime !== undefined) return undefined;
      throw new Error(`no answer of ${name} to this call was recorded`);
    }
    if (text === '') return { kind: 'undefined' };
    return { kind: 'value', text: new TextEncoder().encode(name === GIVES_SET ? toSet(text) : text) };
  }

  /** Keeps what the builtin answers at this time. */
  note(name: string, argumentsText: Uint8Array, { answer, nowNs }: NotedAnswer): void {
    if (!NON_DETERMINISTIC.has(name)) return;
    if (BY_TIME.has(name)) return this.#keep(TIME, NO_ARGUMENTS, String(nowNs));
    const key = keyOf(argumentsText);
    const text = textOf(answer);
    if (key === undefined || text === undefined) (this.#lost ??= new Set()).add(name);
    else this.#keep(name, key, name === GIVES_SET ? toArray(text) : text);
  }

  #keep(name: string, key: string, text: string): void {
    const calls = this.#kept?.get(name);
    if (calls?.has(key) === true) return;
    if (this.#size + key.length + text.length > MAX_KEPT) {
      (this.#lost ??= new Set()).add(name);
      return;
    }
    this.#size += key.length + text.length;
    if (calls === undefined) (this.#kept ??= new Map()).set(name, new Map([[key, text]]));
    else calls.set(key, text);
  }
}

export interface NotedAnswer {
  readonly answer: BuiltinAnswer;
  readonly nowNs: bigint;
}

function entryOf(given: NdBuiltinCache | undefined, name: string, key: string): string | undefined {
  const calls = given !== undefined && Object.hasOwn(given, name) ? given[name] : undefined;
  return calls !== undefined && Object.hasOwn(calls, key) ? calls[key] : undefined;
}

function keyOf(argumentsText: Uint8Array): string | undefined {
  const text = decode(argumentsText);
  return text === undefined ? undefined : canonicalText(text);
}

function textOf(answer: BuiltinAnswer): string | undefined {
  switch (answer.kind) {
    case 'undefined':
      return '';
    case 'value':
      return decode(answer.text);
    case 'bytes':
      return undefined;
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

function toArray(set: string): string {
  return set === 'set()' ? '[]' : `[${set.slice(1, -1)}]`;
}

function toSet(array: string): string {
  const members = array.trim().slice(1, -1).trim();
  return members === '' ? 'set()' : `{${members}}`;
}
