/** Of an encoded message: one after the other they are it. Fields may come in any order, and so may these. */
export type Pieces = readonly Uint8Array[];

const LENGTH_DELIMITED = 2;

/** A field around what is encoded already and is not copied: an answer may be megabytes, and a hundred streams ask for it. */
export function fieldOf(number: number, content: Pieces): Pieces {
  const length = content.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return [Uint8Array.from([...varint(number * 8 + LENGTH_DELIMITED), ...varint(length)]), ...content];
}

/** A google.protobuf.Any. */
export function anyOf(typeUrl: string, content: Pieces): Pieces {
  return [...fieldOf(1, [Buffer.from(typeUrl)]), ...fieldOf(2, content)];
}

function varint(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes.push((rest & 0x7f) | 0x80);
  return [...bytes, rest];
}
