import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * What all streams may be sent in one turn of the event loop: some ten milliseconds of it, in which nothing else is answered. A
 * thousand streams are sent their secrets in one: more turns mean that answers of Envoys come in between.
 */
const BYTES_PER_TURN = 8 * 1024 * 1024;

/**
 * Spreads what a change sends to many streams over turns of the event loop, so that decisions go on between them:
 * `while (turns.isOver) await turns.next();`, then what is to be sent is looked up, as it may be another one by then, and taken.
 */
export class SendTurns {
  readonly #bytesPerTurn: number;
  #left: number;
  #next: Promise<void> | undefined;

  constructor(bytesPerTurn = BYTES_PER_TURN) {
    this.#bytesPerTurn = bytesPerTurn;
    this.#left = bytesPerTurn;
  }

  /** Asked in the same turn of the microtask queue as `took` is called: others wait at the same time. */
  get isOver(): boolean {
    return this.#left <= 0;
  }

  async next(): Promise<void> {
    await this.#next;
  }

  took(bytes: number): void {
    this.#left -= bytes;
    this.#next ??= this.#turn();
  }

  async #turn(): Promise<void> {
    await nextTurn();
    this.#left = this.#bytesPerTurn;
    this.#next = undefined;
  }
}
