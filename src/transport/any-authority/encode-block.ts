import { STATIC_TABLE } from './header-table.ts';
import type { BlockField } from './decode-block.ts';

const WHOLE_FIELDS = new Map<string, number>();
const NAMES = new Map<string, number>();
for (const [index, { name, value }] of STATIC_TABLE.entries()) {
  if (value !== '') WHOLE_FIELDS.set(`${name}\0${value}`, index + 1);
  if (!NAMES.has(name)) NAMES.set(name, index + 1);
}

/** A header block that neither reads nor changes the dynamic table of its reader (RFC 7541 §6.1, §6.2.2, §6.2.3). */
export function encodeBlock(fields: readonly BlockField[]): Buffer {
  return Buffer.concat(fields.flatMap(encodeField));
}

function encodeField({ name, value, neverIndexed = false }: BlockField): Buffer[] {
  const whole = neverIndexed ? undefined : WHOLE_FIELDS.get(`${name}\0${value}`);
  if (whole !== undefined) return [encodeInteger(whole, 7, 0x80)];
  const index = NAMES.get(name) ?? 0;
  const start = encodeInteger(index, 4, neverIndexed ? 0x10 : 0);
  return [start, ...(index === 0 ? encodeString(name) : []), ...encodeString(value)];
}

function encodeString(text: string): Buffer[] {
  return [encodeInteger(text.length, 7, 0), Buffer.from(text, 'latin1')];
}

/** RFC 7541 §5.1, with the bits before the prefix. */
function encodeInteger(value: number, prefixBits: number, leadingBits: number): Buffer {
  const mask = 2 ** prefixBits - 1;
  if (value < mask) return Buffer.from([leadingBits | value]);
  const bytes = [leadingBits | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
