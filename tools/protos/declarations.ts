import protobuf from 'protobufjs';

/** Types of one field: as decoding gives it, and as encoding takes it. */
interface FieldTypes {
  readonly decoded: string;
  readonly init: string;
}

const SCALARS: Readonly<Record<string, FieldTypes>> = {
  bool: { decoded: 'boolean', init: 'boolean' },
  bytes: { decoded: 'Uint8Array', init: 'Uint8Array' },
  double: { decoded: 'number', init: 'number' },
  float: { decoded: 'number', init: 'number' },
  int32: { decoded: 'number', init: 'number' },
  int64: { decoded: 'Int64', init: 'number | Int64' },
  string: { decoded: 'string', init: 'string' },
  uint32: { decoded: 'number', init: 'number' },
  uint64: { decoded: 'Int64', init: 'number | Int64' },
};

const PREAMBLE = `/** A 64-bit integer as decoding gives it: exact at any size. */
export interface Int64 {
  readonly low: number;
  readonly high: number;
  readonly unsigned: boolean;
  /** Decimal digits. */
  toString(): string;
}

/** Reads and writes one message; used through encodeMessage and decodeMessage. */
export interface Codec<Decoded, Init> {
  readonly name: string;
  encode(message: Init, writer: Writer): Writer;
  decode(reader: Uint8Array): Decoded;
  /** The Any type URL, type.googleapis.com/ and the full name. */
  getTypeUrl(): string;
}
`;

/**
 * TypeScript declarations for the code that pbjs writes. Two interfaces a message: `Name` is what decoding gives, each
 * scalar, list and map present with its default and an absent message null; `NameInit` is what encoding takes, where all
 * is optional. pbts gives one with everything optional, so that a reader could not tell a default from a mistake.
 */
export function declarationsOf(root: protobuf.Root): string {
  const lines = ["import type { Writer } from 'protobufjs/minimal.js';", '', ...PREAMBLE.split('\n')];
  for (const child of root.nestedArray) lines.push(...declare(child, 'export '));
  return `${lines.join('\n')}\n`;
}

function declare(object: protobuf.ReflectionObject, prefix: string): string[] {
  if (object instanceof protobuf.Enum) return exported(declareEnum(object), prefix);
  if (object instanceof protobuf.Type) return exported(declareType(object), prefix);
  if (object instanceof protobuf.Namespace) {
    const inner = object.nestedArray.flatMap((child) => declare(child, ''));
    return [`${prefix}namespace ${object.name} {`, ...indent(inner), '}'];
  }
  throw new Error(`${object.fullName}: not a message, an enum or a namespace`);
}

/** In a namespace of declarations all is exported; a message without a package stands at the top and must say so. */
function exported(lines: readonly string[], prefix: string): string[] {
  return lines.map((line) => (/^(?:interface|const|namespace) /.test(line) ? `${prefix}${line}` : line));
}

function declareEnum(object: protobuf.Enum): string[] {
  return [...comment(object.comment), `const ${object.name}: {`, ...indent(enumMembers(object)), '};'];
}

function enumMembers(object: protobuf.Enum): string[] {
  return Object.entries(object.values).map(([name, value]) => `readonly ${name}: ${value};`);
}

function declareType(type: protobuf.Type): string[] {
  const enums = type.nestedArray.filter((child) => child instanceof protobuf.Enum);
  const nested = type.nestedArray.filter((child) => child instanceof protobuf.Type);
  const constants = enums.flatMap((child) => [`readonly ${child.name}: {`, ...indent(enumMembers(child)), '};']);
  const codec = `const ${type.name}: Codec<${type.name}, ${type.name}Init>`;
  const lines = [
    ...comment(type.comment),
    `interface ${type.name} {`,
    ...indent(type.fieldsArray.flatMap((field) => declareField(field, 'decoded'))),
    ...indent(type.oneofsArray.map(declareOneof)),
    '}',
    `interface ${type.name}Init {`,
    ...indent(type.fieldsArray.flatMap((field) => declareField(field, 'init'))),
    '}',
    ...(constants.length === 0 ? [`${codec};`] : [`${codec} & {`, ...indent(constants), '};']),
  ];
  if (nested.length > 0) lines.push(`namespace ${type.name} {`, ...indent(nested.flatMap(declareNestedType)), '}');
  return lines;
}

/** Nested messages are types only: a namespace with values cannot stand beside the constant of the same name. */
function declareNestedType(type: protobuf.Type): string[] {
  return declareType(type).filter((line) => !line.startsWith('const '));
}

function declareOneof(oneof: protobuf.OneOf): string {
  const cases = oneof.oneof.map((name) => `'${name}'`).join(' | ');
  return `readonly ${oneof.name}: ${cases} | undefined;`;
}

function declareField(field: protobuf.Field, view: keyof FieldTypes): string[] {
  const single = singleType(field)[view];
  const type = shapeType(field, single);
  const isAbsentable = !field.repeated && !field.map && (isMessage(field) || field.partOf !== null);
  const orNull = isAbsentable ? ' | null' : '';
  const line =
    view === 'decoded' ? `readonly ${field.name}: ${type}${orNull};` : `readonly ${field.name}?: ${type}${orNull};`;
  return [...comment(field.comment), line];
}

function shapeType(field: protobuf.Field, single: string): string {
  if (field.map) return `{ readonly [key: string]: ${single} }`;
  if (field.repeated) return `readonly ${single.includes(' ') ? `(${single})` : single}[]`;
  return single;
}

function isMessage(field: protobuf.Field): boolean {
  return field.resolvedType instanceof protobuf.Type;
}

function singleType(field: protobuf.Field): FieldTypes {
  // Enums are open in proto3: a number that we do not know comes as it is.
  if (field.resolvedType instanceof protobuf.Enum) return { decoded: 'number', init: 'number' };
  if (field.resolvedType !== null) {
    const name = field.resolvedType.fullName.slice(1);
    return { decoded: name, init: `${name}Init` };
  }
  const scalar = SCALARS[field.type];
  if (scalar === undefined) throw new Error(`${field.fullName}: no TypeScript type is known for ${field.type}`);
  return scalar;
}

function comment(text: string | null | undefined): string[] {
  return text === null || text === undefined || text === ''
    ? []
    : [`/** ${text.replaceAll('*/', '*\\/').replaceAll('\n', ' ')} */`];
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}
