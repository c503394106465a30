/** Of one field of a message: how often it is there, and how long its values are, in bytes. */
export interface FieldTally {
  readonly count: number;
  readonly longest: number;
  readonly total: number;
}

const LENGTH_DELIMITED = 2;

/**
 * Counts a repeated field of strings or messages without decoding it, so that too many can be refused at no cost. Reads
 * no further than the first byte that is wrong; decoding finds it again.
 */
export function tallyField(bytes: Uint8Array, field: number): FieldTally {
  let count = 0;
  let longest = 0;
  let total = 0;
  walkField(bytes, field, (_start, length) => {
    count += 1;
    total += length;
    if (length > longest) longest = length;
  });
  return { count, longest, total };
}

/** The last value of a field of texts, without decoding the rest; empty when there is none, or it is longer than the limit. */
export function lastText(bytes: Uint8Array, field: number, maxBytes: number): string {
  let text: Uint8Array | undefined;
  walkField(bytes, field, (start, length) => {
    text = length > maxBytes ? undefined : bytes.subarray(start, start + length);
  });
  return text === undefined ? '' : Buffer.from(text).toString('latin1');
}

function walkField(bytes: Uint8Array, field: number, visit: (start: number, length: number) => void): void {
  const cursor = { at: 0 };
  while (cursor.at < bytes.length) {
    const tag = readVarint(bytes, cursor);
    const wireType = tag & 7;
    const length = wireType === LENGTH_DELIMITED ? readVarint(bytes, cursor) : 0;
    if (wireType === LENGTH_DELIMITED && tag >>> 3 === field) visit(cursor.at, length);
    if (wireType === 0) readVarint(bytes, cursor);
    else cursor.at += wireType === 1 ? 8 : wireType === 5 ? 4 : length;
  }
}

/** The low 32 bits of a varint, as protobuf readers take tags and lengths. */
function readVarint(bytes: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = bytes[cursor.at];
    cursor.at += 1;
    if (byte === undefined) return 0;
    if (shift < 32) value |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value >>> 0;
}
