import type { InputNeeds } from '../../policy/index.ts';
import type { DecisionRecord } from '../records/decision-record.ts';
import { missingPaths } from '../records/recorded-paths.ts';
import { exactMember } from './exact-member.ts';
import { pickInput } from './pick-input.ts';

/** What can be asked of a policy again. */
export type RecordedQuestion =
  | { readonly kind: 'whole'; /** JSON text of what the policy can look at. */ readonly input: string }
  /** Some of what the policy can look at is not here: JSON pointers, or a word that says why. */
  | { readonly kind: 'cut'; readonly missing: readonly string[] };

/** Of one record only so many reasons are counted. */
const MAX_MISSING = 8;

/** Whether the record has all that a policy with these needs can look at, and never an input of which something was cut off. */
export function recordedQuestion(record: DecisionRecord, needs: InputNeeds): RecordedQuestion {
  const { recorded, replayable, unreplayable = [] } = record.svidgate;
  const missing = [
    ...(recorded === undefined ? ['unknown what was recorded'] : missingPaths(needs, recorded).map(pointerOf)),
    ...removedPaths(record)
      .filter(({ path }) => touches(path, needs))
      .map(({ pointer }) => pointer),
  ];
  // What is not in the input, such as an answer of the network that was too large to keep.
  if (!replayable && unreplayable.length === 0) missing.push('not replayable');
  if (record.input === undefined && (needs === 'all' || needs.size > 0)) missing.push('/input');
  if (missing.length > 0) return { kind: 'cut', missing: [...new Set(missing)].slice(0, MAX_MISSING) };
  return { kind: 'whole', input: JSON.stringify(pickInput(exactMember(record, 'input') ?? {}, needs)) };
}

interface RemovedPath {
  readonly pointer: string;
  /** Below the input; undefined for answers of builtins. */
  readonly path: readonly string[] | undefined;
}

/** Removed or replaced: in the input, or in what builtins answered. */
function removedPaths({ erased = [], masked = [], svidgate }: DecisionRecord): readonly RemovedPath[] {
  return [...new Set([...erased, ...masked, ...(svidgate.unreplayable ?? [])])].flatMap((pointer) => {
    const [, root, ...path] = pointer.split('/').map(unescapePointer);
    if (root === 'result') return [];
    return [{ pointer, path: root === 'input' ? path : undefined }];
  });
}

/** Whether a policy with these needs could see what stands at or below the path. */
function touches(path: readonly string[] | undefined, needs: InputNeeds): boolean {
  if (path === undefined) return true;
  let left: InputNeeds = needs;
  for (const key of path) {
    if (left === 'all') return true;
    // A pointer does not tell indexes from keys.
    const below: InputNeeds | undefined = left.get(key) ?? (/^\d+$/.test(key) ? left.get(Number(key)) : undefined);
    if (below === undefined) return false;
    left = below;
  }
  return left === 'all' || left.size > 0;
}

function pointerOf(path: readonly (string | number)[]): string {
  return ['/input', ...path.map((key) => String(key).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/');
}

function unescapePointer(segment: string): string {
  return segment.replaceAll('~1', '/').replaceAll('~0', '~');
}
