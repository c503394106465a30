import { isUtf8 } from 'node:buffer';

/**
 * Bytes as text as Go ranges over a string: each byte that is no part of valid UTF-8 is a U+FFFD of its own, where Node
 * makes one of several.
 */
export function goText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(buffer)) return buffer.toString('utf8');
  const parts: string[] = [];
  let valid = 0;
  for (let at = 0; at < buffer.length;) {
    const length = characterLength(buffer, at);
    if (length > 0) {
      at += length;
      continue;
    }
    parts.push(buffer.toString('utf8', valid, at), '\ufffd');
    at += 1;
    valid = at;
  }
  parts.push(buffer.toString('utf8', valid));
  return parts.join('');
}

/** The length of the character that begins there; 0 where none does. */
function characterLength(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return isUtf8(bytes.subarray(at, at + length)) && at + length <= bytes.length ? length : 0;
}
