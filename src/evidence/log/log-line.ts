/** What a line of the log is about that is no record. Both kinds have one key, so that nobody takes them for a decision. */

/** Decisions that are not in the log, as far as anybody knows. */
export interface LossLine {
  /** Why: `disk`, `too_large`, `queue`, `sampled`, `torn`, `unclean_end`, … */
  readonly reason: string;
  /** Of the policy; absent: of all. */
  readonly policy?: string;
  /** Null: unknown. */
  readonly count: number | null;
  /** RFC 3339. */
  readonly from: string;
  readonly until: string;
}

/** The first line of a segment. */
export interface SegmentHeader {
  readonly segment: number;
  /** How many records were written to this log before the first one of the segment. */
  readonly first: number;
  /** RFC 3339. */
  readonly opened: string;
}

const LOSS = 'svidgate_loss';
const HEADER = 'svidgate_segment';
const OWN_START = Buffer.from('{"svidgate_');

export function formatLoss(loss: LossLine): string {
  const { reason, policy, count, from, until } = loss;
  return JSON.stringify({ [LOSS]: { reason, policy, count, from, until } });
}

export function formatHeader(header: SegmentHeader): string {
  const { segment, first, opened } = header;
  return JSON.stringify({ [HEADER]: { segment, first, opened } });
}

/** Whether a line is one of ours, and no record. */
export function isOwnLine(line: Buffer): boolean {
  return line.length > OWN_START.length && line.compare(OWN_START, 0, OWN_START.length, 0, OWN_START.length) === 0;
}

/** What a line says that was parsed; undefined for all but losses. */
export function lossOf(value: Readonly<Record<string, unknown>>): LossLine | undefined {
  const loss = objectIn(value, LOSS);
  if (loss === undefined) return undefined;
  const { reason, policy, count, from, until } = loss;
  if (typeof reason !== 'string' || typeof from !== 'string' || typeof until !== 'string') return undefined;
  if (count !== null && (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0)) return undefined;
  return { reason, ...(typeof policy === 'string' ? { policy } : {}), count, from, until };
}

/** What a line says that was parsed; undefined for all but headers. */
export function headerOf(value: Readonly<Record<string, unknown>>): SegmentHeader | undefined {
  const header = objectIn(value, HEADER);
  if (header === undefined) return undefined;
  const { segment, first, opened } = header;
  if (!isCount(segment) || !isCount(first) || typeof opened !== 'string') return undefined;
  return { segment, first, opened };
}

function objectIn(
  value: Readonly<Record<string, unknown>>,
  key: string,
): Readonly<Record<string, unknown>> | undefined {
  const member = Object.hasOwn(value, key) ? value[key] : undefined;
  return isObject(member) ? member : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
