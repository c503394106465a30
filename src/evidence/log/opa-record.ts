import type { DecisionRecord } from '../records/decision-record.ts';
import { shadowSubject } from '../shadow-subject.ts';
import { isObject } from './log-line.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * An event of OPA's own decision log, from its console, a file or a body of its API, as a record. OPA proves nothing about
 * peers, so the principal is `unverified`. Undefined for what is no such event.
 */
export function recordOfOpa(event: Json): DecisionRecord | undefined {
  const { decision_id: decisionId, timestamp } = event;
  if (typeof decisionId !== 'string' || typeof timestamp !== 'string') return undefined;
  const input = isObject(event['input']) ? withVersion(event['input']) : undefined;
  const erased = textsIn(event['erased']);
  const masked = textsIn(event['masked']);
  const hidden = [...erased, ...masked].filter((pointer) => !pointer.startsWith('/result'));
  const answer = answerOf(event);
  const metrics = isObject(event['metrics']) ? event['metrics'] : {};
  const handlerNs = metrics['timer_server_handler_ns'];
  return {
    labels: isObject(event['labels']) ? (event['labels'] as Record<string, string>) : {},
    decision_id: decisionId,
    ...pick(event, 'trace_id', 'span_id', 'bundles', 'path', 'result', 'nd_builtin_cache'),
    ...(input === undefined ? {} : { input }),
    ...(event['error'] === undefined ? {} : { error: { message: messageOf(event['error']) } }),
    metrics: { ...metrics, timer_server_handler_ns: typeof handlerNs === 'number' ? handlerNs : 0 },
    timestamp,
    ...(erased.length === 0 ? {} : { erased }),
    ...(masked.length === 0 ? {} : { masked }),
    req_id: typeof event['req_id'] === 'number' ? event['req_id'] : 0,
    svidgate: {
      policy: '',
      ...answer,
      principal: 'unverified',
      caller: 'unknown',
      listener: '',
      ...subjectOf(input),
      cached: false,
      recorded: 'all',
      replayable: input !== undefined && hidden.length === 0,
      unreplayable: input === undefined ? ['/input'] : hidden,
    },
  };
}

/** opa-envoy-plugin logs `input.version` as pairs of terms: `[[{type, value: "ext_authz"}, {type, value: "v3"}], …]`. */
function withVersion(input: Json): Json {
  const version = input['version'];
  if (!Array.isArray(version)) return input;
  const entries: [string, string][] = [];
  for (const pair of version as unknown[]) {
    const [key, value] = Array.isArray(pair) ? (pair as unknown[]).map(termText) : [];
    if (key === undefined || value === undefined) return input;
    entries.push([key, value]);
  }
  return { ...input, version: Object.fromEntries(entries) };
}

function termText(term: unknown): string | undefined {
  return isObject(term) && typeof term['value'] === 'string' ? term['value'] : undefined;
}

function answerOf(event: Json): Pick<DecisionRecord['svidgate'], 'outcome' | 'reason' | 'http_status'> {
  const { result } = event;
  if (event['error'] !== undefined) return { outcome: 'failure', reason: 'error', http_status: 403 };
  if (typeof result === 'boolean' || (isObject(result) && typeof result['allowed'] === 'boolean')) {
    const allowed = result === true || (isObject(result) && result['allowed'] === true);
    if (allowed) return { outcome: 'allow', reason: '', http_status: 0 };
    const status = isObject(result) ? result['http_status'] : undefined;
    return { outcome: 'deny', reason: 'policy', http_status: typeof status === 'number' ? status : 403 };
  }
  return { outcome: 'failure', reason: result === undefined ? 'undefined' : 'result_type', http_status: 403 };
}

function subjectOf(input: Json | undefined): Pick<DecisionRecord['svidgate'], 'method' | 'route' | 'request_id'> {
  const http = at(input, 'attributes', 'request', 'http');
  const headers = at(http, 'headers');
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  const { method, route } = shadowSubject({
    spiffeId: undefined,
    method: text(http?.['method']),
    host: text(http?.['host']),
    path: text(http?.['path']),
    route: '',
  });
  const requestId = text(headers?.['x-request-id']);
  return { method, route, ...(requestId === '' ? {} : { request_id: requestId }) };
}

function at(value: Json | undefined, ...path: readonly string[]): Json | undefined {
  let found = value;
  for (const key of path) {
    const next = found !== undefined && Object.hasOwn(found, key) ? found[key] : undefined;
    found = isObject(next) ? next : undefined;
  }
  return found;
}

function textsIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((text) => typeof text === 'string') : [];
}

function messageOf(error: unknown): string {
  return isObject(error) && typeof error['message'] === 'string' ? error['message'] : JSON.stringify(error);
}

function pick(event: Json, ...names: readonly (keyof DecisionRecord)[]): Partial<DecisionRecord> {
  return Object.fromEntries(names.filter((name) => Object.hasOwn(event, name)).map((name) => [name, event[name]]));
}
