import { relative } from 'node:path';
import protobuf from 'protobufjs';
import descriptors from 'protobufjs/ext/descriptor.js';
import { descriptorOfEnum, descriptorOfService, descriptorOfType } from './descriptor-of.ts';
import { PROTOS_FOLDER } from './load.ts';

/** The types of descriptors.js. */
export const DESCRIPTOR_DECLARATIONS = `/** One .proto file, as gRPC reflection tells it. */
export interface ProtoFile {
  readonly name: string;
  /** Names of the files it imports. */
  readonly imports: readonly string[];
  /** Full names of its messages, fields, enums, services and methods. */
  readonly symbols: readonly string[];
  /** google.protobuf.FileDescriptorProto in base64. */
  readonly descriptor: string;
}
export const PROTO_FILES: readonly ProtoFile[];
`;

interface FileContent {
  readonly packageName: string;
  readonly types: protobuf.Type[];
  readonly enums: protobuf.Enum[];
  readonly services: protobuf.Service[];
}

/**
 * The files of a Root as encoded descriptors, so that the server can tell what it serves without reflection code, which
 * would make code at run time. The Root must have been loaded with keepCase.
 */
export function descriptorsOf(root: protobuf.Root): string {
  const files = new Map<string, FileContent>();
  collect(root, files);
  const entries = [...files]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, file]) => describe(name, file));
  return `export const PROTO_FILES = ${JSON.stringify(entries, undefined, 2)};\n`;
}

function collect(parent: protobuf.NamespaceBase, files: Map<string, FileContent>): void {
  for (const child of parent.nestedArray) {
    if (child instanceof protobuf.Type) contentOf(child, files).types.push(child);
    else if (child instanceof protobuf.Enum) contentOf(child, files).enums.push(child);
    else if (child instanceof protobuf.Service) contentOf(child, files).services.push(child);
    else if (child instanceof protobuf.Namespace) collect(child, files);
  }
}

function contentOf(object: protobuf.ReflectionObject, files: Map<string, FileContent>): FileContent {
  const name = fileOf(object);
  const known = files.get(name);
  if (known !== undefined) return known;
  const content = { packageName: object.parent?.fullName.slice(1) ?? '', types: [], enums: [], services: [] };
  files.set(name, content);
  return content;
}

/** The name that others import it by. protobufjs brings google.protobuf.* itself and knows no file for it. */
function fileOf(object: protobuf.ReflectionObject): string {
  if (object.parent?.fullName === '.google.protobuf') {
    const found = WELL_KNOWN.find(([, names]) => names.includes(object.name));
    if (found === undefined) throw new Error(`${object.fullName}: in no file of google/protobuf that is known here`);
    return found[0];
  }
  if (object.filename === null) throw new Error(`${object.fullName} comes from no file`);
  return relative(PROTOS_FOLDER, object.filename);
}

const WELL_KNOWN: readonly (readonly [string, readonly string[]])[] = [
  ['google/protobuf/any.proto', ['Any']],
  ['google/protobuf/duration.proto', ['Duration']],
  ['google/protobuf/struct.proto', ['Struct', 'Value', 'ListValue', 'NullValue']],
  ['google/protobuf/timestamp.proto', ['Timestamp']],
  [
    'google/protobuf/wrappers.proto',
    'DoubleValue FloatValue Int64Value UInt64Value Int32Value UInt32Value BoolValue StringValue BytesValue'.split(' '),
  ],
  ['google/protobuf/empty.proto', ['Empty']],
];

function describe(name: string, content: FileContent): object {
  const { packageName, types, enums, services } = content;
  const imports = importsOf(name, content);
  const file = descriptors.FileDescriptorProto.fromObject({
    name,
    package: packageName,
    dependency: imports,
    messageType: types.map(descriptorOfType),
    enumType: enums.map(descriptorOfEnum),
    service: services.map(descriptorOfService),
    syntax: 'proto3',
  });
  return {
    name,
    imports,
    symbols: [...types, ...enums, ...services].flatMap(symbolsOf).sort(),
    descriptor: Buffer.from(descriptors.FileDescriptorProto.encode(file).finish()).toString('base64'),
  };
}

function importsOf(name: string, { types, services }: FileContent): string[] {
  const files = new Set<string>();
  const add = (object: protobuf.ReflectionObject | null | undefined): void => {
    if (object === null || object === undefined) return;
    const top = topLevel(object);
    if (fileOf(top) !== name) files.add(fileOf(top));
  };
  const visit = (type: protobuf.Type): void => {
    for (const field of type.fieldsArray) add(field.resolve().resolvedType);
    for (const nested of type.nestedArray) if (nested instanceof protobuf.Type) visit(nested);
  };
  types.forEach(visit);
  for (const method of services.flatMap((service) => service.methodsArray)) {
    method.resolve();
    add(method.resolvedRequestType);
    add(method.resolvedResponseType);
  }
  return [...files].sort();
}

function topLevel(object: protobuf.ReflectionObject): protobuf.ReflectionObject {
  return object.parent instanceof protobuf.Type ? topLevel(object.parent) : object;
}

function symbolsOf(object: protobuf.ReflectionObject): string[] {
  const name = object.fullName.slice(1);
  if (object instanceof protobuf.Type) {
    return [
      name,
      ...object.fieldsArray.map((field) => `${name}.${field.name}`),
      ...object.nestedArray.flatMap(symbolsOf),
    ];
  }
  if (object instanceof protobuf.Service)
    return [name, ...object.methodsArray.map((method) => `${name}.${method.name}`)];
  return [name];
}
