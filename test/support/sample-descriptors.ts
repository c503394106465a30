import descriptors from 'protobufjs/ext/descriptor.js';

const KNOWN = ['any', 'duration', 'empty', 'field_mask', 'struct', 'timestamp', 'wrappers'];

/** Type names of FieldDescriptorProto by number, those of messages and enums as `.shop.Order`. */
const TYPES = [
  '',
  'double',
  'float',
  'int64',
  'uint64',
  'int32',
  'fixed64',
  'fixed32',
  'bool',
  'string',
  'group',
  'message',
  'bytes',
  'uint32',
  'enum',
  'sfixed32',
  'sfixed64',
  'sint32',
  'sint64',
];

/** `name number type`, after it `repeated`, `required`, `optional` (proto3), `oneof` or `packed`. */
function field(line: string): object {
  const [name = '', number = '', type = '', rule] = line.split(' ');
  const isEnum = /Color$|NullValue$/.test(type);
  const typeNumber = type.startsWith('.') ? (isEnum ? 14 : 11) : TYPES.indexOf(type);
  const jsonName = name.replaceAll(/_([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
  return {
    name,
    number: Number(number),
    label: rule === 'repeated' || rule === 'packed' ? 3 : rule === 'required' ? 2 : 1,
    type: typeNumber,
    ...(type.startsWith('.') ? { typeName: type } : {}),
    jsonName,
    ...(rule === 'oneof' ? { oneofIndex: 0 } : {}),
    ...(rule === 'optional' ? { oneofIndex: 1, proto3Optional: true } : {}),
    ...(rule === 'packed' ? { options: { packed: true } } : {}),
  };
}

const fields = (text: string): object[] =>
  text
    .trim()
    .split(/\s*\n\s*/)
    .map(field);

function mapEntry(name: string, key: string, value: string): object {
  return { name, field: fields(`key 1 ${key}\nvalue 2 ${value}`), options: { mapEntry: true } };
}

const ORDER = `
  a_double 1 double
  a_float 2 float
  an_int64 3 int64
  a_uint64 4 uint64
  an_int32 5 int32
  a_fixed64 6 fixed64
  a_fixed32 7 fixed32
  a_bool 8 bool
  a_string 9 string
  nested 10 .shop.Order
  a_bytes 11 bytes
  a_uint32 12 uint32
  color 13 .shop.Color
  a_sfixed32 14 sfixed32
  a_sfixed64 15 sfixed64
  a_sint32 16 sint32
  a_sint64 17 sint64
  numbers 18 int32 repeated
  texts 19 string repeated
  orders 20 .shop.Order repeated
  colors 21 .shop.Color repeated
  by_name 22 .shop.Order.ByNameEntry repeated
  by_number 23 .shop.Order.ByNumberEntry repeated
  by_bool 24 .shop.Order.ByBoolEntry repeated
  one 25 int32 oneof
  two 26 string oneof
  three 27 .shop.Order oneof
  doubles 28 double repeated
  floats 29 float repeated
  by_long 30 .shop.Order.ByLongEntry repeated
  time 31 .google.protobuf.Timestamp
  duration 32 .google.protobuf.Duration
  struct 33 .google.protobuf.Struct
  value 34 .google.protobuf.Value
  list 35 .google.protobuf.ListValue
  wrapped 36 .google.protobuf.Int64Value
  wrapped_text 37 .google.protobuf.StringValue
  mask 38 .google.protobuf.FieldMask
  any 39 .google.protobuf.Any
  empty 40 .google.protobuf.Empty
  nothing 41 .google.protobuf.NullValue
  times 42 .google.protobuf.Timestamp repeated
  maybe 43 int32 optional`;

const SHOP = {
  name: 'shop.proto',
  package: 'shop',
  syntax: 'proto3',
  dependency: KNOWN.map((name) => `google/protobuf/${name}.proto`),
  messageType: [
    {
      name: 'Order',
      field: fields(ORDER),
      oneofDecl: [{ name: 'choice' }, { name: '_maybe' }],
      nestedType: [
        mapEntry('ByNameEntry', 'string', '.shop.Order'),
        mapEntry('ByNumberEntry', 'int32', 'string'),
        mapEntry('ByBoolEntry', 'bool', '.shop.Color'),
        mapEntry('ByLongEntry', 'uint64', 'bytes'),
      ],
    },
  ],
  enumType: [
    {
      name: 'Color',
      value: [
        { name: 'NONE', number: 0 },
        { name: 'RED', number: 1 },
        { name: 'DARK', number: -2 },
      ],
    },
  ],
  service: [
    {
      name: 'Orders',
      method: [
        { name: 'Place', inputType: '.shop.Order', outputType: '.google.protobuf.Empty' },
        { name: 'Stream', inputType: '.shop.Order', outputType: '.google.protobuf.Empty', clientStreaming: true },
      ],
    },
  ],
};

const OLD = {
  name: 'old.proto',
  package: 'old',
  messageType: [
    {
      name: 'Item',
      field: fields(`
        id 1 int32 required
        name 2 string
        color 3 .old.Color
        numbers 4 int32 repeated
        colors 5 .old.Color packed
        inner 6 .old.Item
        by_name 7 .old.Item.ByNameEntry repeated
        flag 8 bool
        ratio 9 double`),
      nestedType: [mapEntry('ByNameEntry', 'string', 'int32')],
    },
  ],
  enumType: [
    {
      name: 'Color',
      value: [
        { name: 'RED', number: 1 },
        { name: 'BLUE', number: 2 },
      ],
    },
  ],
};

/** The services and messages of shop.proto (proto3) and old.proto (proto2), without the well-known types. */
export function sampleDescriptorSet(): Uint8Array {
  return descriptors.FileDescriptorSet.encode(descriptors.FileDescriptorSet.fromObject({ file: [SHOP, OLD] })).finish();
}
