import type { Term } from '../../policy/index.ts';

/** The value of a term without variables; undefined for others. Sets are arrays. */
export function constantOf(term: Term): unknown {
  if ('value' in term) return term.value;
  const list = term.array ?? term.set;
  if (list !== undefined) {
    const values = list.map(constantOf);
    return values.includes(undefined) ? undefined : values;
  }
  if (term.object !== undefined) {
    const entries = term.object.map(([key, value]) => [constantOf(key), constantOf(value)] as const);
    return entries.some((entry) => entry.includes(undefined))
      ? undefined
      : Object.fromEntries(entries.map(([key, value]) => [String(key), value]));
  }
  if (term.kind === 'array' || term.kind === 'set') return [];
  return term.kind === 'object' ? {} : undefined;
}
