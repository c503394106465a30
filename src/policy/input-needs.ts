/** Keys of objects, and indexes of arrays. */
export type InputPath = readonly (string | number)[];

/**
 * What of the input a policy can look at: all of it, or some keys of an object or indexes of an array, and so on below
 * them. What is left out of the input by it changes no answer.
 */
export type InputNeeds = 'all' | ReadonlyMap<string | number, InputNeeds>;

/** The input document as JSON text in UTF-8, or what makes it from the part that the policy can look at. */
export type PolicyInput = Uint8Array | ((needs: InputNeeds) => Uint8Array);

/** From the paths that the compiler found; null: all of the input. */
export function toInputNeeds(reads: readonly InputPath[] | null): InputNeeds {
  if (reads === null || reads.some((path) => path.length === 0)) return 'all';
  const heads = new Set(reads.map((path) => path[0] ?? ''));
  return new Map(
    [...heads].map((head) => [
      head,
      toInputNeeds(reads.filter((path) => path[0] === head).map((path) => path.slice(1))),
    ]),
  );
}
