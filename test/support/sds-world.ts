import fc from 'fast-check';
import type { ResourceView } from '../../src/discovery/index.ts';
import { makeSecret, PENDING, viewOf } from './sds-view.ts';

/** Names of the model; the first is a bundle that is closed when it is taken away. */
export const WORLD_NAMES = ['closable', 'a', 'b', 'c'] as const;
const CLOSABLE = WORLD_NAMES[0];

/** What happens, in the order in which fast-check has it. */
export type Step =
  | { readonly kind: 'content'; readonly name: string; readonly content: string | undefined }
  | { readonly kind: 'registered'; readonly isRegistered: boolean }
  /** The Envoy asks for these names from now on. */
  | { readonly kind: 'names'; readonly names: readonly string[] }
  /** The server takes the next request. */
  | { readonly kind: 'request' }
  /** The server sees what has changed. */
  | { readonly kind: 'change' }
  /** The Envoy reads the next answer. */
  | { readonly kind: 'answer'; readonly isTaken: boolean }
  | { readonly kind: 'reconnect' }
  /** Somebody sends a nonce that was never sent. */
  | { readonly kind: 'forge' };

const CONTENTS = ['1', '2', '3', PENDING, undefined];

export const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('content' as const),
        name: fc.constantFrom(...WORLD_NAMES),
        content: fc.constantFrom(...CONTENTS),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('registered' as const), isRegistered: fc.boolean() }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('names' as const),
        names: fc.subarray([...WORLD_NAMES], { minLength: 1 }),
      }),
    },
    { weight: 5, arbitrary: fc.constant({ kind: 'request' as const }) },
    { weight: 4, arbitrary: fc.constant({ kind: 'change' as const }) },
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant('answer' as const), isTaken: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'reconnect' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'forge' as const }) },
  ),
  { maxLength: 80 },
);

/** What names stand for, as the steps have it. */
export class World {
  readonly #stock = new Map<string, string>(WORLD_NAMES.map((name) => [name, '0']));
  #isRegistered = true;

  set(name: string, content: string | undefined): void {
    if (content === undefined) this.#stock.delete(name);
    else this.#stock.set(name, content);
  }

  register(isRegistered: boolean): void {
    this.#isRegistered = isRegistered;
  }

  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  view(): ResourceView {
    return viewOf(this.#stock, { isRegistered: this.#isRegistered, closed: CLOSABLE });
  }

  /** The version of what the name stands for, or what else it does. */
  now(name: string): string {
    const content = this.#stock.get(name);
    if (content === PENDING) return 'pending';
    if (content !== undefined) return makeSecret(name, content).version;
    return name === CLOSABLE ? 'closed' : 'unknown';
  }
}

export const CLOSED_VERSION = makeSecret(CLOSABLE, 'closed').version;
