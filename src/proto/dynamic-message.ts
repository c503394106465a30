import protobuf from 'protobufjs/minimal.js';
import { SvidgateError } from '../core/index.ts';
import type { DescriptorSet, FieldDescriptor, MessageDescriptor } from './descriptor-set.ts';
import { scalarOf, WIRE, type Scalar } from './dynamic-scalar.ts';
import { wellKnownJson } from './well-known-json.ts';

/** A field that is there, as JSON text; lists and maps hold the texts of their elements. */
export type FieldValue =
  | { readonly kind: 'scalar'; readonly value: Scalar }
  | { readonly kind: 'message'; readonly message: DynamicMessage }
  | { readonly kind: 'list'; readonly elements: string[] }
  | { readonly kind: 'map'; readonly entries: Map<string, string> };

export interface DynamicMessage {
  readonly type: MessageDescriptor;
  readonly values: Map<number, FieldValue>;
}

/** What is read of one message from the wire before it is refused: fields, elements and messages in it. */
const MAX_VALUES = 100_000;
const MAX_DEPTH = 100;

/**
 * A message as Go's protojson writes it: lowerCamelCase names, fields that are there, 64-bit integers as text, enums by
 * name, bytes in base64, well-known types in their own forms. It is read by its descriptors alone; no code is made.
 * Extensions and unknown fields are left out. Throws `invalid_request` for bytes that are no such message, text that is not
 * UTF-8, a required field that is missing, more than 100,000 values or 100 levels, and a google.protobuf.Any of a type
 * that the descriptors lack.
 */
export function messageJson(set: DescriptorSet, name: string, bytes: Uint8Array): string {
  try {
    return new MessageReader(set).json(name, bytes, 0);
  } catch (cause) {
    if (cause instanceof SvidgateError) throw cause;
    throw new SvidgateError('invalid_request', `not a ${name}`, { cause });
  }
}

/** Reads messages and writes them, with one limit for all of them together. */
export class MessageReader {
  readonly #set: DescriptorSet;
  #left = MAX_VALUES;

  constructor(set: DescriptorSet) {
    this.#set = set;
  }

  json(name: string, bytes: Uint8Array, depth: number): string {
    const type = this.#set.messages.get(name);
    if (type === undefined) throw invalid(`${name} is not among the descriptors`);
    const message: DynamicMessage = { type, values: new Map() };
    this.#read(message, protobuf.Reader.create(bytes), { depth });
    return this.render(message, depth);
  }

  render(message: DynamicMessage, depth: number): string {
    const wellKnown = wellKnownJson(message, this, depth);
    return wellKnown ?? `{${this.members(message, depth).join(',')}}`;
  }

  /** `"name":value` of each field that is there. */
  members(message: DynamicMessage, depth: number): readonly string[] {
    const members: string[] = [];
    for (const field of message.type.fields.values()) {
      const value = message.values.get(field.number);
      if (value === undefined) {
        if (field.isRequired) throw invalid(`${message.type.name} lacks ${field.jsonName}`);
      } else {
        const json = this.#valueJson(field, value, depth);
        if (json !== undefined) members.push(`${JSON.stringify(field.jsonName)}:${json}`);
      }
    }
    return members;
  }

  #valueJson(field: FieldDescriptor, value: FieldValue, depth: number): string | undefined {
    switch (value.kind) {
      case 'scalar':
        return value.value.isZero && !field.hasPresence ? undefined : value.value.json;
      case 'message':
        return this.render(value.message, depth + 1);
      case 'list':
        return value.elements.length === 0 ? undefined : `[${value.elements.join(',')}]`;
      case 'map':
        return `{${[...value.entries].map(([key, json]) => `${key}:${json}`).join(',')}}`;
    }
  }

  /** To the end of the bytes, or of the group. */
  #read(
    message: DynamicMessage,
    reader: protobuf.Reader,
    at: { readonly depth: number; readonly group?: number },
  ): void {
    const { depth, group } = at;
    if (depth > MAX_DEPTH) throw invalid(`nested deeper than ${MAX_DEPTH} levels`);
    while (reader.pos < reader.len) {
      checkVarint(reader);
      const tag = reader.tag();
      const number = tag >>> 3;
      const wire = tag & 7;
      if (number === 0) throw invalid('a field has the number 0');
      if (wire === WIRE.groupEnd) {
        if (number !== group) throw invalid('a group ends that did not begin');
        return;
      }
      this.#spend();
      if (wire === WIRE.varint || wire === WIRE.bytes) checkVarint(reader);
      const field = message.type.fields.get(number);
      if (field === undefined || !this.#readField(message, field, { reader, wire, depth })) {
        skip(reader, { wire, number, depth });
      }
    }
    if (group !== undefined) throw invalid('a group does not end');
  }

  /** False for a wire type that the field cannot have: it is skipped as an unknown field. */
  #readField(message: DynamicMessage, field: FieldDescriptor, at: ReadAt): boolean {
    const type = this.#set.messages.get(field.typeName);
    if (type !== undefined) return this.#readMessage(message, field, { ...at, type });
    const scalar = scalarOf(field, this.#set);
    if (scalar === undefined) throw invalid(`${field.typeName} is not among the descriptors`);
    const { reader, wire } = at;
    if (wire === scalar.wire) {
      const value = scalar.read(reader);
      if (field.isRepeated) listOf(message, field.number).push(value.json);
      else this.#put(message, field, { kind: 'scalar', value });
      return true;
    }
    if (wire !== WIRE.bytes || !field.isRepeated || !scalar.isPackable) return false;
    const list = listOf(message, field.number);
    const end = reader.uint32() + reader.pos;
    if (end > reader.len) throw invalid('a list is cut off');
    while (reader.pos < end) {
      this.#spend();
      if (scalar.wire === WIRE.varint) checkVarint(reader);
      list.push(scalar.read(reader).json);
    }
    if (reader.pos !== end) throw invalid('a list is cut off');
    return true;
  }

  #readMessage(
    message: DynamicMessage,
    field: FieldDescriptor,
    { reader, wire, depth, type }: ReadAt & { readonly type: MessageDescriptor },
  ): boolean {
    const isGroup = wire === WIRE.groupStart;
    if (isGroup !== (field.type === TYPE_GROUP) || (!isGroup && wire !== WIRE.bytes)) return false;
    const before = message.values.get(field.number);
    // A message that comes twice is merged, as all its fields had come in one.
    const inner = before?.kind === 'message' ? before.message : { type, values: new Map<number, FieldValue>() };
    if (isGroup) this.#read(inner, reader, { depth: depth + 1, group: field.number });
    else this.#read(inner, protobuf.Reader.create(reader.bytes()), { depth: depth + 1 });
    if (type.isMapEntry && field.isRepeated) this.#addEntry(message, field, { entry: inner, depth });
    else if (field.isRepeated) listOf(message, field.number).push(this.render(inner, depth + 1));
    else this.#put(message, field, { kind: 'message', message: inner });
    return true;
  }

  /** Keys are texts in JSON, whatever they are on the wire. */
  #addEntry(
    message: DynamicMessage,
    field: FieldDescriptor,
    { entry, depth }: { readonly entry: DynamicMessage; readonly depth: number },
  ): void {
    const before = message.values.get(field.number);
    const entries = before?.kind === 'map' ? before.entries : new Map<string, string>();
    const key = this.#entryPart(entry, 1, depth);
    entries.set(key.startsWith('"') ? key : JSON.stringify(key), this.#entryPart(entry, 2, depth));
    message.values.set(field.number, { kind: 'map', entries });
  }

  /** The default where it was not sent. */
  #entryPart(entry: DynamicMessage, number: number, depth: number): string {
    const field = entry.type.fields.get(number);
    if (field === undefined) throw invalid(`${entry.type.name} has no field ${number}`);
    const value = entry.values.get(number);
    if (value?.kind === 'scalar') return value.value.json;
    if (value?.kind === 'message') return this.render(value.message, depth + 2);
    const type = this.#set.messages.get(field.typeName);
    if (type !== undefined) return this.render({ type, values: new Map() }, depth + 2);
    return scalarOf(field, this.#set)?.zero ?? 'null';
  }

  /** Of a oneof the last one that was sent counts. */
  #put(message: DynamicMessage, field: FieldDescriptor, value: FieldValue): void {
    if (field.oneof !== undefined) {
      for (const other of message.type.fields.values()) {
        if (other.oneof === field.oneof && other !== field) message.values.delete(other.number);
      }
    }
    message.values.set(field.number, value);
  }

  #spend(): void {
    this.#left -= 1;
    if (this.#left < 0) throw invalid(`more than ${MAX_VALUES} values`);
  }
}

interface ReadAt {
  readonly reader: protobuf.Reader;
  readonly wire: number;
  readonly depth: number;
}

const TYPE_GROUP = 10;

/** A varint has at most 64 bits: protobufjs drops what is above, and a reader that does not sees another message. */
function checkVarint({ buf, pos, len }: protobuf.Reader): void {
  for (let count = 0; count < 10; count += 1) {
    const byte = pos + count < len ? (buf[pos + count] ?? 0x80) : 0x80;
    if (byte < 0x80) {
      if (count === 9 && byte > 1) break;
      return;
    }
  }
  throw invalid('a number has more than 64 bits, or no end');
}

/** A field that is not known. */
function skip(
  reader: protobuf.Reader,
  { wire, number, depth }: { readonly wire: number; readonly number: number; readonly depth: number },
): void {
  if (wire !== WIRE.groupStart) {
    reader.skipType(wire, depth, number);
    return;
  }
  if (depth > MAX_DEPTH) throw invalid(`nested deeper than ${MAX_DEPTH} levels`);
  for (;;) {
    checkVarint(reader);
    const tag = reader.tag();
    const inner = { wire: tag & 7, number: tag >>> 3, depth: depth + 1 };
    if (inner.wire === WIRE.groupEnd) {
      if (inner.number !== number) throw invalid('a group ends that did not begin');
      return;
    }
    if (inner.wire === WIRE.varint || inner.wire === WIRE.bytes) checkVarint(reader);
    skip(reader, inner);
  }
}

function listOf(message: DynamicMessage, number: number): string[] {
  const value = message.values.get(number);
  if (value?.kind === 'list') return value.elements;
  const elements: string[] = [];
  message.values.set(number, { kind: 'list', elements });
  return elements;
}

function invalid(what: string): SvidgateError {
  return new SvidgateError('invalid_request', `the gRPC message: ${what}`);
}
