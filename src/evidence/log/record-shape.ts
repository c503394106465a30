import type { DecisionRecord } from '../records/decision-record.ts';
import { isObject } from './log-line.ts';
import { recordOfOpa } from './opa-record.ts';

type Json = Readonly<Record<string, unknown>>;
type Test = (value: unknown) => boolean;

const OUTCOMES = new Set<unknown>(['allow', 'unenforced', 'dry_run', 'deny', 'failure']);
const CALLERS = new Set<unknown>(['anonymous', 'attested', 'tls', 'unknown']);

const isText: Test = (value) => typeof value === 'string';
const isFlag: Test = (value) => typeof value === 'boolean';
const isNumber: Test = (value) => typeof value === 'number' && Number.isFinite(value);
const isTexts: Test = (value) => Array.isArray(value) && value.every(isText);
const isTextMap: Test = (value) => isObject(value) && Object.values(value).every(isText);
const isMapOfObjects: Test = (value) => isObject(value) && Object.values(value).every(isObject);
const isMessage: Test = (value) => isObject(value) && isText(value['message']);
const isTime: Test = (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value));
const isPeer: Test = (value) => isObject(value) && isText(value['spiffe_id']) && isText(value['serial']);
const isTokens: Test = (value) => Array.isArray(value) && value.every(isToken);
const isRules: Test = (value) => Array.isArray(value) && value.every(isRule);
const isPaths: Test = (value) =>
  value === 'all' ||
  (Array.isArray(value) &&
    value.every((path) => Array.isArray(path) && path.every((key) => isText(key) || isNumber(key))));

const RECORD: Readonly<Record<keyof DecisionRecord, readonly [Test, 'required' | 'optional']>> = {
  labels: [isTextMap, 'required'],
  decision_id: [isText, 'required'],
  trace_id: [isText, 'optional'],
  span_id: [isText, 'optional'],
  bundles: [isMapOfObjects, 'optional'],
  path: [isText, 'optional'],
  input: [isObject, 'optional'],
  result: [() => true, 'optional'],
  error: [isMessage, 'optional'],
  metrics: [isObject, 'required'],
  nd_builtin_cache: [isMapOfObjects, 'optional'],
  timestamp: [isTime, 'required'],
  erased: [isTexts, 'optional'],
  masked: [isTexts, 'optional'],
  req_id: [isNumber, 'required'],
  svidgate: [isObject, 'required'],
};

const CONTEXT: Readonly<Record<keyof DecisionRecord['svidgate'], readonly [Test, 'required' | 'optional']>> = {
  policy: [isText, 'required'],
  policy_digest: [isText, 'optional'],
  outcome: [(value) => OUTCOMES.has(value), 'required'],
  reason: [isText, 'required'],
  http_status: [isNumber, 'required'],
  input_hash: [isText, 'optional'],
  principal: [isText, 'required'],
  peer: [isPeer, 'optional'],
  tokens: [isTokens, 'optional'],
  caller: [(value) => CALLERS.has(value), 'required'],
  caller_ids: [isTexts, 'optional'],
  listener: [isText, 'required'],
  method: [isText, 'required'],
  route: [isText, 'required'],
  request_id: [isText, 'optional'],
  principal_verified_by: [(value) => value === 'envoy', 'optional'],
  cached: [isFlag, 'required'],
  offloaded: [(value) => value === true, 'optional'],
  offload_rule: [isText, 'optional'],
  rules: [isRules, 'optional'],
  recorded: [isPaths, 'optional'],
  replayable: [isFlag, 'required'],
  unreplayable: [isTexts, 'optional'],
};

const RECORD_TESTS = Object.entries(RECORD);
const CONTEXT_TESTS = Object.entries(CONTEXT);

/** A line that was parsed, as a record: ours, or one of OPA's own decision log. Undefined for all else. */
export function recordOf(value: Json): DecisionRecord | undefined {
  const own = Object.hasOwn(value, 'svidgate') ? value : recordOfOpa(value);
  return own !== undefined && isRecord(own) ? own : undefined;
}

function isRecord(value: object): value is DecisionRecord {
  return (
    hasShape(value as Json, RECORD_TESTS) && hasShape((value as { readonly svidgate: Json }).svidgate, CONTEXT_TESTS)
  );
}

function hasShape(value: Json, shape: typeof RECORD_TESTS): boolean {
  for (const [name, [test, need]] of shape) {
    if (Object.hasOwn(value, name) ? !test(value[name]) : need === 'required') return false;
  }
  return true;
}

function isToken(value: unknown): boolean {
  return (
    isObject(value) &&
    isText(value['issuer']) &&
    isText(value['subject']) &&
    isText(value['token_hash']) &&
    isFlag(value['verified'])
  );
}

function isRule(value: unknown): boolean {
  return isObject(value) && isText(value['name']) && isText(value['file']) && isNumber(value['line']);
}
