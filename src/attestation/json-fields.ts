/** Reads JSON that others wrote: what is missing or of another type is undefined or empty, and nothing else is looked at. */

export function objectAt(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[key];
}

export function textAt(value: unknown, key: string): string {
  const found = objectAt(value, key);
  return typeof found === 'string' ? found : '';
}

export function listAt(value: unknown, key: string): readonly unknown[] {
  const found = objectAt(value, key);
  return Array.isArray(found) ? found : [];
}

/** The members whose values are texts. */
export function textsAt(value: unknown, key: string): readonly (readonly [name: string, text: string])[] {
  const found = objectAt(value, key);
  if (typeof found !== 'object' || found === null || Array.isArray(found)) return [];
  return Object.entries(found).flatMap(([name, text]) => (typeof text === 'string' ? [[name, text] as const] : []));
}
