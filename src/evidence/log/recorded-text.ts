import type { DecisionRecord } from '../records/decision-record.ts';

const lineOf = new WeakMap<DecisionRecord, string>();

/** Keeps the line that a record was read from for as long as the record lives. */
export function keepText(record: DecisionRecord, line: string): void {
  lineOf.set(record, line);
}

/**
 * The JSON text of a member of a record, as it stands in the log: JSON.parse rounds large numbers, and a policy would see
 * others than it did. Undefined when the record has no such member.
 */
export function recordedText(
  record: DecisionRecord,
  name: 'input' | 'result' | 'nd_builtin_cache',
): string | undefined {
  const value = record[name];
  if (value === undefined) return undefined;
  const line = lineOf.get(record);
  const text = line === undefined ? undefined : memberText(line, name);
  return text ?? JSON.stringify(value);
}

/** The text of the last member of that name of an object, which is valid JSON and writes the name without escapes. */
function memberText(line: string, name: string): string | undefined {
  let found: string | undefined;
  let depth = 0;
  let start = -1;
  for (let at = 0; at < line.length; at += 1) {
    const code = line.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(line, at);
      if (depth === 1 && start === -1 && isName(line, { start: at, end }, name)) start = line.indexOf(':', end) + 1;
      at = end - 1;
      continue;
    }
    if (code === OPEN_OBJECT || code === OPEN_ARRAY) depth += 1;
    if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) depth -= 1;
    if (start !== -1 && ((depth === 1 && code === COMMA) || depth === 0)) {
      found = line.slice(start, at).trim();
      start = -1;
    }
  }
  return found;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Behind the closing quote. */
function endOfString(line: string, start: number): number {
  for (let end = line.indexOf('"', start + 1); end !== -1; end = line.indexOf('"', end + 1)) {
    let slashes = 0;
    while (line.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return end + 1;
  }
  return line.length;
}

/** Whether the string is a key of this name: a value is not followed by a colon. */
function isName(line: string, { start, end }: { readonly start: number; readonly end: number }, name: string): boolean {
  if (end - start !== name.length + 2 || !line.startsWith(name, start + 1)) return false;
  let next = end;
  while (line.charCodeAt(next) <= 0x20) next += 1;
  return line[next] === ':';
}
