import { isUtf8 } from 'node:buffer';
import type protobuf from 'protobufjs/minimal.js';
import { SvidgateError } from '../core/index.ts';
import type { DescriptorSet, EnumDescriptor, FieldDescriptor } from './descriptor-set.ts';

/** https://protobuf.dev/programming-guides/encoding/#structure */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, groupStart: 3, groupEnd: 4, fixed32: 5 } as const;

/** A value as JSON text. */
export interface Scalar {
  readonly json: string;
  /** Whether it is the default, which a field without presence does not show. */
  readonly isZero: boolean;
}

export interface ScalarType {
  readonly wire: number;
  readonly isPackable: boolean;
  readonly read: (reader: protobuf.Reader) => Scalar;
  /** The default as JSON text. */
  readonly zero: string;
}

type Read = ScalarType['read'];

const integer =
  (read: (reader: protobuf.Reader) => number): Read =>
  (reader) => {
    const value = read(reader);
    return { json: String(value), isZero: value === 0 };
  };

/** protojson writes 64-bit integers as text. */
const long =
  (read: (reader: protobuf.Reader) => { toString(): string }): Read =>
  (reader) => {
    const digits = read(reader).toString();
    return { json: `"${digits}"`, isZero: digits === '0' };
  };

/** Fields of google.protobuf.FieldDescriptorProto.Type but messages, groups and enums. */
const SCALARS: ReadonlyMap<number, ScalarType> = new Map<number, ScalarType>([
  [1, { wire: WIRE.fixed64, isPackable: true, read: (reader) => float(reader.double(), String), zero: '0' }],
  [2, { wire: WIRE.fixed32, isPackable: true, read: (reader) => float(reader.float(), shortFloat), zero: '0' }],
  [3, { wire: WIRE.varint, isPackable: true, read: long((reader) => reader.int64()), zero: '"0"' }],
  [4, { wire: WIRE.varint, isPackable: true, read: long((reader) => reader.uint64()), zero: '"0"' }],
  [5, { wire: WIRE.varint, isPackable: true, read: integer((reader) => reader.int32()), zero: '0' }],
  [6, { wire: WIRE.fixed64, isPackable: true, read: long((reader) => reader.fixed64()), zero: '"0"' }],
  [7, { wire: WIRE.fixed32, isPackable: true, read: integer((reader) => reader.fixed32()), zero: '0' }],
  [8, { wire: WIRE.varint, isPackable: true, read: readBool, zero: 'false' }],
  [9, { wire: WIRE.bytes, isPackable: false, read: readText, zero: '""' }],
  [12, { wire: WIRE.bytes, isPackable: false, read: readBytes, zero: '""' }],
  [13, { wire: WIRE.varint, isPackable: true, read: integer((reader) => reader.uint32()), zero: '0' }],
  [15, { wire: WIRE.fixed32, isPackable: true, read: integer((reader) => reader.sfixed32()), zero: '0' }],
  [16, { wire: WIRE.fixed64, isPackable: true, read: long((reader) => reader.sfixed64()), zero: '"0"' }],
  [17, { wire: WIRE.varint, isPackable: true, read: integer((reader) => reader.sint32()), zero: '0' }],
  [18, { wire: WIRE.varint, isPackable: true, read: long((reader) => reader.sint64()), zero: '"0"' }],
]);

const TYPE_ENUM = 14;

/** How values of a field are read; undefined when its type is not among the descriptors. */
export function scalarOf(field: FieldDescriptor, set: DescriptorSet): ScalarType | undefined {
  if (field.type !== TYPE_ENUM) return SCALARS.get(field.type);
  if (field.typeName === 'google.protobuf.NullValue') return NULL_VALUE;
  const descriptor = set.enums.get(field.typeName);
  if (descriptor === undefined) return undefined;
  return {
    wire: WIRE.varint,
    isPackable: true,
    read: (reader) => enumValue(reader.int32(), descriptor),
    zero: enumValue(0, descriptor).json,
  };
}

const NULL_VALUE: ScalarType = {
  wire: WIRE.varint,
  isPackable: true,
  read: (reader) => ({ json: 'null', isZero: reader.int32() === 0 }),
  zero: 'null',
};

function enumValue(number: number, names: EnumDescriptor): Scalar {
  const name = names.get(number);
  return { json: name === undefined ? String(number) : JSON.stringify(name), isZero: number === 0 };
}

function float(value: number, format: (value: number) => string): Scalar {
  if (Number.isNaN(value)) return { json: '"NaN"', isZero: false };
  if (!Number.isFinite(value)) return { json: value > 0 ? '"Infinity"' : '"-Infinity"', isZero: false };
  if (Object.is(value, -0)) return { json: '-0', isZero: false };
  return { json: format(value), isZero: value === 0 };
}

/** The fewest digits that give the same 32-bit number; of two that are as near, the one whose last digit is even. */
function shortFloat(value: number): string {
  for (let digits = 1; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) !== value) continue;
    // toPrecision rounds up from the middle. All digits of a 32-bit number that matter here are within a hundred.
    // oxlint-disable-next-line oxc/number-arg-out-of-range
    const exact = value.toExponential(100);
    const [, sign = '', head = '', tail = '', exponent = ''] =
      new RegExp(`^(-?)(\\d\\.?\\d{${digits - 1}})(\\d*)(e.*)$`).exec(exact) ?? [];
    const isEven = '02468'.includes(head.at(-1) ?? '');
    const down = Number(`${sign}${head}${exponent}`);
    return String(/^50*$/.test(tail) && isEven && Math.fround(down) === value ? down : short);
  }
  return String(Number(value.toPrecision(9)));
}

function readBool(reader: protobuf.Reader): Scalar {
  const value = reader.bool();
  return { json: String(value), isZero: !value };
}

function readText(reader: protobuf.Reader): Scalar {
  const bytes = reader.bytes();
  if (!isUtf8(bytes)) throw new SvidgateError('invalid_request', 'a text of the gRPC message is not UTF-8');
  return { json: JSON.stringify(bufferOf(bytes).toString('utf8')), isZero: bytes.length === 0 };
}

function readBytes(reader: protobuf.Reader): Scalar {
  const bytes = reader.bytes();
  return { json: `"${bufferOf(bytes).toString('base64')}"`, isZero: bytes.length === 0 };
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
