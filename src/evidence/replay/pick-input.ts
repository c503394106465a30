import type { InputNeeds } from '../../policy/index.ts';
import { isJsonObject } from './exact-member.ts';

/**
 * What a policy can look at in an input, as the gate gives it; keys stand in the order of the needs, so that inputs which are
 * the same to the policy are the same text.
 */
export function pickInput(value: unknown, needs: InputNeeds): unknown {
  if (needs === 'all') return value;
  if (Array.isArray(value)) return pickElements(value, needs);
  if (!isJsonObject(value)) return value;
  const picked = Object.create(null) as Record<string, unknown>;
  for (const [key, below] of needs) {
    if (typeof key === 'string' && Object.hasOwn(value, key)) picked[key] = pickInput(value[key], below);
  }
  return picked;
}

/** Each at its place. */
function pickElements(values: readonly unknown[], needs: ReadonlyMap<string | number, InputNeeds>): unknown {
  const picked: unknown[] = [];
  for (const [index, below] of needs) {
    if (typeof index !== 'number' || index >= values.length) continue;
    while (picked.length <= index) picked.push(null);
    picked[index] = pickInput(values[index], below) ?? null;
  }
  return picked;
}
