/** The smallest value that at least `share` (0 to 1) of the values do not exceed: nearest rank. Throws without values. */
export function percentile(values: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  const value = sorted[rank - 1];
  if (value === undefined) throw new Error('no values, so no percentile');
  return value;
}

export function median(values: ArrayLike<number>): number {
  return percentile(values, 0.5);
}

/** The median of the quotients of two measurements that were taken side by side, round by round. */
export function medianRatio(values: readonly number[], beside: readonly number[]): number {
  return median(values.map((value, round) => value / (beside[round] ?? Number.NaN)));
}

/** Three significant digits, and no fraction from 100 on. */
export function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
}

type Variants = Readonly<Record<string, (() => Promise<unknown>) | undefined>>;
type Measured<V extends Variants> = { readonly [K in keyof V]: readonly Awaited<ReturnType<NonNullable<V[K]>>>[] };

/**
 * Runs every variant once a round, each round in the same order: what else the machine does then falls on all of them.
 * Gives the results of each variant in the order of the rounds.
 */
export async function interleaved<V extends Variants>(rounds: number, variants: V): Promise<Measured<V>> {
  const results = Object.fromEntries(Object.keys(variants).map((name): [string, unknown[]] => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, measure] of Object.entries(variants)) results[name]?.push(await measure?.());
  }
  return results as unknown as Measured<V>;
}
