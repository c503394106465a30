/**
 * The median of the slopes between all pairs of points (Theil and Sen), per hour: a few samples that something else has
 * disturbed do not move it. `atMs` in milliseconds.
 */
export function slopePerHour(points: readonly { readonly atMs: number; readonly value: number }[]): number {
  const slopes: number[] = [];
  for (const [index, one] of points.entries()) {
    for (const other of points.slice(index + 1)) {
      if (other.atMs > one.atMs) slopes.push((other.value - one.value) / (other.atMs - one.atMs));
    }
  }
  if (slopes.length === 0) throw new Error('a slope needs two points');
  slopes.sort((a, b) => a - b);
  const middle = (slopes.length - 1) / 2;
  return ((slopes[Math.floor(middle)]! + slopes[Math.ceil(middle)]!) / 2) * 3_600_000;
}
