import type { InputNeeds } from '../../policy/index.ts';
import type { RecordedPaths } from './decision-record.ts';

/** What a record says about which part of the input it holds. */
export function recordedPaths(needs: InputNeeds): RecordedPaths {
  return needs === 'all' ? 'all' : [...pathsIn(needs)];
}

/** Whether everything that is needed is among what was recorded. */
export function isRecorded(needs: InputNeeds, recorded: RecordedPaths): boolean {
  return missingPaths(needs, recorded).length === 0;
}

/** The paths that are needed and were not recorded; one that is empty stands for the whole input. */
export function missingPaths(needs: InputNeeds, recorded: RecordedPaths): readonly (readonly (string | number)[])[] {
  if (recorded === 'all') return [];
  const paths = needs === 'all' ? [[]] : [...pathsIn(needs)];
  return paths.filter((path) => !recorded.some((known) => startsWith(path, known)));
}

function* pathsIn(needs: ReadonlyMap<string | number, InputNeeds>): Generator<readonly (string | number)[]> {
  for (const [key, below] of needs) {
    if (below === 'all') yield [key];
    else for (const path of pathsIn(below)) yield [key, ...path];
  }
}

function startsWith(path: readonly (string | number)[], start: readonly (string | number)[]): boolean {
  return start.length <= path.length && start.every((key, index) => key === path[index]);
}
