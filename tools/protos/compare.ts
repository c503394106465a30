import protobuf from 'protobufjs';

export interface CompareOptions {
  /** Fields of the reference that we leave out, `message.field`, each with the reason. */
  readonly leftOut: Readonly<Record<string, string>>;
  /** Fields that we have and the reference has not yet, `message.field`, each with its whole description; of a new message `message`. */
  readonly ahead: Readonly<Record<string, string>>;
}

/**
 * Every way in which our messages, enums and services are not those of the reference, one line each. What we do not
 * have at all is no difference; google.protobuf.* is, for both, what protobufjs brings.
 */
export function compareProtos(ours: protobuf.Root, reference: protobuf.Root, options: CompareOptions): string[] {
  const differences: string[] = [];
  const theirs = describeRoot(reference);
  const mine = describeRoot(ours);
  const unused = new Set([...Object.keys(options.leftOut), ...Object.keys(options.ahead)]);
  for (const [name, members] of mine) {
    const expected = theirs.get(name) ?? (name in options.ahead ? NO_MEMBERS : undefined);
    if (expected === undefined) {
      differences.push(`${name}: the reference has no such name`);
      continue;
    }
    for (const member of new Set([...members.keys(), ...expected.keys()])) {
      const key = member === '' ? name : `${name}.${member}`;
      const found = members.get(member) ?? 'absent';
      const wanted = expectedMember(key, expected.get(member), { options, unused });
      if (found !== wanted) differences.push(`${key}: ${found}, the reference has: ${wanted}`);
    }
  }
  for (const key of unused) differences.push(`${key}: listed as an exception, but is none`);
  return differences;
}

function expectedMember(
  key: string,
  reference: string | undefined,
  exceptions: { readonly options: CompareOptions; readonly unused: Set<string> },
): string {
  const { options, unused } = exceptions;
  const ahead = options.ahead[key];
  if (reference === undefined && ahead !== undefined) {
    unused.delete(key);
    return ahead;
  }
  if (reference !== undefined && options.leftOut[key] !== undefined) {
    unused.delete(key);
    return 'absent';
  }
  return reference ?? 'absent';
}

type Members = ReadonlyMap<string, string>;

const NO_MEMBERS: Members = new Map();

/** Full name to members, each as text; the member of the empty name says what kind of thing it is. */
function describeRoot(root: protobuf.Root): Map<string, Members> {
  const described = new Map<string, Members>();
  describeNamespace(root, described);
  return described;
}

function describeNamespace(parent: protobuf.NamespaceBase, described: Map<string, Members>): void {
  for (const child of parent.nestedArray) {
    const name = child.fullName.slice(1);
    if (name === 'google.protobuf') continue;
    const members = membersOf(child);
    if (members !== undefined) described.set(name, members);
    if (child instanceof protobuf.Namespace) describeNamespace(child, described);
  }
}

function membersOf(object: protobuf.ReflectionObject): Members | undefined {
  if (object instanceof protobuf.Enum) {
    const values = Object.entries(object.values).map(([name, id]) => [name, `enum value ${id}`] as const);
    return new Map([['', 'enum'], ...values]);
  }
  if (object instanceof protobuf.Type) {
    return new Map([
      ['', 'message'],
      ...object.fieldsArray.map((field) => [field.name, describeField(field)] as const),
    ]);
  }
  if (object instanceof protobuf.Service) {
    return new Map([
      ['', 'service'],
      ...object.methodsArray.map((method) => [method.name, describeMethod(method)] as const),
    ]);
  }
  return undefined;
}

/** For example `repeated string = 3` or `map<string, .google.protobuf.Struct> = 1` or `oneof type .a.B = 2`. */
function describeField(field: protobuf.Field): string {
  field.resolve();
  const type = field.resolvedType?.fullName ?? field.type;
  const typed = field instanceof protobuf.MapField ? `map<${field.keyType}, ${type}>` : type;
  const label = field.required
    ? 'required '
    : field.repeated
      ? 'repeated '
      : isProto3Optional(field)
        ? 'optional '
        : '';
  const oneof = field.partOf === null || isProto3Optional(field) ? '' : `oneof ${field.partOf.name} `;
  return `${oneof}${label}${typed} = ${field.id}`;
}

function isProto3Optional(field: protobuf.Field): boolean {
  return field.options?.['proto3_optional'] === true;
}

function describeMethod(method: protobuf.Method): string {
  method.resolve();
  const request = `${method.requestStream === true ? 'stream ' : ''}${method.resolvedRequestType?.fullName}`;
  const response = `${method.responseStream === true ? 'stream ' : ''}${method.resolvedResponseType?.fullName}`;
  return `rpc(${request}) returns (${response})`;
}
