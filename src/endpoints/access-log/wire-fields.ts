const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

/** Called for each field; `from` to `to` is its content, or a varint that begins at `from`. */
export type OnField = (field: number, from: number, to: number) => void;

/**
 * Goes through the fields of a message without decoding it: of what an Envoy streams, little is read. False at the first byte
 * that is wrong: then nothing of the message counts.
 */
export function eachField(bytes: Uint8Array, [from, to]: readonly [number, number], onField: OnField): boolean {
  const cursor = { at: from };
  while (cursor.at < to) {
    const tag = readVarint(bytes, cursor);
    const start = cursor.at;
    switch (tag & 7) {
      case VARINT:
        readVarint(bytes, cursor);
        if (cursor.at > to) return false;
        onField(tag >>> 3, start, cursor.at);
        continue;
      case FIXED_64:
        cursor.at += 8;
        break;
      case FIXED_32:
        cursor.at += 4;
        break;
      case LENGTH_DELIMITED: {
        const length = readVarint(bytes, cursor);
        const content = cursor.at;
        cursor.at += length;
        if (cursor.at > to) return false;
        onField(tag >>> 3, content, cursor.at);
        continue;
      }
      default:
        return false;
    }
    if (cursor.at > to) return false;
    onField(tag >>> 3, start, cursor.at);
  }
  return cursor.at === to;
}

/** Exact to 2^53. */
export function readVarint(bytes: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  let factor = 1;
  for (let count = 0; count < 10; count += 1) {
    const byte = bytes[cursor.at];
    cursor.at += 1;
    if (byte === undefined) return value;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
    factor *= 128;
  }
  return value;
}
