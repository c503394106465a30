/** Protobuf as its specification reads it, for requests whose bytes were changed, and for replies. */

/** By number; each value as it stands there, in its order. A varint or a fixed number is cut to 32 bits. */
export type Fields = ReadonlyMap<number, readonly (Buffer | number)[]>;

/** Undefined for bytes that are no message. */
export function readFields(bytes: Buffer): Fields | undefined {
  const fields = new Map<number, (Buffer | number)[]>();
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at];
      if (byte === undefined) throw new RangeError('cut off');
      at += 1;
      if (shift < 32) value = (value | ((byte & 0x7f) << shift)) >>> 0;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a varint of more than ten bytes');
  };
  const readBytes = (length: number): Buffer => {
    if (at + length > bytes.length) throw new RangeError('cut off');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const readGroup = (depth: number): void => {
    while (at < bytes.length) {
      const tag = readVarint();
      const number = tag >>> 3;
      if (number === 0) throw new RangeError('no field has the number 0');
      const type = tag & 7;
      if (type === 4 && depth > 0) return;
      let value: Buffer | number = 0;
      if (type === 0) value = readVarint();
      else if (type === 1) value = readBytes(8).readUInt32LE();
      else if (type === 2) value = readBytes(readVarint());
      else if (type === 5) value = readBytes(4).readUInt32LE();
      else if (type === 3 && depth < 100) readGroup(depth + 1);
      else throw new RangeError('no wire type');
      if (depth === 0 && type !== 3) fields.set(number, [...(fields.get(number) ?? []), value]);
    }
    if (depth > 0) throw new RangeError('cut off');
  };
  try {
    readGroup(0);
    return fields;
  } catch {
    return undefined;
  }
}

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class NotAMessage extends Error {}

/** The parts of a message that stands there once or more, joined; undefined where it does not stand there. */
export function messageIn(fields: Fields | undefined, number: number): Fields | undefined {
  const parts = (fields?.get(number) ?? []).filter((value) => typeof value !== 'number');
  if (parts.length === 0) return undefined;
  const joined = parts.map((part) => readFields(part));
  if (joined.includes(undefined)) throw new NotAMessage();
  return readFields(Buffer.concat(parts));
}

export function textIn(fields: Fields | undefined, number: number): string {
  const values = bytesIn(fields, number).map(strictText);
  return values.at(-1) ?? '';
}

export function lastBytesIn(fields: Fields | undefined, number: number): Buffer {
  return bytesIn(fields, number).at(-1) ?? Buffer.alloc(0);
}

export function bytesIn(fields: Fields | undefined, number: number): readonly Buffer[] {
  return (fields?.get(number) ?? []).filter((value) => typeof value !== 'number');
}

/** A map of texts, of which the last entry of a key counts. */
export function mapIn(fields: Fields | undefined, number: number): ReadonlyMap<string, string> {
  return new Map(
    bytesIn(fields, number).map((bytes) => {
      const entry = readFields(bytes);
      if (entry === undefined) throw new NotAMessage();
      return [textIn(entry, 1), textIn(entry, 2)];
    }),
  );
}

/** Throws NotAMessage for bytes that are no UTF-8. */
function strictText(bytes: Buffer): string {
  try {
    return STRICT.decode(bytes);
  } catch {
    throw new NotAMessage();
  }
}
