import type { Duration, DurationInit, Int64, Timestamp, TimestampInit } from './messages.ts';

/** A decoded 64-bit integer, exact at any size. */
export function int64ToBigInt(value: Int64): bigint {
  const bits = (BigInt(value.high) << 32n) | BigInt(value.low >>> 0);
  return value.unsigned ? BigInt.asUintN(64, bits) : bits;
}

/** Milliseconds since the epoch, rounded down; exact within what Date can hold. */
export function timestampToMs(timestamp: Timestamp): number {
  return secondsAndNanosToMs(timestamp);
}

export function msToTimestamp(ms: number): TimestampInit {
  // Nanoseconds count forward also before the epoch.
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.trunc((ms - seconds * 1000) * 1e6) };
}

/** Milliseconds, rounded down. */
export function durationToMs(duration: Duration): number {
  return secondsAndNanosToMs(duration);
}

export function msToDuration(ms: number): DurationInit {
  // Both parts have the sign of the whole.
  const seconds = Math.trunc(ms / 1000);
  return { seconds, nanos: Math.trunc((ms - seconds * 1000) * 1e6) };
}

function secondsAndNanosToMs(time: Timestamp | Duration): number {
  const { high, low } = time.seconds;
  // Most are: BigInts take longer.
  const seconds = high === 0 ? low >>> 0 : Number(int64ToBigInt(time.seconds));
  return seconds * 1000 + Math.floor(time.nanos / 1e6);
}
