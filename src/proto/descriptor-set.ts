import protobuf from 'protobufjs/minimal.js';
import { SvidgateError } from '../core/index.ts';

/** What the files of a FileDescriptorSet define, by full name without a leading dot. */
export interface DescriptorSet {
  readonly messages: ReadonlyMap<string, MessageDescriptor>;
  readonly enums: ReadonlyMap<string, EnumDescriptor>;
  /** `package.Service`, then the method. */
  readonly services: ReadonlyMap<string, ReadonlyMap<string, MethodDescriptor>>;
}

export interface MethodDescriptor {
  /** Full name of the request's message. */
  readonly input: string;
  readonly isClientStreaming: boolean;
}

export interface MessageDescriptor {
  readonly name: string;
  readonly fields: ReadonlyMap<number, FieldDescriptor>;
  /** Whether it is an entry of a map field: key in field 1, value in field 2. */
  readonly isMapEntry: boolean;
}

export interface FieldDescriptor {
  readonly number: number;
  readonly jsonName: string;
  /** google.protobuf.FieldDescriptorProto.Type */
  readonly type: number;
  /** Full name of the message or enum. */
  readonly typeName: string;
  readonly isRepeated: boolean;
  readonly isRequired: boolean;
  /** Whether it is there when it was sent with its default value, too. */
  readonly hasPresence: boolean;
  /** The oneof it belongs to, counted in its message; a proto3 `optional` has one of its own. */
  readonly oneof: number | undefined;
}

/** Names by number. Closed enums (proto2) are read as open ones, as Go reads them. */
export type EnumDescriptor = ReadonlyMap<number, string>;

const LABEL_REQUIRED = 2;
const LABEL_REPEATED = 3;
const TYPE_GROUP = 10;
const TYPE_MESSAGE = 11;
const PRESENCE_IMPLICIT = 2;
const PRESENCE_REQUIRED = 3;
const ENCODING_DELIMITED = 2;
const MAX_DEPTH = 100;

/** Reads a FileDescriptorSet, as `protoc --include_imports -o` or `buf build` write it. Throws `invalid_request`. */
export function parseDescriptorSet(bytes: Uint8Array): DescriptorSet {
  const set = { messages: new Map<string, MessageDescriptor>(), enums: new Map(), services: new Map() };
  try {
    for (const file of fieldsOf(bytes).bytes(1)) readFile(file, set);
  } catch (cause) {
    throw new SvidgateError('invalid_request', 'not a FileDescriptorSet', { cause });
  }
  if (set.messages.size === 0) throw new SvidgateError('invalid_request', 'the FileDescriptorSet defines no message');
  return set;
}

interface Building {
  readonly messages: Map<string, MessageDescriptor>;
  readonly enums: Map<string, EnumDescriptor>;
  readonly services: Map<string, Map<string, MethodDescriptor>>;
}

/** How the fields of a file behave where they do not say otherwise: syntax, or features of an edition. */
interface FileRules {
  readonly isProto3: boolean;
  readonly isEdition: boolean;
  readonly features: Fields;
}

function readFile(bytes: Uint8Array, set: Building): void {
  const file = fieldsOf(bytes);
  const syntax = file.text(12);
  const rules: FileRules = {
    isProto3: syntax === 'proto3',
    isEdition: syntax === 'editions',
    features: file.message(8).message(50),
  };
  const prefix = file.text(2);
  for (const message of file.bytes(4)) readMessage(fieldsOf(message), prefix, { set, rules, depth: 0 });
  for (const each of file.bytes(5)) readEnum(fieldsOf(each), prefix, set);
  for (const each of file.bytes(6)) {
    const service = fieldsOf(each);
    const methods = service.bytes(2).map((method) => readMethod(fieldsOf(method)));
    set.services.set(join(prefix, service.text(1)), new Map(methods));
  }
}

function readMethod(method: Fields): [string, MethodDescriptor] {
  return [method.text(1), { input: fullName(method.text(2)), isClientStreaming: method.number(5) !== 0 }];
}

interface ReadContext {
  readonly set: Building;
  readonly rules: FileRules;
  readonly depth: number;
}

function readMessage(message: Fields, scope: string, context: ReadContext): void {
  if (context.depth > MAX_DEPTH) throw new Error('nested too deep');
  const name = join(scope, message.text(1));
  const fields = message.bytes(2).map((field) => readField(fieldsOf(field), context.rules));
  context.set.messages.set(name, {
    name,
    fields: new Map(fields.map((field) => [field.number, field])),
    isMapEntry: message.message(7).number(7) !== 0,
  });
  for (const nested of message.bytes(3)) readMessage(fieldsOf(nested), name, { ...context, depth: context.depth + 1 });
  for (const each of message.bytes(4)) readEnum(fieldsOf(each), name, context.set);
}

function readEnum(each: Fields, scope: string, set: Building): void {
  const names = new Map<number, string>();
  for (const bytes of each.bytes(2)) {
    const value = fieldsOf(bytes);
    // Of several names for one number the first counts.
    if (!names.has(value.number(2))) names.set(value.number(2), value.text(1));
  }
  set.enums.set(join(scope, each.text(1)), names);
}

function readField(field: Fields, rules: FileRules): FieldDescriptor {
  const features = field.message(8).message(21);
  const presence = features.number(1) || rules.features.number(1);
  const encoding = features.number(5) || rules.features.number(5);
  const label = field.number(4);
  const type = field.number(5);
  const isRepeated = label === LABEL_REPEATED;
  const oneof = field.has(9) ? field.number(9) : undefined;
  const isImplicit = rules.isEdition ? presence === PRESENCE_IMPLICIT : rules.isProto3;
  return {
    number: field.number(3),
    jsonName: field.text(10) || camelCase(field.text(1)),
    type: type === TYPE_MESSAGE && rules.isEdition && encoding === ENCODING_DELIMITED ? TYPE_GROUP : type,
    typeName: fullName(field.text(6)),
    isRepeated,
    isRequired: label === LABEL_REQUIRED || (rules.isEdition && presence === PRESENCE_REQUIRED && !isRepeated),
    hasPresence: oneof !== undefined || type === TYPE_MESSAGE || type === TYPE_GROUP || !isImplicit,
    oneof,
  };
}

/** The fields of one message on the wire, as far as descriptors have them. */
interface Fields {
  readonly has: (number: number) => boolean;
  /** The last one; 0 without one. */
  readonly number: (number: number) => number;
  readonly text: (number: number) => string;
  readonly bytes: (number: number) => readonly Uint8Array[];
  /** The last one; an empty one without. */
  readonly message: (number: number) => Fields;
}

function fieldsOf(bytes: Uint8Array): Fields {
  const numbers = new Map<number, number>();
  const chunks = new Map<number, Uint8Array[]>();
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const number = tag >>> 3;
    if ((tag & 7) === 0) numbers.set(number, reader.int32());
    else if ((tag & 7) === 2) {
      const list = chunks.get(number);
      if (list === undefined) chunks.set(number, [reader.bytes()]);
      else list.push(reader.bytes());
    } else reader.skipType(tag & 7);
  }
  const last = (number: number): Uint8Array => chunks.get(number)?.at(-1) ?? new Uint8Array();
  return {
    has: (number) => numbers.has(number) || chunks.has(number),
    number: (number) => numbers.get(number) ?? 0,
    text: (number) => Buffer.from(last(number)).toString('utf8'),
    bytes: (number) => chunks.get(number) ?? [],
    message: (number) => fieldsOf(last(number)),
  };
}

function join(scope: string, name: string): string {
  return scope === '' ? name : `${scope}.${name}`;
}

function fullName(name: string): string {
  return name.startsWith('.') ? name.slice(1) : name;
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9]?)/gi, (_match, letter: string) => letter.toUpperCase());
}
