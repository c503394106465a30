/** Makes a value of a checked type of parsed JSON, or throws a TypeError that names what is wrong. */
export type Reader<T> = (value: unknown) => T;

/** One reader for each field, so that a field which is added to the type cannot be forgotten here. */
export type FieldReaders<T> = { readonly [Name in keyof T]-?: Reader<Exclude<T[Name], undefined>> };

export const readText: Reader<string> = (value) => {
  if (typeof value !== 'string') throw new TypeError('a text is expected');
  return value;
};

export const readInteger: Reader<number> = (value) => {
  if (!Number.isSafeInteger(value)) throw new TypeError('a whole number is expected');
  return value as number;
};

export const readBoolean: Reader<boolean> = (value) => {
  if (typeof value !== 'boolean') throw new TypeError('true or false is expected');
  return value;
};

/** Bytes in base64, in the one form that encodeBytes gives. */
export const readBytes: Reader<Uint8Array> = (value) => {
  const text = readText(value);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new TypeError('base64 is expected');
  return new Uint8Array(bytes);
};

export function encodeBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

export function oneOf<T extends string>(values: readonly T[]): Reader<T> {
  return (value) => {
    const found = values.find((known) => known === value);
    if (found === undefined) throw new TypeError(`one of ${values.join(', ')} is expected`);
    return found;
  };
}

export function listOf<T>(readItem: Reader<T>): Reader<readonly T[]> {
  return (value) => {
    if (!Array.isArray(value)) throw new TypeError('a list is expected');
    return value.map(readItem);
  };
}

/**
 * An object with these fields. An unknown field is an error, not dropped: it may be what makes the record narrower, such
 * as an expiry that a newer svidgate wrote.
 */
export function objectOf<T extends object>(readers: FieldReaders<T>, optional: readonly OptionalKeys<T>[]): Reader<T> {
  const names = Object.keys(readers) as (keyof T & string)[];
  const required = names.filter((name) => !(optional as readonly string[]).includes(name));
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new TypeError('an object is expected');
    const fields = value as Readonly<Record<string, unknown>>;
    const result: Partial<Record<keyof T, unknown>> = {};
    for (const [name, content] of Object.entries(fields)) {
      if (content === undefined) continue; // JSON leaves it out, too
      if (!Object.hasOwn(readers, name)) throw new TypeError(`field ${JSON.stringify(name.slice(0, 64))} is not known`);
      result[name as keyof T] = readField(readers[name as keyof T], name, content);
    }
    for (const name of required) if (!Object.hasOwn(fields, name)) throw new TypeError(`${name} is missing`);
    return result as T;
  };
}

type OptionalKeys<T> = { [Name in keyof T]-?: object extends Pick<T, Name> ? Name : never }[keyof T] & string;

function readField<T>(reader: Reader<T>, name: string, value: unknown): T {
  try {
    return reader(value);
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'it is wrong';
    throw new TypeError(`${name}: ${reason}`, { cause: error });
  }
}
