import type { NdBuiltinCache } from '../../policy/index.ts';
import type { DecisionRecord, JsonRecord } from '../records/decision-record.ts';
import { exactMember, isJsonObject } from './exact-member.ts';

/** What builtins answered then; empty where none was asked: then none may be. */
export function recordedNd(record: DecisionRecord): NdBuiltinCache {
  return Object.fromEntries(
    Object.entries(exactMember(record, 'nd_builtin_cache') ?? {})
      .filter(([, calls]) => isJsonObject(calls))
      .map(([name, calls]) => [
        name,
        Object.fromEntries(Object.entries(calls as JsonRecord).map(([call, answer]) => [call, JSON.stringify(answer)])),
      ]),
  );
}
