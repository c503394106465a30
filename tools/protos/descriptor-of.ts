import protobuf from 'protobufjs';

/** Numbers of google.protobuf.FieldDescriptorProto.Type. */
const SCALAR_TYPES: Readonly<Record<string, number>> = {
  double: 1,
  float: 2,
  int64: 3,
  uint64: 4,
  int32: 5,
  fixed64: 6,
  fixed32: 7,
  bool: 8,
  string: 9,
  bytes: 12,
  uint32: 13,
  sfixed32: 15,
  sfixed64: 16,
  sint32: 17,
  sint64: 18,
};
const MESSAGE_TYPE = 11;
const ENUM_TYPE = 14;
const OPTIONAL = 1;
const REPEATED = 3;

/**
 * A message as the object form of google.protobuf.DescriptorProto. By hand: what protobufjs makes names map entries and
 * types in a way that Go refuses. For proto3 files that were loaded with keepCase.
 */
export function descriptorOfType(type: protobuf.Type): object {
  const oneofs = type.oneofsArray.toSorted((one, other) => Number(isSynthetic(one)) - Number(isSynthetic(other)));
  const nested = type.nestedArray;
  return {
    name: type.name,
    field: type.fieldsArray.map((field) => descriptorOfField(field, oneofs)),
    nestedType: [
      ...nested.filter((child) => child instanceof protobuf.Type).map(descriptorOfType),
      ...type.fieldsArray.filter((field) => field instanceof protobuf.MapField).map(descriptorOfEntry),
    ],
    enumType: nested.filter((child) => child instanceof protobuf.Enum).map(descriptorOfEnum),
    oneofDecl: oneofs.map(({ name }) => ({ name })),
  };
}

/** google.protobuf.EnumDescriptorProto. */
export function descriptorOfEnum({ name, values }: protobuf.Enum): object {
  return { name, value: Object.entries(values).map(([value, number]) => ({ name: value, number })) };
}

/** google.protobuf.ServiceDescriptorProto. */
export function descriptorOfService(service: protobuf.Service): object {
  const method = service.methodsArray.map((one) => {
    one.resolve();
    return {
      name: one.name,
      inputType: one.resolvedRequestType?.fullName,
      outputType: one.resolvedResponseType?.fullName,
      clientStreaming: one.requestStream === true,
      serverStreaming: one.responseStream === true,
    };
  });
  return { name: service.name, method };
}

/** The oneof that proto3 puts around an `optional` field. */
function isSynthetic(oneof: protobuf.OneOf): boolean {
  return oneof.fieldsArray.every(isProto3Optional);
}

function isProto3Optional(field: protobuf.Field): boolean {
  return field.options?.['proto3_optional'] === true;
}

function descriptorOfField(field: protobuf.Field, oneofs: readonly protobuf.OneOf[]): object {
  field.resolve();
  const common = { name: field.name, number: field.id, jsonName: jsonNameOf(field.name) };
  if (field instanceof protobuf.MapField) {
    const typeName = `${field.parent?.fullName}.${entryNameOf(field)}`;
    return { ...common, label: REPEATED, type: MESSAGE_TYPE, typeName };
  }
  return {
    ...common,
    ...typeOf(field),
    label: field.repeated ? REPEATED : OPTIONAL,
    ...(field.partOf === null ? {} : { oneofIndex: oneofs.indexOf(field.partOf) }),
    ...(isProto3Optional(field) ? { proto3Optional: true } : {}),
  };
}

function typeOf(field: protobuf.FieldBase): object {
  if (field.resolvedType instanceof protobuf.Enum) return { type: ENUM_TYPE, typeName: field.resolvedType.fullName };
  if (field.resolvedType !== null) return { type: MESSAGE_TYPE, typeName: field.resolvedType.fullName };
  const type = SCALAR_TYPES[field.type];
  if (type === undefined) throw new Error(`${field.fullName}: ${field.type} is no scalar type`);
  return { type };
}

/** `map_field` becomes `MapFieldEntry`. */
function entryNameOf({ name }: protobuf.FieldBase): string {
  return `${name.replaceAll(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())}Entry`;
}

function jsonNameOf(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function descriptorOfEntry(field: protobuf.MapField): object {
  const key = { name: 'key', jsonName: 'key', number: 1, label: OPTIONAL, type: SCALAR_TYPES[field.keyType] };
  const value = { name: 'value', jsonName: 'value', number: 2, label: OPTIONAL, ...typeOf(field) };
  return { name: entryNameOf(field), field: [key, value], options: { mapEntry: true } };
}
