import { timestampToMs, type Timestamp } from '../proto/index.ts';

const UNITS = [
  { name: 'd', ms: 86_400_000 },
  { name: 'h', ms: 3_600_000 },
  { name: 'm', ms: 60_000 },
] as const;

/** From now: `in 52m`, `3d ago`; the largest unit of which there are at least two. Empty for an absent time. */
export function formatWhen(time: Timestamp | null, now: number): string {
  return time === null ? '' : formatSpanTo(timestampToMs(time), now);
}

/** As formatWhen, of epoch milliseconds. */
export function formatSpanTo(at: number, now: number): string {
  const ms = at - now;
  return ms >= 0 ? `in ${formatSpan(ms)}` : `${formatSpan(-ms)} ago`;
}

/** How long ago: `52m`. Empty for an absent time. */
export function formatAge(time: Timestamp | null, now: number): string {
  return time === null ? '' : formatSpan(Math.max(0, now - timestampToMs(time)));
}

/** ISO 8601 in UTC, undefined for an absent time, which JSON leaves out. */
export function isoTime(time: Timestamp | null): string | undefined {
  return time === null ? undefined : new Date(timestampToMs(time)).toISOString();
}

function formatSpan(ms: number): string {
  const unit = UNITS.find((candidate) => ms >= 2 * candidate.ms);
  return unit === undefined ? `${Math.floor(ms / 1000)}s` : `${Math.floor(ms / unit.ms)}${unit.name}`;
}
