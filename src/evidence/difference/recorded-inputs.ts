import type { DecisionRecord } from '../records/decision-record.ts';
import { isJsonObject } from '../replay/exact-member.ts';
import { coherent, PLAIN_REQUEST } from './request-shape.ts';
import { createRandom } from './random.ts';

const MAX_INPUTS = 500;

/**
 * Recorded inputs as requests to begin with: what was not recorded is as in a plain request. An even choice among those that
 * differ, whatever their number; the same for the same seed.
 */
export async function recordedInputs(
  records: AsyncIterable<DecisionRecord>,
  { policy, seed = 1 }: { readonly policy?: string | undefined; readonly seed?: number },
): Promise<readonly unknown[]> {
  const random = createRandom(seed);
  const seen = new Set<string>();
  const kept: unknown[] = [];
  for await (const { input, svidgate } of records) {
    if (input === undefined || svidgate.caller === 'anonymous') continue;
    if (policy !== undefined && svidgate.policy !== policy) continue;
    const text = JSON.stringify(input);
    if (seen.has(text)) continue;
    seen.add(text);
    const request = coherent(filledUp(PLAIN_REQUEST, input), leadingOf(input));
    if (request === undefined) continue;
    if (kept.length < MAX_INPUTS) kept.push(request);
    else if (random.below(seen.size) < MAX_INPUTS) kept[random.below(MAX_INPUTS)] = request;
    if (seen.size > 100_000) seen.clear();
  }
  return kept;
}

function leadingOf(input: unknown): 'path' | 'parsed_path' {
  return JSON.stringify(input).includes('"path":') ? 'path' : 'parsed_path';
}

/** What the one has not is taken from the other. */
function filledUp(plain: unknown, value: unknown): unknown {
  if (!isJsonObject(plain) || !isJsonObject(value)) return value ?? plain;
  const names = new Set([...Object.keys(plain), ...Object.keys(value)]);
  return Object.fromEntries([...names].map((name) => [name, filledUp(plain[name], value[name])]));
}
