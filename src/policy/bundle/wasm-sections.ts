/** The parts of a WASM module's binary form: https://webassembly.github.io/spec/core/binary/modules.html */
export interface WasmSection {
  readonly id: number;
  readonly content: Uint8Array;
}

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  code: 10,
} as const;

const PREAMBLE_BYTES = 8;
const TEXT = new TextDecoder();

/** Reads what the engine has validated already; throws a RangeError where it would read beyond the end. */
export class WasmReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.byteLength;
  }

  byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new RangeError('the module ends early');
    this.#at += 1;
    return byte;
  }

  /** LEB128 of up to 32 bits. */
  unsigned(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number has too many bytes');
  }

  take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.byteLength) throw new RangeError('the module ends early');
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  text(): string {
    return TEXT.decode(this.take(this.unsigned()));
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.byteLength - this.#at);
  }

  /** A count, and as many values of at least one byte each. */
  list<T>(read: () => T): readonly T[] {
    const length = this.unsigned();
    if (length > this.#bytes.byteLength - this.#at) throw new RangeError('a list is longer than the module');
    return Array.from({ length }, read);
  }
}

export function readSections(module: Uint8Array): readonly WasmSection[] {
  const reader = new WasmReader(module.subarray(PREAMBLE_BYTES));
  const sections: WasmSection[] = [];
  while (!reader.isAtEnd) sections.push({ id: reader.byte(), content: reader.take(reader.unsigned()) });
  return sections;
}

/** The inverse of readSections. */
export function writeSections(sections: readonly WasmSection[]): Uint8Array<ArrayBuffer> {
  const preamble = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  const parts = sections.flatMap(({ id, content }) => [[id], unsigned(content.byteLength), content]);
  return concat([preamble, ...parts]);
}

/** LEB128. */
export function unsigned(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}

/** Signed LEB128 of a number that is not negative: the sign is the highest bit of the last byte's seven. */
export function signed(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x40; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}

export function concat(parts: readonly (readonly number[] | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
