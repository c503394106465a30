import { Buffer } from 'node:buffer';
import type { Decision } from './decision.ts';
import type { Evaluation } from './evaluation.ts';

/** Roughly what an entry costs beside its key and its value. */
const ENTRY_BYTES = 512;
/** Of one generation; there are two. */
const DEFAULT_MAX_BYTES = 8 * 2 ** 20;
/** An input this large is not likely to come again, and would push many out that are. */
const MAX_INPUT_BYTES = 16 * 2 ** 10;
/** A value of an object with headers or a body; a larger one is not kept. */
const MAX_VALUE_LENGTH = 16 * 2 ** 10;

/** What was decided before. */
export interface KnownDecision {
  readonly decision: Decision;
  /** The value of the entrypoint; absent when there was none. */
  readonly value?: unknown;
}

interface Kept extends KnownDecision {
  readonly bytes: number;
}

/**
 * What a policy decided for inputs before. Only for a policy whose answers depend on its input and its data alone, and
 * for inputs that hold nothing but what it can look at; it belongs to one snapshot and ends with it. What was not asked
 * for while it filled twice goes.
 */
export class DecisionCache {
  readonly #maxBytes: number;
  #young = new Map<string, Kept>();
  #old = new Map<string, Kept>();
  #youngBytes = 0;

  constructor(maxBytes: number = DEFAULT_MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** The key of an input; undefined for one that is not kept. */
  static keyOf(input: Uint8Array): string | undefined {
    if (input.byteLength > MAX_INPUT_BYTES) return undefined;
    return Buffer.from(input.buffer, input.byteOffset, input.byteLength).toString('latin1');
  }

  get(key: string): KnownDecision | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.#put(key, old);
    return old;
  }

  /** Keeps what the policy itself gave: failures may pass. */
  set(key: string, evaluation: Evaluation, decision: Decision): void {
    const length = keptLength(evaluation);
    if (length === undefined) return;
    const bytes = key.length + 8 * length + ENTRY_BYTES;
    this.#put(key, { decision, ...(evaluation.kind === 'value' ? { value: evaluation.value } : {}), bytes });
  }

  #put(key: string, kept: Kept): void {
    this.#young.set(key, kept);
    this.#youngBytes += kept.bytes;
    if (this.#youngBytes < this.#maxBytes) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngBytes = 0;
  }
}

/** Of the value as JSON text; undefined for what is not kept. */
function keptLength(evaluation: Evaluation): number | undefined {
  if (evaluation.kind === 'undefined') return 0;
  if (evaluation.kind !== 'value') return undefined;
  if (typeof evaluation.value === 'boolean') return 0;
  const { length } = JSON.stringify(evaluation.value);
  return length > MAX_VALUE_LENGTH ? undefined : length;
}
