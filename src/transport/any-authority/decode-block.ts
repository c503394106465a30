import { decodeHuffman } from './huffman.ts';
import type { HeaderField, HeaderTable } from './header-table.ts';

/** A field as it stands in a header block. */
export interface BlockField extends HeaderField {
  /** Whether no hop may put it into a table (RFC 7541 §6.2.3). */
  readonly neverIndexed?: boolean;
}

/** What the server has announced: Node's and nghttp2's default. */
export const MAX_TABLE_BYTES = 4096;

/** Numbers beyond it are no index and no length of anything that we take. */
const MAX_INTEGER = 2 ** 21;

/**
 * Decodes a header block (RFC 7541 §3) and takes over into the table what it says. Undefined for bytes that are no such
 * block; the table is then of no use any more.
 */
export function decodeBlock(block: Buffer, table: HeaderTable): readonly BlockField[] | undefined {
  const reader = new BlockReader(block);
  const fields: BlockField[] = [];
  while (!reader.isAtEnd) {
    const field = reader.readField(table, fields.length === 0);
    if (field === undefined) return undefined;
    if (field !== 'resized') fields.push(field);
  }
  return fields;
}

class BlockReader {
  readonly #block: Buffer;
  #at = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#block.length;
  }

  /** The next representation (RFC 7541 §6). The size of the table changes before the first field only (§4.2). */
  readField(table: HeaderTable, isFirst: boolean): BlockField | 'resized' | undefined {
    const first = this.#block[this.#at] ?? 0;
    if (first >= 0x80) {
      const index = this.#readInteger(7);
      return index === undefined ? undefined : table.at(index);
    }
    if (first >= 0x40) {
      const field = this.#readLiteral(6, table);
      if (field !== undefined) table.add(field);
      return field;
    }
    if (first >= 0x20) {
      const size = this.#readInteger(5);
      if (size === undefined || size > MAX_TABLE_BYTES || !isFirst) return undefined;
      table.resize(size);
      return 'resized';
    }
    const field = this.#readLiteral(4, table);
    return field === undefined || first < 0x10 ? field : { ...field, neverIndexed: true };
  }

  #readLiteral(prefixBits: number, table: HeaderTable): HeaderField | undefined {
    const index = this.#readInteger(prefixBits);
    if (index === undefined) return undefined;
    const name = index === 0 ? this.#readString() : table.at(index)?.name;
    if (name === undefined) return undefined;
    const value = this.#readString();
    return value === undefined ? undefined : { name, value };
  }

  /** RFC 7541 §5.1. */
  #readInteger(prefixBits: number): number | undefined {
    const mask = 2 ** prefixBits - 1;
    let value = (this.#block[this.#at] ?? 0) & mask;
    this.#at += 1;
    if (value < mask) return value;
    for (let factor = 1; factor <= MAX_INTEGER; factor *= 128) {
      const byte = this.#block[this.#at];
      if (byte === undefined) return undefined;
      this.#at += 1;
      value += (byte & 0x7f) * factor;
      if (value > MAX_INTEGER) return undefined;
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  /** RFC 7541 §5.2. */
  #readString(): string | undefined {
    const isHuffman = (this.#block[this.#at] ?? 0) >= 0x80;
    if (this.isAtEnd) return undefined;
    const length = this.#readInteger(7);
    if (length === undefined) return undefined;
    const end = this.#at + length;
    if (end > this.#block.length) return undefined;
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    return isHuffman ? decodeHuffman(bytes) : bytes.toString('latin1');
  }
}
