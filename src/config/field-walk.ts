import { z } from 'zod';
import { infoOf, type Field, type FieldInfo } from './fields.ts';
import type { DocumentPath } from './mistake.ts';

/** A field with its wrappers taken off. */
export interface BareField {
  readonly info: FieldInfo | undefined;
  /** Of a section: its keys. */
  readonly keys: Readonly<Record<string, Field<unknown>>> | undefined;
  /** Of a list or of a mapping by names: what it holds. */
  readonly element: { readonly kind: 'list' | 'names'; readonly field: Field<unknown> } | undefined;
  readonly isOptional: boolean;
}

/** Looks through default, optional and transform. */
export function bareField(field: Field<unknown>): BareField {
  let inner: unknown = field;
  let info: FieldInfo | undefined;
  let isOptional = false;
  for (;;) {
    info ??= infoOf(inner as Field<unknown>);
    if (inner instanceof z.ZodOptional) isOptional = true;
    if (inner instanceof z.ZodOptional || inner instanceof z.ZodPrefault) inner = inner.def.innerType;
    else if (inner instanceof z.ZodPipe) inner = inner.def.in;
    else break;
  }
  const keys = inner instanceof z.ZodObject ? (inner.shape as Record<string, Field<unknown>>) : undefined;
  return { info, keys, element: elementOf(inner), isOptional };
}

/** The field that rules the value at this path, if the schema knows the path. */
export function fieldAt(root: Field<unknown>, path: DocumentPath): BareField | undefined {
  let field: Field<unknown> | undefined = root;
  for (const step of path) {
    const bare = bareField(field);
    const next: Field<unknown> | undefined =
      bare.element?.field ??
      (bare.keys !== undefined && Object.hasOwn(bare.keys, step) ? bare.keys[String(step)] : undefined);
    if (next === undefined) return undefined;
    field = next;
  }
  return bareField(field);
}

/** Every key below this field with its path, in the order of the schema; `NAME` stands for any name, `[]` for any index. */
export function* walkFields(root: Field<unknown>, prefix = ''): Generator<readonly [string, BareField]> {
  const { keys, element } = bareField(root);
  for (const [key, field] of Object.entries(keys ?? {})) {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    yield [path, bareField(field)];
    yield* walkFields(field, path);
  }
  if (element !== undefined) yield* walkFields(element.field, `${prefix}${element.kind === 'list' ? '[]' : '.NAME'}`);
}

function elementOf(inner: unknown): BareField['element'] {
  if (inner instanceof z.ZodArray) return { kind: 'list', field: inner.element as Field<unknown> };
  if (inner instanceof z.ZodRecord) return { kind: 'names', field: inner.valueType as Field<unknown> };
  return undefined;
}
