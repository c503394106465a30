import { isJsonObject } from '../replay/exact-member.ts';

/** Keys of objects, indexes of arrays, and where texts are taken apart, keys of splitKey(): below them are the pieces. */
export type Path = readonly (string | number)[];

/** In the place of a value: the path is not there. */
export const ABSENT: unique symbol = Symbol('absent');

/** What a generated request is made of. */
export interface Json {
  [key: string]: unknown;
}

const SPLIT = '\u0000split ';

/** As a key: the text as the array of its pieces. */
export function splitKey(separator: string): string {
  return SPLIT + separator;
}

/** Undefined for keys of objects. */
export function separatorOf(key: string | number): string | undefined {
  return typeof key === 'string' && key.startsWith(SPLIT) ? key.slice(SPLIT.length) : undefined;
}

/** As `split` of Rego. */
function piecesOf(text: unknown, separator: string): unknown {
  return typeof text === 'string' ? text.split(separator) : undefined;
}

export function pathKey(path: Path): string {
  return JSON.stringify(path);
}

export function valueAt(value: unknown, path: Path): unknown {
  let found = value;
  for (const key of path) {
    const separator = separatorOf(key);
    if (separator !== undefined) found = piecesOf(found, separator);
    else if (Array.isArray(found) && typeof key === 'number') found = found[key];
    else found = isJsonObject(found) && Object.hasOwn(found, key) ? found[key] : undefined;
  }
  return found;
}

/** A copy with another value at the path; what is in the way of it becomes an object or an array. */
export function withValue(input: unknown, path: Path, value: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  const separator = separatorOf(key);
  if (separator !== undefined) {
    const pieces = withValue(piecesOf(input, separator), rest, value);
    return Array.isArray(pieces) ? pieces.map(String).join(separator) : pieces;
  }
  if (typeof key === 'number') {
    const list: unknown[] = Array.isArray(input) ? [...(input as unknown[])] : [];
    if (rest.length === 0 && value === ABSENT) return list.slice(0, key);
    while (list.length <= key) list.push('a');
    list[key] = withValue(list[key], rest, value);
    return list;
  }
  const object: Json = isJsonObject(input) ? { ...input } : {};
  if (rest.length === 0 && value === ABSENT) delete object[key];
  else if (value !== ABSENT || Object.hasOwn(object, key)) object[key] = withValue(object[key], rest, value);
  return object;
}

/** The paths of everything that is neither an object nor an array, and of those that are empty. */
export function leavesOf(value: unknown, path: Path = []): readonly Path[] {
  if (Array.isArray(value) && value.length > 0) {
    return (value as readonly unknown[]).flatMap((each, index) => leavesOf(each, [...path, index]));
  }
  if (isJsonObject(value) && Object.keys(value).length > 0) {
    return Object.entries(value).flatMap(([key, each]) => leavesOf(each, [...path, key]));
  }
  return [path];
}
