import type { RecordedPaths } from './decision-record.ts';
import type { RecordMaker } from './make-record.ts';
import type { SentFacts } from './record-protocol.ts';

export interface RecordLinesOptions {
  readonly make: RecordMaker;
  readonly paths: ReadonlyMap<number, RecordedPaths>;
  /** The record of one decision could not be made. */
  readonly onFault: (error: unknown) => void;
}

/** The records as lines. One that cannot be made takes no other with it. */
export function recordLines(
  sent: readonly SentFacts[],
  inputs: Uint8Array,
  { make, paths, onFault }: RecordLinesOptions,
): { readonly lines: readonly string[]; readonly failed: number } {
  const lines: string[] = [];
  let at = 0;
  for (const { evaluated, ...facts } of sent) {
    const end = at + (evaluated?.inputBytes ?? 0);
    const input = evaluated === undefined ? undefined : inputs.subarray(at, end);
    at = end;
    try {
      const recorded = evaluated === undefined ? undefined : paths.get(evaluated.recorded);
      const whole = evaluated === undefined || recorded === undefined ? {} : { evaluated: { ...evaluated, recorded } };
      lines.push(JSON.stringify(make({ ...facts, ...whole }, input)));
    } catch (error) {
      onFault(error);
    }
  }
  return { lines, failed: sent.length - lines.length };
}
