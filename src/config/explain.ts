import type { z } from 'zod';
import { fieldAt, walkFields } from './field-walk.ts';
import type { Field } from './fields.ts';
import { formatPath, type DocumentPath, type Mistake } from './mistake.ts';
import { nearestName } from './nearest-name.ts';
import type { YamlTree } from './yaml-tree.ts';

/** Of an address: whoever reads the mistake need not know them. */
const CREDENTIALS = /\/\/[^/\s]*@/;
const MAX_SHOWN_VALUE = 60;

export interface ExplainContext {
  readonly file: string;
  readonly tree: YamlTree;
  readonly schema: Field<unknown>;
}

/** What one issue of the schema check means to the person who wrote the file. */
export function explainIssue(issue: z.core.$ZodIssue, context: ExplainContext): Mistake[] {
  const { file, tree, schema } = context;
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey([...issue.path, key], context));

  const { path } = issue;
  const field = fieldAt(schema, path);
  const expected = `expected ${field?.info?.expected ?? 'another value'}`;
  if (issue.code === 'custom') {
    const message = (issue.params?.['message'] as string | undefined) ?? describe(path, valueAt(tree.value, path));
    const part = issue.params?.['part'] === 'key' ? 'key' : 'value';
    return [{ file, ...tree.placeOf(path, part), message, remedy: issue.message }];
  }
  const place = tree.placeOf(path, 'value');
  const value = valueAt(tree.value, path);
  if (value === undefined) {
    return [{ file, ...place, message: `missing key \`${formatPath(path)}\``, remedy: expected }];
  }
  return [{ file, ...place, message: describe(path, value), remedy: expected }];
}

function unknownKey(path: DocumentPath, { file, tree, schema }: ExplainContext): Mistake {
  const key = String(path.at(-1));
  const siblings = Object.keys(fieldAt(schema, path.slice(0, -1))?.keys ?? {});
  return {
    file,
    ...tree.placeOf(path, 'key'),
    message: `unknown key \`${formatPath(path)}\``,
    remedy: suggest(key, siblings, schema),
  };
}

function suggest(key: string, siblings: readonly string[], schema: Field<unknown>): string {
  const near = nearestName(key, siblings);
  if (near !== undefined) return `did you mean \`${near}\`?`;
  const elsewhere = [...walkFields(schema)].find(([path]) => path.endsWith(`.${key}`));
  if (elsewhere !== undefined) return `did you mean \`${elsewhere[0]}\`?`;
  return `the keys here are ${siblings.map((name) => `\`${name}\``).join(', ')}`;
}

function describe(path: DocumentPath, value: unknown): string {
  if (value === undefined) return `the default of \`${formatPath(path)}\` does not fit`;
  return `${path.length === 0 ? 'the document' : `\`${formatPath(path)}\``} is ${describeValue(value)}`;
}

/** A value of a document as a mistake shows it: short, and never more than 60 characters of a text. */
export function describeValue(value: unknown): string {
  if (value === null) return 'empty';
  if (typeof value === 'string') {
    const shown = value.replace(CREDENTIALS, '//…@');
    return JSON.stringify(shown.length > MAX_SHOWN_VALUE ? `${shown.slice(0, MAX_SHOWN_VALUE)}…` : shown);
  }
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  return typeof value === 'number' ? `the number ${value}` : JSON.stringify(value);
}

/** Undefined only for what is not in the document: an empty value is null. */
function valueAt(root: unknown, path: DocumentPath): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}
