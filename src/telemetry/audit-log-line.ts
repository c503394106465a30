import { AUDIT_FIELD_CATALOGUE, type AuditEvent } from '../core/index.ts';
import { redact } from './redaction.ts';

/** The longest text of an audit line, in UTF-16 units: a SPIFFE ID has at most 2048 and a path 4096. */
export const MAX_AUDIT_TEXT_LENGTH = 4096;

/** The longest list of an audit line; the last item then says how many more there were. */
export const MAX_AUDIT_LIST_LENGTH = 64;

const FIELD_NAMES = Object.keys(AUDIT_FIELD_CATALOGUE);

/**
 * One line of the audit log, newline included: a JSON object with `time` (ISO 8601, UTC), `level` (always `audit`) and the
 * fields of AUDIT_FIELD_CATALOGUE in their order. A field or value of another kind is dropped, long ones are cut, and what
 * looks like a key or a token is replaced.
 */
export function formatAuditLine(event: AuditEvent, time: number): string {
  const { caller = {}, ...fields } = event;
  const { selectors, ...kernel } = caller;
  const ofCaller = Object.entries(kernel).map(([name, value]) => [`caller_${name}`, value] as const);
  const given = new Map<string, unknown>([...Object.entries(fields), ...ofCaller, ['selectors', selectors]]);
  const line: Record<string, unknown> = { time: new Date(time).toISOString(), level: 'audit' };
  for (const name of FIELD_NAMES) {
    const value = cleanValue(given.get(name));
    if (value !== undefined) line[name] = value;
  }
  return `${JSON.stringify(line)}\n`;
}

function cleanValue(value: unknown): string | number | boolean | readonly string[] | undefined {
  if (typeof value === 'string') return cleanText(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'boolean') return value;
  return Array.isArray(value) ? cleanList(value) : undefined;
}

function cleanList(list: readonly unknown[]): readonly string[] {
  const kept = list.slice(0, MAX_AUDIT_LIST_LENGTH).filter((item) => typeof item === 'string');
  const more = list.length - MAX_AUDIT_LIST_LENGTH;
  return more > 0 ? [...kept.map(cleanText), `… ${more} more`] : kept.map(cleanText);
}

function cleanText(text: string): string {
  const isLong = text.length > MAX_AUDIT_TEXT_LENGTH;
  const redacted = redact(isLong ? text.slice(0, MAX_AUDIT_TEXT_LENGTH) : text);
  return isLong ? `${redacted}…` : redacted;
}
