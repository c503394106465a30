const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** Milliseconds of a `grpc-timeout` header: at most 8 digits and a unit. Undefined for what is none. */
export function parseGrpcTimeout(text: string): number | undefined {
  const unit = UNIT_MS[text.at(-1) ?? ''];
  const last = text.length - 1;
  if (unit === undefined || last < 1 || last > 8) return undefined;
  let count = 0;
  for (let at = 0; at < last; at += 1) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    count = 10 * count + digit;
  }
  return count * unit;
}

const ZERO = 48;
