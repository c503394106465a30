import { ABSENT, pathKey, separatorOf, valueAt, withValue, type Path } from './input-path.ts';
import type { Random } from './random.ts';
import { coherent, impliedBy, isAlwaysThere, PLAIN_REQUEST, type Leading } from './request-shape.ts';
import type { Wish } from './wishes.ts';

export interface CandidateSources {
  /** What each way to allow asks for, the most promising first. */
  readonly conjunctions: readonly (readonly Wish[])[];
  /** Everything that the policies can look at, as far as that is known. */
  readonly places: readonly Path[];
  /** Requests to begin with, such as recorded ones. */
  readonly inputs: readonly unknown[];
  /** Texts and numbers that the policies name. */
  readonly constants: readonly unknown[];
  readonly random: Random;
}

/** Values tried of one place, in a request that a conjunction allows. */
const MAX_VALUES = 12;
/** Requests that are kept to be changed further. */
const MAX_BASES = 2000;
const MAX_CHANGES = 4;

/**
 * Requests that may tell two policies apart, without end: such as satisfy a conjunction, those that almost do, and then what
 * comes of changing them at random. Every one is such as the gate could show.
 */
export function* candidates(sources: CandidateSources): Generator<unknown> {
  const { conjunctions, inputs } = sources;
  const bases: unknown[] = [PLAIN_REQUEST, ...inputs];
  yield* bases;
  for (const wishes of conjunctions) {
    for (const base of solutions(wishes, sources)) {
      if (bases.length < MAX_BASES) bases.push(base);
      yield base;
      yield* neighbours(base, wishes);
    }
  }
  const { vocabulary } = new Vocabulary(sources);
  for (const input of [PLAIN_REQUEST, ...inputs.slice(0, 200)]) yield* neighbours(input, vocabulary);
  yield* wander(bases, vocabulary, sources.random);
}

/** Some requests for which all wishes should be fulfilled. */
function* solutions(wishes: readonly Wish[], { inputs, random }: CandidateSources): Generator<unknown> {
  const places = [...Map.groupBy(wishes, ({ path }) => pathKey(path)).values()].sort(
    (one, other) => (one[0]?.path.length ?? 0) - (other[0]?.path.length ?? 0),
  );
  const leadings = leadingsOf(wishes);
  const starts = [PLAIN_REQUEST, ...(inputs.length === 0 ? [] : [random.pick(inputs)])];
  for (let round = 0; round < 3; round += 1) {
    for (const start of starts) {
      let input: unknown = start;
      for (const place of places) {
        const value = fulfilling(place)[round === 0 ? 0 : random.below(4)] ?? fulfilling(place)[0];
        const [first] = place;
        if (first !== undefined && value !== undefined) input = change(input, first.path, value);
      }
      for (const leading of leadings) {
        const found = coherent(input, leading);
        if (found !== undefined) yield found;
      }
    }
  }
}

function leadingsOf(wishes: readonly Wish[]): readonly Leading[] {
  const hasSegments = wishes.some(({ path: [root] }) => root === 'parsed_path' || root === 'parsed_query');
  const hasPath = wishes.some(({ path }) => path[3] === 'path');
  if (!hasSegments) return ['path'];
  return hasPath ? ['parsed_path', 'path'] : ['parsed_path'];
}

/** Values of one place, those first that most wishes have and none refuses. */
function fulfilling(place: readonly Wish[]): readonly unknown[] {
  const values = new Map<string, unknown>();
  const add = (value: unknown): void => void values.set(textOf(value), value);
  for (const { holds } of place) holds.slice(0, MAX_VALUES).forEach(add);
  // A beginning and an end.
  const texts = place
    .map(({ holds }) => holds.find((value) => typeof value === 'string'))
    .filter((text) => text !== undefined);
  for (const one of texts) for (const other of texts) if (one !== other) add(`${one}${other}`);
  const score = (value: unknown): number => {
    const text = textOf(value);
    const has = (all: readonly unknown[]): boolean => all.some((each) => textOf(each) === text);
    return place.reduce((sum, { holds, fails }) => sum + (has(holds) ? 2 : 0) - (has(fails) ? 3 : 0), 0);
  };
  const [first] = place;
  const isPiece = separatorOf(first?.path.at(-2) ?? '') !== undefined;
  return [...values.values()]
    .filter((value) => !isPiece || typeof value === 'string' || value === ABSENT)
    .map((value) => ({ value, score: score(value) }))
    .sort((one, other) => other.score - one.score)
    .map(({ value }) => value);
}

function textOf(value: unknown): string {
  return value === ABSENT ? 'absent' : JSON.stringify(value);
}

/** The request with one place changed. */
function* neighbours(base: unknown, wishes: readonly Wish[]): Generator<unknown> {
  for (const { path, holds, fails } of wishes) {
    const before = valueAt(base, path);
    for (const value of [...fails, ...holds].slice(0, 2 * MAX_VALUES)) {
      const values = Array.isArray(value) && Array.isArray(before) ? [value, laidOver(value, before)] : [value];
      for (const each of values) {
        const changed = changeOne(base, path, each);
        if (changed !== undefined) yield changed;
      }
    }
  }
}

/** So long, with what was there before. */
function laidOver(value: readonly unknown[], before: readonly unknown[]): readonly unknown[] {
  return value.map((each, index) => (index < before.length ? before[index] : each));
}

function changeOne(base: unknown, path: Path, value: unknown): unknown {
  const [root] = path;
  return coherent(
    change(base, path, value),
    root === 'parsed_path' || root === 'parsed_query' ? 'parsed_path' : 'path',
  );
}

function change(input: unknown, path: Path, value: unknown): unknown {
  if (value === ABSENT && isAlwaysThere(path)) return input;
  const before = impliedBy(path, value).reduce((each, [where, what]) => withValue(each, where, what), input);
  return withValue(before, path, value);
}

/** All values that any condition asks for at a place, and the constants of the policies at places that hold texts. */
class Vocabulary {
  readonly vocabulary: readonly Wish[];

  constructor({ conjunctions, constants, places }: CandidateSources) {
    const seen = places.map((path): Wish => ({ path, holds: [true, false], fails: [] }));
    const byPlace = Map.groupBy([...conjunctions.flat(), ...seen], ({ path }) => pathKey(path));
    this.vocabulary = [...byPlace.values()].map((wishes) => {
      const values = new Map<string, unknown>();
      for (const { holds, fails } of wishes) {
        for (const value of [...holds, ...fails]) if (values.size < 200) values.set(textOf(value), value);
      }
      return { path: wishes[0]?.path ?? [], holds: [...values.values(), ...constants.slice(0, 100)], fails: [ABSENT] };
    });
  }
}

/** Changes at random, without end. */
function* wander(bases: readonly unknown[], vocabulary: readonly Wish[], random: Random): Generator<unknown> {
  if (vocabulary.length === 0) return;
  for (;;) {
    let input = random.pick(bases);
    let leading: Leading = 'path';
    for (let count = 1 + random.below(MAX_CHANGES); count > 0; count -= 1) {
      const { path, holds } = random.pick(vocabulary);
      const value = random.below(8) === 0 || holds.length === 0 ? ABSENT : random.pick(holds);
      input = change(input, path, value);
      if (path[0] === 'parsed_path' || path[0] === 'parsed_query') leading = 'parsed_path';
      if (path[3] === 'path') leading = 'path';
    }
    const found = coherent(input, leading);
    if (found !== undefined) yield found;
  }
}
