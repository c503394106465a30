import { PLAIN_CASE, type Case } from './case.ts';
import { askAgain, type Failure } from './hunt.ts';
import { changeTo, FIRST_MOMENT } from './timeline.ts';
import type { World } from './world.ts';

/**
 * Asks the case of a failure again and again at its moment, where nothing else happens, each time with less in it, and gives
 * the least that still fails. Undefined when it does not fail there: then what happened meanwhile is part of it.
 */
export async function shrink(failure: Failure, world: World): Promise<Failure | undefined> {
  await world.change(changeTo(failure.at ?? FIRST_MOMENT));
  let least = await askAgain(failure.drawn, world);
  while (least !== undefined) {
    const less = await firstThatFails(smaller(least.drawn), world);
    if (less === undefined) return least;
    least = less;
  }
  return undefined;
}

async function firstThatFails(cases: Iterable<Case>, world: World): Promise<Failure | undefined> {
  for (const drawn of cases) {
    const failure = await askAgain(drawn, world);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

/** Each with one thing less, or back to what is plain. */
function* smaller(drawn: Case): Generator<Case> {
  const { wire, headers, extensions, cancelMs, ...fixed } = drawn;
  if (cancelMs !== undefined) yield { ...fixed, wire, headers, extensions };
  for (const key of Object.keys(fixed) as (keyof typeof fixed)[]) {
    if (drawn[key] !== PLAIN_CASE[key]) yield { ...drawn, [key]: PLAIN_CASE[key] };
  }
  if (wire.kind !== 'plain') yield { ...drawn, wire: PLAIN_CASE.wire };
  if (wire.kind === 'mutated' && wire.edits.length > 1) {
    for (const index of wire.edits.keys()) yield { ...drawn, wire: { ...wire, edits: wire.edits.toSpliced(index, 1) } };
  }
  for (const index of headers.keys()) yield { ...drawn, headers: headers.toSpliced(index, 1) };
  for (const index of extensions.keys()) yield { ...drawn, extensions: extensions.toSpliced(index, 1) };
}
