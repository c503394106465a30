import { recordedText } from '../log/recorded-text.ts';
import type { DecisionRecord, JsonRecord } from '../records/decision-record.ts';

/** JSON.rawJSON (ECMA-262 proposal "JSON.parse source text access"), not in TypeScript's library yet. */
const { rawJSON, isRawJSON } = JSON as unknown as {
  readonly rawJSON: (text: string) => unknown;
  readonly isRawJSON: (value: unknown) => boolean;
};

/** After a colon, comma or bracket: a number that a double may not hold, or may not write as it was. */
const INEXACT = /[:,[]\s*-?(?:\d{16}|\d+[.eE])/;

/**
 * What the record holds under a name. Its numbers have their text again when it is written as JSON: those that a double would
 * change are raw JSON, not numbers.
 */
export function exactMember(record: DecisionRecord, name: 'input' | 'nd_builtin_cache'): JsonRecord | undefined {
  const value = record[name];
  if (value === undefined) return undefined;
  const text = recordedText(record, name);
  return text === undefined || !INEXACT.test(text) ? value : (exactJson(text) as JsonRecord);
}

function exactJson(text: string): unknown {
  const keepNumber = (_key: string, value: unknown, context?: { readonly source: string }): unknown =>
    typeof value === 'number' && context !== undefined && String(value) !== context.source
      ? rawJSON(context.source)
      : value;
  return JSON.parse(text, keepNumber) as unknown;
}

/** Whether something can be looked up in the value: raw JSON is an object of JavaScript, too. */
export function isJsonObject(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJSON(value);
}
