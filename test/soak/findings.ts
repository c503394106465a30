/** What a soak has counted, and what was not as it must be. */
export class Findings {
  requests = 0;
  wrong = 0;
  /** The first ones, in words. */
  readonly examples: string[] = [];
  /** By what happened: answers, changes, guests. */
  readonly counts = new Map<string, number>();

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** The sum of all whose names begin so. */
  sumOf(prefix: string): number {
    return [...this.counts].reduce((sum, [name, count]) => (name.startsWith(prefix) ? sum + count : sum), 0);
  }

  wrongAnswer(what: string): void {
    this.wrong += 1;
    if (this.examples.length < MOST_EXAMPLES) this.examples.push(what);
  }
}

const MOST_EXAMPLES = 20;
