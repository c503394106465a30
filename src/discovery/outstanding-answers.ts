import type { ResourceVersion } from './stream-books.ts';

/** Answers that were sent and not replied to, by nonce. The oldest are forgotten where an Envoy does not reply. */
export class OutstandingAnswers {
  readonly #answers = new Map<string, readonly ResourceVersion[]>();
  #weight = 0;

  /** `limit` bounds how many resources and answers are remembered, but for the answer that is added. */
  add(nonce: string, resources: readonly ResourceVersion[], limit: number): void {
    for (const oldest of this.#answers.keys()) {
      if (this.#weight <= limit) break;
      this.take(oldest);
    }
    this.#answers.set(nonce, resources);
    this.#weight += 1 + resources.length;
  }

  /** What was sent under the nonce, once. */
  take(nonce: string): readonly ResourceVersion[] | undefined {
    const resources = this.#answers.get(nonce);
    if (resources === undefined) return undefined;
    this.#answers.delete(nonce);
    this.#weight -= 1 + resources.length;
    return resources;
  }

  get size(): number {
    return this.#answers.size;
  }
}
