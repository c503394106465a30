import type { NdBuiltinCache } from '../../policy/index.ts';
import { recordedText } from '../log/recorded-text.ts';
import type { DecisionRecord, JsonRecord } from '../records/decision-record.ts';
import { exactMember, isJsonObject } from './exact-member.ts';

/** What a recorded decision was made of, as far as the record has it. */
export interface RecordedEvaluation {
  /** JSON text, with the digits of its numbers. */
  readonly input: string;
  readonly nd: NdBuiltinCache;
  /** When it was made, in nanoseconds since 1970. */
  readonly nowNs: bigint;
  /** JSON pointers below the input to what is not the real value, or not there. */
  readonly masked: readonly string[];
}

/** Undefined for a record without an input. */
export function recordedEvaluation(record: DecisionRecord): RecordedEvaluation | undefined {
  const input = recordedText(record, 'input');
  if (input === undefined) return undefined;
  const nd = recordedAnswers(record);
  const pointers = [...(record.masked ?? []), ...(record.erased ?? [])];
  return {
    input,
    nd,
    nowNs: timeOf(nd, record.timestamp),
    masked: pointers
      .filter((pointer) => pointer.startsWith('/input/'))
      .map((pointer) => pointer.slice('/input'.length)),
  };
}

function recordedAnswers(record: DecisionRecord): NdBuiltinCache {
  return Object.fromEntries(
    Object.entries(exactMember(record, 'nd_builtin_cache') ?? {})
      .filter(([, calls]) => isJsonObject(calls))
      .map(([name, calls]) => [
        name,
        Object.fromEntries(Object.entries(calls as JsonRecord).map(([call, answer]) => [call, JSON.stringify(answer)])),
      ]),
  );
}

const NS_PER_MS = 1_000_000n;

/** What the policy saw as the time, if it asked. */
function timeOf(nd: NdBuiltinCache, timestamp: string): bigint {
  const asked = nd['time.now_ns']?.['[]'];
  if (asked !== undefined && /^-?\d{1,19}$/.test(asked)) return BigInt(asked);
  const ms = Date.parse(timestamp);
  return Number.isNaN(ms) ? 0n : BigInt(ms) * NS_PER_MS;
}
