import type { SentFacts, SentLogged } from './record-protocol.ts';

/**
 * Of one input, and of the facts of one decision as text: a heap that overflows inside JSON.parse ends the whole process, and a
 * record this large would not be written.
 */
const MAX_INPUT_BYTES = 2 ** 20;
const MAX_FACTS_LENGTH = 2 ** 20;
/** Of all facts and inputs of one message. */
const MAX_LENGTH = 8 * 2 ** 20;

type Evaluated = NonNullable<SentFacts['evaluated']>;

/** Facts before it is known how much of them goes. */
export type PackedFacts = Omit<SentFacts, 'evaluated'> & { readonly evaluated?: Omit<Evaluated, 'inputBytes'> };

/** Before it is known how large its entry is; the id is a UUID. */
export type PackedLogged = SentLogged extends readonly [...infer Facts, inputBytes: number] ? Facts : never;

/** Decisions that go to the recording thread in one message. */
export class FactsBatch {
  readonly #texts: string[] = [];
  readonly #inputs: Uint8Array[] = [];
  #length = 0;
  #inputBytes = 0;

  get count(): number {
    return this.#texts.length;
  }

  get bytes(): number {
    return this.#length + this.#inputBytes;
  }

  get isFull(): boolean {
    return this.bytes >= MAX_LENGTH;
  }

  /** Throws for facts that are too large without what the policy saw and said. */
  add({ evaluated, ...facts }: PackedFacts, input: Uint8Array = new Uint8Array()): void {
    const fits = input.byteLength <= MAX_INPUT_BYTES;
    const inputBytes = fits ? input.byteLength : 0;
    const cut = fits ? {} : { tooLarge: ['input'] as const };
    const text = packed({
      ...facts,
      ...(evaluated === undefined ? {} : { evaluated: { ...evaluated, ...cut, inputBytes } }),
    });
    this.#push(text, inputBytes > 0 ? input : undefined);
  }

  /** @param entry of an access log, which is never too large */
  addLogged([decisionId, requestNumber, at, common]: PackedLogged, entry: Uint8Array): void {
    // By hand: there are many of them.
    this.#push(`["${decisionId}",${requestNumber},${at},${common},${entry.byteLength}]`, entry);
  }

  #push(text: string, input: Uint8Array | undefined): void {
    this.#texts.push(text);
    this.#length += text.length;
    if (input === undefined) return;
    this.#inputs.push(input);
    this.#inputBytes += input.byteLength;
  }

  /** The memory of the inputs is its own. */
  content(): { readonly facts: string; readonly inputs: Uint8Array } {
    const inputs = new Uint8Array(this.#inputBytes);
    let at = 0;
    for (const input of this.#inputs) {
      inputs.set(input, at);
      at += input.byteLength;
    }
    return { facts: `[${this.#texts.join(',')}]`, inputs };
  }
}

function packed(facts: SentFacts): string {
  const text = JSON.stringify(facts);
  if (text.length <= MAX_FACTS_LENGTH) return text;
  const { evaluated, detail: _, ...rest } = facts;
  const few = JSON.stringify({ ...rest, ...(evaluated === undefined ? {} : { evaluated: cutDown(evaluated) }) });
  if (few.length > MAX_FACTS_LENGTH) throw new Error('a decision is too large to be recorded');
  return few;
}

/** Without what may be large. */
function cutDown(evaluated: Evaluated): Evaluated {
  const { value: _, nd = {}, ndLost = [], tooLarge = [], ...few } = evaluated;
  return { ...few, ndLost: [...ndLost, ...Object.keys(nd)], tooLarge: [...tooLarge, 'result'] };
}
