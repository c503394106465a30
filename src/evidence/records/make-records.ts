import { expandOffloaded } from '../offloaded/expand-offloaded.ts';
import type { DecisionRecord } from './decision-record.ts';
import type { KnownOnce } from './known-once.ts';
import type { RecordMaker } from './make-record.ts';
import type { SentFacts, SentLogged } from './record-protocol.ts';

export interface MakeRecordsOptions {
  readonly make: RecordMaker;
  readonly known: KnownOnce;
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
  sent: readonly (SentFacts | SentLogged)[],
  inputs: Uint8Array,
  options: MakeRecordsOptions,
): { readonly records: readonly RecordInMaking[]; readonly failed: number } {
  const records: RecordInMaking[] = [];
  let at = 0;
  for (const each of sent) {
    const end = at + (isLogged(each) ? each[4] : (each.evaluated?.inputBytes ?? 0));
    const input = inputs.subarray(at, end);
    at = end;
    try {
      records.push(isLogged(each) ? ofLogged(each, input, options) : ofCheck(each, input, options));
    } catch (error) {
      options.onFault(error);
    }
  }
  return { records, failed: sent.length - records.length };
}

function isLogged(sent: SentFacts | SentLogged): sent is SentLogged {
  return Array.isArray(sent);
}

function ofCheck(
  { evaluated, ...facts }: SentFacts,
  input: Uint8Array,
  { make, known }: MakeRecordsOptions,
): RecordInMaking {
  if (evaluated === undefined) return { record: make(facts) };
  const { rules } = evaluated;
  const recorded = known.paths(evaluated.recorded);
  const whole = recorded === undefined ? {} : { evaluated: { ...evaluated, recorded } };
  return { record: make({ ...facts, ...whole }, input), ...(rules === undefined ? {} : { rules }) };
}

/** Of what Envoy answered by itself, the input is its entry in the access log. */
function ofLogged(
  [decisionId, requestNumber, at, number]: SentLogged,
  entry: Uint8Array,
  { make, known }: MakeRecordsOptions,
): RecordInMaking {
  const common = known.common(number);
  if (common === undefined) throw new Error('what a decision has in common with others is not known');
  const { facts, input } = expandOffloaded({ ...common.facts, decisionId, requestNumber, at }, entry);
  const { rules } = common;
  return { record: make(facts, input), ...(rules === undefined ? {} : { rules }) };
}
