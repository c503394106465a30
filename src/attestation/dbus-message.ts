/**
 * Messages of the D-Bus specification, as far as calls with numbers and texts need them: calls out, answers in.
 * Both byte orders are read; we write little-endian.
 */

export interface DbusCall {
  readonly serial: number;
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** One for each argument. */
  readonly body: readonly DbusArgument[];
}

export type DbusArgument =
  { readonly type: 'u'; readonly value: number } | { readonly type: 's'; readonly value: string };

/** An answer, an error or something that was not asked for. */
export interface DbusMessage {
  readonly kind: 'call' | 'return' | 'error' | 'signal' | 'unknown';
  /** Of the call that it answers. */
  readonly replySerial: number | undefined;
  readonly errorName: string | undefined;
  /** The first argument if it is a text, an object path or a variant of either. */
  readonly text: string | undefined;
}

/** Far more than a unit's name and path need; the protocol allows 128 MiB. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

const LITTLE_ENDIAN = 0x6c;
const BIG_ENDIAN = 0x42;
const METHOD_CALL = 1;
const VERSION = 1;
const FIXED_HEADER_BYTES = 16;
const MESSAGE_KINDS = ['unknown', 'call', 'return', 'error', 'signal'] as const;
const FIELD = { path: 1, interface: 2, member: 3, errorName: 4, replySerial: 5, destination: 6, signature: 8 } as const;

export function encodeCall(call: DbusCall): Buffer {
  const body = new Writer();
  for (const argument of call.body) {
    if (argument.type === 'u') body.uint32(argument.value);
    else body.text(argument.value);
  }
  const header = new Writer();
  header.bytes(LITTLE_ENDIAN, METHOD_CALL, 0, VERSION);
  header.uint32(body.length);
  header.uint32(call.serial);
  const fields = new Writer();
  fields.field(FIELD.path, 'o', call.path);
  fields.field(FIELD.interface, 's', call.interface);
  fields.field(FIELD.member, 's', call.member);
  fields.field(FIELD.destination, 's', call.destination);
  if (call.body.length > 0) fields.signatureField(FIELD.signature, call.body.map(({ type }) => type).join(''));
  header.uint32(fields.length);
  header.append(fields); // at 16, so that alignments stay
  header.align(8);
  header.append(body);
  return header.toBuffer();
}

/** How long the message that begins here is, or undefined before its fixed header is there. Throws when it is none. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < FIXED_HEADER_BYTES) return undefined;
  const order = bytes[0];
  if ((order !== LITTLE_ENDIAN && order !== BIG_ENDIAN) || bytes[3] !== VERSION) throw new Error('no D-Bus message');
  const read = (at: number): number => (order === LITTLE_ENDIAN ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at));
  const total = aligned(FIXED_HEADER_BYTES + read(12), 8) + read(4);
  if (total > MAX_MESSAGE_BYTES) throw new Error(`the D-Bus message is longer than ${MAX_MESSAGE_BYTES} bytes`);
  return total;
}

/** Reads one whole message. Throws when it is malformed. */
export function decodeMessage(bytes: Buffer): DbusMessage {
  const reader = new Reader(bytes, bytes[0] === LITTLE_ENDIAN);
  const kind = MESSAGE_KINDS[bytes[1] ?? 0] ?? 'unknown';
  reader.at = 12;
  const end = reader.uint32() + FIXED_HEADER_BYTES;
  let replySerial: number | undefined;
  let errorName: string | undefined;
  let signature = '';
  while (reader.at < end) {
    reader.align(8);
    const code = reader.byte();
    const value = reader.basic(reader.signature());
    if (code === FIELD.replySerial && typeof value === 'number') replySerial = value;
    if (code === FIELD.errorName && typeof value === 'string') errorName = value;
    if (code === FIELD.signature && typeof value === 'string') signature = value;
  }
  if (reader.at !== end) throw new Error('the header fields of the D-Bus message do not end where they should');
  reader.align(8);
  return { kind, replySerial, errorName, text: firstText(reader, signature) };
}

function firstText(reader: Reader, signature: string): string | undefined {
  const [first = ''] = signature;
  const type = first === 'v' ? reader.signature() : first;
  if (type !== 's' && type !== 'o') return undefined;
  const value = reader.basic(type);
  return typeof value === 'string' ? value : undefined;
}

function aligned(at: number, size: number): number {
  return Math.ceil(at / size) * size;
}

class Writer {
  #bytes = Buffer.alloc(0);

  get length(): number {
    return this.#bytes.length;
  }

  bytes(...values: readonly number[]): void {
    this.#bytes = Buffer.concat([this.#bytes, Buffer.from(values)]);
  }

  align(size: number): void {
    this.bytes(...Array.from({ length: aligned(this.length, size) - this.length }, () => 0));
  }

  uint32(value: number): void {
    this.align(4);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.bytes(...bytes);
  }

  text(value: string): void {
    const bytes = Buffer.from(value, 'utf8');
    this.uint32(bytes.length);
    this.bytes(...bytes, 0);
  }

  signature(value: string): void {
    this.bytes(value.length, ...Buffer.from(value, 'latin1'), 0);
  }

  field(code: number, type: 'o' | 's', value: string): void {
    this.align(8);
    this.bytes(code);
    this.signature(type);
    this.text(value);
  }

  signatureField(code: number, value: string): void {
    this.align(8);
    this.bytes(code);
    this.signature('g');
    this.signature(value);
  }

  append(other: Writer): void {
    this.bytes(...other.toBuffer());
  }

  toBuffer(): Buffer {
    return this.#bytes;
  }
}

class Reader {
  at = 0;
  readonly #bytes: Buffer;
  readonly #isLittle: boolean;

  constructor(bytes: Buffer, isLittle: boolean) {
    this.#bytes = bytes;
    this.#isLittle = isLittle;
  }

  align(size: number): void {
    this.at = aligned(this.at, size);
  }

  byte(): number {
    return this.#take(1).readUInt8();
  }

  uint32(): number {
    this.align(4);
    const bytes = this.#take(4);
    return this.#isLittle ? bytes.readUInt32LE() : bytes.readUInt32BE();
  }

  signature(): string {
    const value = this.#take(this.byte()).toString('latin1');
    this.#take(1);
    return value;
  }

  /** A value of a type that header fields can have; an unknown field must be passed over, not refused. */
  basic(type: string): string | number {
    switch (type) {
      case 's':
      case 'o':
        return this.#text();
      case 'g':
        return this.signature();
      case 'u':
      case 'i':
      case 'b':
      case 'h':
        return this.uint32();
      case 'y':
        return this.byte();
      default:
        throw new Error('the D-Bus message has a header field of an unknown type');
    }
  }

  #text(): string {
    const bytes = this.#take(this.uint32());
    this.#take(1);
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  }

  #take(size: number): Buffer {
    const bytes = this.#bytes.subarray(this.at, this.at + size);
    if (bytes.length !== size) throw new Error('the D-Bus message is cut off');
    this.at += size;
    return bytes;
  }
}
