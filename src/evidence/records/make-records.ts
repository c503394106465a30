import { expandOffloaded } from '../offloaded/expand-offloaded.ts';
import type { DecisionFacts } from './decision-facts.ts';
import type { DecisionRecord, RecordedPaths } from './decision-record.ts';
import type { RecordMaker } from './make-record.ts';
import type { SentFacts } from './record-protocol.ts';

export interface MakeRecordsOptions {
  readonly make: RecordMaker;
  readonly paths: ReadonlyMap<number, RecordedPaths>;
  /** The record of one decision could not be made. */
  readonly onFault: (error: unknown) => void;
}

/** Of one decision. */
export interface RecordInMaking {
  readonly record: DecisionRecord;
  /** Number of the log rules that it has to pass. */
  readonly rules?: number;
}

/** The records. One that cannot be made takes no other with it. */
export function makeRecords(
  sent: readonly SentFacts[],
  inputs: Uint8Array,
  { make, paths, onFault }: MakeRecordsOptions,
): { readonly records: readonly RecordInMaking[]; readonly failed: number } {
  const records: RecordInMaking[] = [];
  let at = 0;
  for (const { evaluated, ...facts } of sent) {
    const end = at + (evaluated?.inputBytes ?? 0);
    const input = evaluated === undefined ? undefined : inputs.subarray(at, end);
    at = end;
    try {
      const recorded = evaluated === undefined ? undefined : paths.get(evaluated.recorded);
      const whole = evaluated === undefined || recorded === undefined ? {} : { evaluated: { ...evaluated, recorded } };
      const record = makeOne({ ...facts, ...whole }, input, make);
      records.push({ record, ...(evaluated?.rules === undefined ? {} : { rules: evaluated.rules }) });
    } catch (error) {
      onFault(error);
    }
  }
  return { records, failed: sent.length - records.length };
}

/** Of what Envoy answered by itself, the input is its entry in the access log. */
function makeOne(facts: DecisionFacts, input: Uint8Array | undefined, make: RecordMaker): DecisionRecord {
  const { offloaded } = facts;
  if (offloaded === undefined) return make(facts, input);
  const expanded = expandOffloaded({ ...facts, offloaded }, input ?? new Uint8Array());
  return make(expanded.facts, expanded.input);
}
