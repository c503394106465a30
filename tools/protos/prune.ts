import protobuf from 'protobufjs';

/** Adds to `reached` what messages refer to, themselves included. */
function reach(type: protobuf.Type | protobuf.Enum, reached: Set<protobuf.ReflectionObject>): void {
  if (reached.has(type)) return;
  reached.add(type);
  if (type instanceof protobuf.Enum) return;
  for (const field of type.fieldsArray) if (field.resolvedType !== null) reach(field.resolvedType, reached);
}

/**
 * A new Root with only what the named messages need, without services and options. Each type keeps its full name.
 * pbjs has switches for this, but --sparse leaves references to what it removed, and --filter knows one package level.
 */
export function pruneRoot(root: protobuf.Root, messageNames: readonly string[]): protobuf.Root {
  const reached = new Set<protobuf.ReflectionObject>();
  for (const name of messageNames) reach(root.lookupType(name), reached);
  const pruned = protobuf.Root.fromJSON({ nested: prunedNested(root, reached) });
  pruned.resolveAll();
  return pruned;
}

function prunedNested(
  parent: protobuf.NamespaceBase,
  reached: ReadonlySet<protobuf.ReflectionObject>,
): Record<string, protobuf.AnyNestedObject> {
  const kept: Record<string, protobuf.AnyNestedObject> = {};
  for (const child of parent.nestedArray.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (child instanceof protobuf.Enum) {
      if (reached.has(child)) kept[child.name] = { values: child.values, comments: child.comments } as protobuf.IEnum;
    } else if (child instanceof protobuf.Type) {
      if (reached.has(child)) kept[child.name] = prunedType(child, reached);
    } else if (child instanceof protobuf.Namespace && !(child instanceof protobuf.Service)) {
      const nested = prunedNested(child, reached);
      if (Object.keys(nested).length > 0) kept[child.name] = { nested };
    }
  }
  return kept;
}

function prunedType(type: protobuf.Type, reached: ReadonlySet<protobuf.ReflectionObject>): protobuf.IType {
  const json = type.toJSON({ keepComments: true });
  delete json.options;
  for (const field of type.fieldsArray) {
    const fieldJson: protobuf.IField & { type: string } = json.fields[field.name] as protobuf.IField;
    delete fieldJson.options;
    // A full name means the same type wherever it is looked up from.
    if (field.resolvedType !== null) fieldJson.type = field.resolvedType.fullName;
  }
  return { ...json, nested: prunedNested(type, reached) };
}
