import { SvidgateError } from '../../core/index.ts';
import {
  durationToMs,
  int64ToBigInt,
  timestampToMs,
  type Duration,
  type Int64,
  type Timestamp,
} from '../../proto/index.ts';
import { parseSpiffeId, parseTrustDomain, type SpiffeId, type TrustDomain } from '../../spiffe/index.ts';

/** 1000 years on both sides of the epoch: room for what is out of range to be named by those who know the range. */
const MAX_SECONDS = 31_556_952_000n;

/** The error for a field of a request. The message starts with the field's name. */
export function invalidField(field: string, problem: string, cause?: unknown): SvidgateError {
  return new SvidgateError('invalid_request', `${field}: ${problem}`, { cause });
}

/** Text of 1 to `max` characters that matches the pattern. */
export function textField(
  field: string,
  value: string,
  limits: { readonly max: number; readonly pattern: RegExp; readonly expected: string },
): string {
  if (value === '') throw invalidField(field, `missing: expected ${limits.expected}`);
  if (value.length > limits.max) throw invalidField(field, `longer than ${limits.max} characters`);
  if (!limits.pattern.test(value)) throw invalidField(field, `expected ${limits.expected}`);
  return value;
}

/** An entry id that may exist. */
export function entryIdField(field: string, value: string): string {
  const expected = 'an entry id of letters, digits, `.`, `-`, `_`';
  return textField(field, value, { max: 255, pattern: /^[A-Za-z0-9._-]+$/, expected });
}

export function spiffeIdField(field: string, value: string): SpiffeId {
  return checked(field, value, parseSpiffeId);
}

export function trustDomainField(field: string, value: string): TrustDomain {
  return checked(field, value, parseTrustDomain);
}

function checked<T>(field: string, value: string, parse: (text: string) => T): T {
  if (value === '') throw invalidField(field, 'missing');
  try {
    return parse(value);
  } catch (error) {
    throw error instanceof SvidgateError ? invalidField(field, error.message, error) : error;
  }
}

/** A whole number between the limits, both included. */
export function numberField(
  field: string,
  value: number,
  limits: { readonly min: number; readonly max: number },
): number {
  if (!Number.isInteger(value) || value < limits.min || value > limits.max) {
    throw invalidField(field, `${value} is not from ${limits.min} to ${limits.max}`);
  }
  return value;
}

/** As numberField, for 64 bits; `max` is at most 2^53 - 1. */
export function int64Field(
  field: string,
  value: Int64,
  limits: { readonly min: number; readonly max: number },
): number {
  const exact = int64ToBigInt(value);
  if (exact < BigInt(limits.min) || exact > BigInt(limits.max)) {
    throw invalidField(field, `${exact} is not from ${limits.min} to ${limits.max}`);
  }
  return Number(exact);
}

/** What an enum's number stands for. Unspecified (0) and unknown numbers are refused with the names of the others. */
export function enumField<T extends string>(field: string, value: number, values: readonly T[]): T {
  const found = values[value - 1];
  if (found !== undefined) return found;
  const problem = value === 0 ? 'missing' : `${value} is unknown`;
  throw invalidField(field, `${problem}: expected ${values.join(', ')}`);
}

/** Milliseconds, undefined when the field is absent. */
export function durationField(field: string, duration: Duration | null): number | undefined {
  if (duration === null) return undefined;
  checkTime(field, duration);
  return durationToMs(duration);
}

/** Epoch milliseconds, undefined when the field is absent. */
export function timestampField(field: string, timestamp: Timestamp | null): number | undefined {
  if (timestamp === null) return undefined;
  checkTime(field, timestamp);
  return timestampToMs(timestamp);
}

function checkTime(field: string, { seconds, nanos }: Duration | Timestamp): void {
  const exact = int64ToBigInt(seconds);
  if (exact > MAX_SECONDS || exact < -MAX_SECONDS) throw invalidField(field, `${exact} s is out of range`);
  if (Math.abs(nanos) > 999_999_999 || nanos % 1_000_000 !== 0)
    throw invalidField(field, 'expected whole milliseconds');
}
