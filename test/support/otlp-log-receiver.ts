import assert from 'node:assert/strict';
import { startLogReceiver, type LogReceiver, type LogReceiverOptions } from './log-receiver.ts';

/** A field: what it holds. `many` for a repeated one. */
type Shape = {
  readonly [name: string]: 'text' | 'int64' | 'int' | 'bool' | 'hex16' | 'hex32' | Shape | readonly [Shape];
};

const ANY: Shape = { stringValue: 'text', intValue: 'int64', boolValue: 'bool' };
const KEY_VALUE: Shape = { key: 'text', value: ANY };

/** opentelemetry/proto/collector/logs/v1/logs_service.proto and what it uses, in the JSON of the OTLP specification. */
const REQUEST: Shape = {
  resourceLogs: [
    {
      resource: { attributes: [KEY_VALUE], droppedAttributesCount: 'int' },
      scopeLogs: [
        {
          scope: { name: 'text', version: 'text' },
          logRecords: [
            {
              timeUnixNano: 'int64',
              observedTimeUnixNano: 'int64',
              severityNumber: 'int',
              severityText: 'text',
              body: ANY,
              attributes: [KEY_VALUE],
              flags: 'int',
              traceId: 'hex32',
              spanId: 'hex16',
              eventName: 'text',
            },
          ],
        },
      ],
    },
  ],
};

export interface OtlpLogRecord {
  readonly severityNumber: number;
  readonly eventName: string;
  readonly timeUnixNano: string;
  readonly body: { readonly stringValue: string };
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly traceId?: string;
  readonly spanId?: string;
}

/** A receiver of OTLP logs over HTTP with JSON, as strict as the protobuf definitions. */
export async function startOtlpLogReceiver(
  options: Pick<LogReceiverOptions, 'tls' | 'answer'> = {},
): Promise<LogReceiver> {
  return await startLogReceiver({ ...options, check: idsOf });
}

/** All log records of a request. */
export function logRecordsOf(request: unknown): readonly OtlpLogRecord[] {
  const { resourceLogs } = request as {
    readonly resourceLogs: readonly {
      readonly scopeLogs: readonly { readonly logRecords: readonly OtlpLogRecord[] }[];
    }[];
  };
  return resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords));
}

/** The value of an attribute. */
export function attributeOf(record: Pick<OtlpLogRecord, 'attributes'>, key: string): unknown {
  return Object.values(record.attributes.find((attribute) => attribute.key === key)?.value ?? {})[0];
}

function idsOf(request: unknown): readonly string[] {
  assertShape(request, REQUEST, 'request');
  return logRecordsOf(request).flatMap((record) => {
    assert.ok(record.severityNumber >= 1 && record.severityNumber <= 24, 'a severity of the data model');
    const keys = record.attributes.map(({ key }) => key);
    assert.equal(new Set(keys).size, keys.length, 'attributes have distinct keys');
    const id = attributeOf(record, 'svidgate.decision_id');
    return typeof id === 'string' ? [id] : [];
  });
}

function assertShape(value: unknown, shape: Shape[string], where: string): void {
  if (typeof shape === 'string')
    return assert.ok(isOf(value, shape), `${where}: ${JSON.stringify(value)} is no ${shape}`);
  if (Array.isArray(shape)) {
    assert.ok(Array.isArray(value), `${where} is a list`);
    for (const element of value as unknown[]) assertShape(element, (shape as readonly [Shape])[0], where);
    return;
  }
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value), `${where} is a message`);
  for (const [name, member] of Object.entries(value)) {
    const known = (shape as Shape)[name];
    assert.ok(known !== undefined, `${where} has no field ${name}`);
    assertShape(member, known, `${where}.${name}`);
  }
  if (shape === ANY) assert.equal(Object.keys(value).length, 1, `${where} has one value`);
}

function isOf(value: unknown, kind: string): boolean {
  switch (kind) {
    case 'text':
      return typeof value === 'string';
    case 'bool':
      return typeof value === 'boolean';
    case 'int':
      return Number.isSafeInteger(value);
    case 'int64':
      return typeof value === 'string' && /^-?\d{1,19}$/.test(value);
    default:
      return typeof value === 'string' && new RegExp(`^[0-9a-f]{${kind.slice(3)}}$`).test(value);
  }
}
