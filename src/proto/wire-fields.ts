export const VARINT = 0;
const FIXED_64 = 1;
export const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

/** Called for each field; `from` to `to` is its content, or a varint that begins at `from`. */
export type OnField = (field: number, from: number, to: number) => void;

/** Of one message that is looked at in one go: none of those that Envoy sends has nearly as many. */
export const MAX_FIELDS = 4096;

/**
 * Goes through the fields of a message without decoding it: of what an Envoy streams, little is read. False at the first byte
 * that is wrong, or where there are too many: then nothing of the message counts.
 */
export function eachField(bytes: Uint8Array, [from, to]: readonly [number, number], onField: OnField): boolean {
  const fields = new Fields(bytes, from, to);
  for (let count = 0; fields.next(); count += 1) {
    if (count === MAX_FIELDS) return false;
    onField(fields.field, fields.from, fields.to);
  }
  return fields.isWhole;
}

/** The same, however many there are, one at a time. */
export class Fields {
  field = 0;
  wireType = VARINT;
  from = 0;
  to = 0;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, from: number, to: number) {
    this.#bytes = bytes;
    this.#end = to;
    this.#at = from;
  }

  /** Whether all of it was read. */
  get isWhole(): boolean {
    return this.#at === this.#end;
  }

  /** False at the end, and at the first byte that is wrong. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#varint();
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    this.from = this.#at;
    switch (this.wireType) {
      case VARINT:
        this.#varint();
        break;
      case FIXED_64:
        this.#at += 8;
        break;
      case FIXED_32:
        this.#at += 4;
        break;
      case LENGTH_DELIMITED: {
        const length = this.#varint();
        this.from = this.#at;
        this.#at += length;
        break;
      }
      default:
        this.#at = NaN;
    }
    this.to = this.#at;
    return this.#at <= this.#end;
  }

  #varint(): number {
    const first = this.#bytes[this.#at];
    if (first !== undefined && first < 0x80) {
      this.#at += 1;
      return first;
    }
    const cursor = { at: this.#at };
    const value = readVarint(this.#bytes, cursor);
    this.#at = cursor.at;
    return value;
  }
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
