import { lossOf, isObject } from '../log/log-line.ts';
import type { RecordLine } from '../log/index.ts';

/** opentelemetry.proto.common.v1.KeyValue in OTLP's JSON: 64-bit integers are strings. */
interface KeyValue {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string } | { readonly boolValue: boolean };
}

/** opentelemetry.proto.logs.v1.LogRecord. */
interface LogRecord {
  readonly timeUnixNano: string;
  readonly observedTimeUnixNano: string;
  readonly severityNumber: number;
  readonly severityText: string;
  readonly eventName: string;
  readonly body: { readonly stringValue: string };
  readonly attributes: readonly KeyValue[];
  /** Hex, as OTLP's JSON has it. */
  readonly traceId?: string;
  readonly spanId?: string;
}

interface ResourceLogs {
  readonly resource: { readonly attributes: readonly KeyValue[] };
  readonly scopeLogs: readonly { readonly scope: { readonly name: string }; readonly logRecords: LogRecord[] }[];
}

/** opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest. */
export interface ExportLogsRequest {
  readonly resourceLogs: readonly ResourceLogs[];
}

type Json = Readonly<Record<string, unknown>>;

/** Numbers of the data model's "Severity Fields". */
const SEVERITIES: Readonly<Record<string, readonly [number, string]>> = {
  allow: [9, 'INFO'],
  unenforced: [13, 'WARN'],
  dry_run: [13, 'WARN'],
  deny: [13, 'WARN'],
  failure: [17, 'ERROR'],
};
const SCOPE = 'svidgate.decision_log';
/** Labels with a name of their own in OpenTelemetry's conventions. */
const RESOURCE_NAMES: Readonly<Record<string, string>> = { id: 'service.instance.id', version: 'service.version' };

/**
 * Lines as an export of logs, and how many of them are damaged. A record is the body of its log record, as it stands on disk;
 * what one searches for is beside it as attributes. Labels are of the resource.
 */
export function exportLogs(
  lines: readonly RecordLine[],
  observedAtMs: number,
): { readonly request: ExportLogsRequest; readonly records: number; readonly damaged: number } {
  const resources = new Map<string, ResourceLogs>();
  let records = 0;
  let damaged = 0;
  for (const line of lines) {
    const text = line.bytes.toString('utf8');
    const value = parse(text);
    const record = value === undefined ? undefined : logRecord({ value, text, observedAtMs });
    if (value === undefined || record === undefined) {
      damaged += line.kind === 'record' ? 1 : 0;
      continue;
    }
    const labels = isObject(value['labels']) ? value['labels'] : {};
    const key = JSON.stringify(labels);
    let resource = resources.get(key);
    if (resource === undefined) resources.set(key, (resource = resourceOf(labels)));
    resource.scopeLogs[0]?.logRecords.push(record);
    records += 1;
  }
  return { request: { resourceLogs: [...resources.values()] }, records, damaged };
}

function resourceOf(labels: Json): ResourceLogs {
  const attributes = Object.entries(labels).flatMap(([name, value]) =>
    typeof value === 'string' ? [text(RESOURCE_NAMES[name] ?? name, value)] : [],
  );
  return {
    resource: { attributes: [text('service.name', 'svidgate'), ...attributes] },
    scopeLogs: [{ scope: { name: SCOPE }, logRecords: [] }],
  };
}

interface Parsed {
  readonly value: Json;
  readonly text: string;
  readonly observedAtMs: number;
}

function logRecord(parsed: Parsed): LogRecord | undefined {
  return lossOf(parsed.value) === undefined ? decisionLog(parsed) : lossLog(parsed);
}

function decisionLog({ value, text: body, observedAtMs }: Parsed): LogRecord | undefined {
  const own = value['svidgate'];
  const timeUnixNano = nanosOf(value['timestamp']);
  if (!isObject(own) || timeUnixNano === undefined) return undefined;
  const [severityNumber, severityText] = SEVERITIES[String(own['outcome'])] ?? [9, 'INFO'];
  return {
    timeUnixNano,
    observedTimeUnixNano: nanos(observedAtMs),
    severityNumber,
    severityText,
    eventName: 'svidgate.decision',
    body: { stringValue: body },
    attributes: decisionAttributes(value, own),
    ...hexId('traceId', value['trace_id'], 32),
    ...hexId('spanId', value['span_id'], 16),
  };
}

function decisionAttributes(value: Json, own: Json): KeyValue[] {
  const texts: readonly (readonly [string, unknown])[] = [
    ['svidgate.decision_id', value['decision_id']],
    ['svidgate.policy', own['policy']],
    ['svidgate.policy_digest', own['policy_digest']],
    ['svidgate.outcome', own['outcome']],
    ['svidgate.reason', own['reason']],
    ['svidgate.principal', own['principal']],
    ['svidgate.caller', own['caller']],
    ['svidgate.listener', own['listener']],
    ['svidgate.request_id', own['request_id']],
    ['svidgate.offload_rule', own['offload_rule']],
    ['http.request.method', own['method']],
    ['http.route', own['route']],
  ];
  const status = own['http_status'];
  return [
    ...texts.flatMap(([key, found]) => (typeof found === 'string' && found !== '' ? [text(key, found)] : [])),
    ...(typeof status === 'number' && Number.isSafeInteger(status) && status !== 0
      ? [{ key: 'http.response.status_code', value: { intValue: String(status) } }]
      : []),
    ...(typeof own['replayable'] === 'boolean'
      ? [{ key: 'svidgate.replayable', value: { boolValue: own['replayable'] } }]
      : []),
    ...(own['offloaded'] === true ? [{ key: 'svidgate.offloaded', value: { boolValue: true } }] : []),
  ];
}

function lossLog({ value, text: body, observedAtMs }: Parsed): LogRecord | undefined {
  const loss = lossOf(value);
  const timeUnixNano = nanosOf(loss?.until);
  if (loss === undefined || timeUnixNano === undefined) return undefined;
  return {
    timeUnixNano,
    observedTimeUnixNano: nanos(observedAtMs),
    severityNumber: loss.reason === 'sampled' ? 9 : 13,
    severityText: loss.reason === 'sampled' ? 'INFO' : 'WARN',
    eventName: 'svidgate.decision_loss',
    body: { stringValue: body },
    attributes: [
      text('svidgate.reason', loss.reason),
      ...(loss.policy === undefined ? [] : [text('svidgate.policy', loss.policy)]),
      ...(loss.count === null ? [] : [{ key: 'svidgate.count', value: { intValue: String(loss.count) } }]),
    ],
  };
}

function text(key: string, value: string): KeyValue {
  return { key, value: { stringValue: value } };
}

function hexId(
  name: 'traceId' | 'spanId',
  value: unknown,
  digits: number,
): Partial<Pick<LogRecord, 'traceId' | 'spanId'>> {
  if (typeof value !== 'string' || value.length !== digits || !/^[0-9a-f]+$/i.test(value)) return {};
  return { [name]: value.toLowerCase() };
}

/** Nanoseconds since the epoch of an RFC 3339 time, which may have more digits than milliseconds. */
function nanosOf(time: unknown): string | undefined {
  if (typeof time !== 'string') return undefined;
  const ms = Date.parse(time);
  if (Number.isNaN(ms) || ms < 0) return undefined;
  const fraction = /\.(\d{1,9})/.exec(time)?.[1] ?? '';
  return String(BigInt(Math.floor(ms / 1000)) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0')));
}

function nanos(epochMs: number): string {
  return String(BigInt(Math.floor(epochMs)) * 1_000_000n);
}

function parse(text: string): Json | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
