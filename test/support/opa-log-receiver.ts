import assert from 'node:assert/strict';
import { startLogReceiver, type LogReceiver, type LogReceiverOptions } from './log-receiver.ts';

type Test = (value: unknown) => boolean;

const isText: Test = (value) => typeof value === 'string';
const isObject: Test = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const isTextMap: Test = (value) => isObject(value) && Object.values(value as object).every(isText);
const isPointers: Test = (value) =>
  Array.isArray(value) &&
  value.every((pointer) => isText(pointer) && /^\/(input|result|nd_builtin_cache)(\/|$)/.test(String(pointer)));

/**
 * The fields of an event, from the table in openpolicyagent.org/docs/management-decision-logs ("Decision Log Service API") and
 * the struct that OPA sends (EventV1). `svidgate` is ours; an event may have fields of its own.
 */
const FIELDS: Readonly<Record<string, Test>> = {
  labels: isTextMap,
  decision_id: (value) => isText(value) && value !== '',
  trace_id: (value) => isText(value) && /^[0-9a-f]{32}$/.test(String(value)),
  span_id: (value) => isText(value) && /^[0-9a-f]{16}$/.test(String(value)),
  bundles: (value) =>
    isObject(value) && Object.values(value as object).every((bundle: unknown) => isObject(bundle) && isTextMap(bundle)),
  path: isText,
  query: isText,
  input: () => true,
  result: () => true,
  rule_labels: Array.isArray,
  requested_by: isText,
  timestamp: (value) =>
    isText(value) && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(String(value)),
  metrics: isObject,
  erased: isPointers,
  masked: isPointers,
  nd_builtin_cache: (value) => isObject(value) && Object.values(value as object).every(isObject),
  req_id: (value) => Number.isSafeInteger(value) && Number(value) > 0,
  error: (value) => isObject(value) && isText((value as { message?: unknown }).message),
  svidgate: isObject,
};

/** A server with OPA's decision log API, as strict as the documentation allows. */
export async function startOpaLogReceiver(options: Pick<LogReceiverOptions, 'tls'> = {}): Promise<LogReceiver> {
  return await startLogReceiver({ ...options, check: idsOf });
}

function idsOf(body: unknown): readonly string[] {
  assert.ok(Array.isArray(body) && body.length > 0, 'an array with at least one event');
  return body.map((event: unknown) => {
    assert.ok(isObject(event), 'an event is an object');
    const fields = event as Readonly<Record<string, unknown>>;
    for (const [name, value] of Object.entries(fields)) {
      assert.ok(Object.hasOwn(FIELDS, name), `no field ${name} is documented`);
      assert.ok(FIELDS[name]?.(value), `${name}: ${JSON.stringify(value)}`);
    }
    for (const name of ['labels', 'decision_id', 'timestamp']) assert.ok(Object.hasOwn(fields, name), `no ${name}`);
    assert.ok(Object.hasOwn(fields, 'result') || Object.hasOwn(fields, 'error'), 'a result, or why there is none');
    return String(fields['decision_id']);
  });
}
