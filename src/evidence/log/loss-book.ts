import { formatLoss } from './log-line.ts';

export interface Loss {
  readonly reason: string;
  readonly policy?: string | undefined;
  /** Null: unknown. */
  readonly count: number | null;
  /** Epoch milliseconds. */
  readonly from: number;
  readonly until: number;
}

/** Adds up what was lost until it can be written down. */
export class LossBook {
  readonly #pending = new Map<string, Loss>();
  readonly #total = new Map<string, number>();

  add(loss: Loss): void {
    const { reason, count } = loss;
    this.#total.set(reason, (this.#total.get(reason) ?? 0) + (count ?? 0));
    const key = JSON.stringify([reason, loss.policy]);
    const sum = this.#pending.get(key);
    this.#pending.set(key, sum === undefined ? loss : sumOf(sum, loss));
  }

  /** Lines of what was not written yet; `written` when they were. */
  lines(): string[] {
    return [...this.#pending.values()].map(({ reason, policy, count, from, until }) =>
      formatLoss({
        reason,
        ...(policy === undefined ? {} : { policy }),
        count,
        from: textOf(from),
        until: textOf(until),
      }),
    );
  }

  written(): void {
    this.#pending.clear();
  }

  get total(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#total);
  }
}

function sumOf(one: Loss, other: Loss): Loss {
  return {
    ...one,
    count: one.count === null || other.count === null ? null : one.count + other.count,
    from: Math.min(one.from, other.from),
    until: Math.max(one.until, other.until),
  };
}

function textOf(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
