import { ABSENT, leavesOf, pathKey, valueAt, withValue, type Path } from './input-path.ts';
import { coherent, isAlwaysThere, PLAIN_REQUEST } from './request-shape.ts';

/** A request that is shown needs no more than this. */
const MAX_ASKED = 200;

/**
 * The request with as much as possible taken away, or made plain, so that it still is what was found. Where a plain request is
 * there has nothing to do with it.
 */
export async function simplest(request: unknown, isStill: (smaller: unknown) => Promise<boolean>): Promise<unknown> {
  let found = request;
  let asked = 0;
  const attempt = async (smaller: unknown): Promise<boolean> => {
    if (smaller === undefined || JSON.stringify(smaller) === JSON.stringify(found) || asked >= MAX_ASKED) return false;
    asked += 1;
    if (!(await isStill(smaller))) return false;
    found = smaller;
    return true;
  };
  for (const path of [...parentsOf(request), ...leavesOf(request)]) {
    const plain = valueAt(PLAIN_REQUEST, path);
    if (plain === undefined && (isAlwaysThere(path) || typeof path.at(-1) === 'number')) continue;
    const value = plain === undefined ? ABSENT : plain;
    await attempt(
      coherent(
        withValue(found, path, value),
        path[0] === 'parsed_path' || path[0] === 'parsed_query' ? 'parsed_path' : 'path',
      ),
    );
  }
  return found;
}

/** What holds something, the largest first: taken away at once it costs one question. */
function parentsOf(request: unknown): readonly Path[] {
  const parents = leavesOf(request).flatMap((path) =>
    path.map((_, length) => path.slice(0, length)).filter(({ length }) => length > 0),
  );
  return [...new Map(parents.map((path) => [pathKey(path), path])).values()].sort(
    (one, other) => one.length - other.length,
  );
}

/** What of a request is not as in a plain one. */
export function tellingParts(request: unknown): Readonly<Record<string, unknown>> {
  const parts = leavesOf(request)
    .filter((path) => JSON.stringify(valueAt(request, path)) !== JSON.stringify(valueAt(PLAIN_REQUEST, path)))
    .map((path) => [path.join('.'), valueAt(request, path)] as const);
  const missing = leavesOf(PLAIN_REQUEST)
    // Why somebody is not known follows from that nobody is.
    .filter((path) => path.at(-1) !== 'reason')
    .filter((path) => valueAt(request, path) === undefined && valueAt(request, path.slice(0, -1)) !== undefined)
    .map((path) => [path.join('.'), null] as const);
  return Object.fromEntries([...parts, ...missing]);
}
