/** Id of the memory section of a WASM module. */
const MEMORY_SECTION = 5;
/** Magic number and version. */
const HEADER_BYTES = 8;
/** Flag of a memory that has a minimum and a maximum. */
const HAS_MAXIMUM = 1;

/**
 * The module with a maximum for its memory, in pages of 64 KiB: growing beyond it fails inside of the program. Go gives
 * its memories none. Throws when the module does not define exactly one memory.
 */
export function limitMemory(wasm: Uint8Array, maximumPages: number): Uint8Array<ArrayBuffer> {
  let at = HEADER_BYTES;
  while (at < wasm.length) {
    const id = wasm[at];
    const size = readUnsigned(wasm, at + 1);
    const end = size.end + size.value;
    if (id === MEMORY_SECTION) return replaceSection(wasm, { start: at, end }, memoryOf(wasm, size.end, maximumPages));
    at = end;
  }
  throw new Error('the module has no memory');
}

interface Section {
  readonly start: number;
  readonly end: number;
}

/** The content of the section: one memory, with its old minimum. */
function memoryOf(wasm: Uint8Array, start: number, maximumPages: number): readonly number[] {
  if (wasm[start] !== 1) throw new Error('the module has more than one memory');
  const minimum = readUnsigned(wasm, start + 2).value;
  return [1, HAS_MAXIMUM, ...unsigned(minimum), ...unsigned(maximumPages)];
}

function replaceSection(wasm: Uint8Array, section: Section, content: readonly number[]): Uint8Array<ArrayBuffer> {
  const bytes = [MEMORY_SECTION, ...unsigned(content.length), ...content];
  const all = new Uint8Array(wasm.length - (section.end - section.start) + bytes.length);
  all.set(wasm.subarray(0, section.start));
  all.set(bytes, section.start);
  all.set(wasm.subarray(section.end), section.start + bytes.length);
  return all;
}

/** LEB128. */
function readUnsigned(bytes: Uint8Array, start: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let at = start, factor = 1; ; at += 1, factor *= 128) {
    const byte = bytes[at];
    if (byte === undefined) throw new Error('the module ends early');
    value += (byte & 127) * factor;
    if (byte < 128) return { value, end: at + 1 };
  }
}

function unsigned(value: number): readonly number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...unsigned(Math.floor(value / 128))];
}
