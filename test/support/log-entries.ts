import {
  AccessLogType,
  encodeMessage,
  HttpAccessLogEntry,
  StreamAccessLogsMessage,
  type HttpAccessLogEntryInit,
} from '../../src/proto/index.ts';

/** What a filter writes: texts by their keys. */
export function rbacMetadata(
  texts: Readonly<Record<string, string>>,
  filter = 'envoy.filters.http.rbac',
): NonNullable<NonNullable<HttpAccessLogEntryInit['commonProperties']>['metadata']> {
  const fields = Object.fromEntries(Object.entries(texts).map(([key, stringValue]) => [key, { stringValue }]));
  return { filterMetadata: { 'other.filter': { fields: { svidgate_x: { boolValue: true } } }, [filter]: { fields } } };
}

export interface EntryParts {
  /** Default: `rule-a` of policy `default` has allowed it. */
  readonly texts?: Readonly<Record<string, string>>;
  readonly common?: NonNullable<HttpAccessLogEntryInit['commonProperties']>;
  readonly request?: NonNullable<HttpAccessLogEntryInit['request']>;
  readonly entry?: HttpAccessLogEntryInit;
}

export const ALLOWED_BY_A = {
  svidgate_default_shadow_engine_result: 'allowed',
  svidgate_default_shadow_effective_policy_id: 'rule-a',
};

/** As Envoy logs `GET /orders/17`. */
export function logEntry({ texts = ALLOWED_BY_A, common, request, entry }: EntryParts = {}): HttpAccessLogEntryInit {
  return {
    commonProperties: {
      startTime: { seconds: 1_795_383_418, nanos: 369_715_000 },
      metadata: rbacMetadata(texts),
      accessLogType: AccessLogType.DownstreamEnd,
      downstreamRemoteAddress: { socketAddress: { address: '10.1.2.3', portValue: 40_000 } },
      downstreamDirectRemoteAddress: { socketAddress: { address: '10.1.2.3', portValue: 40_000 } },
      ...common,
    },
    protocolVersion: 2,
    request: {
      requestMethod: 1,
      scheme: 'https',
      authority: 'orders.test',
      path: '/orders/17',
      requestId: '0f8b2c0e-3c0c-4a6e-9d55-2f1f5f1f3c6a',
      requestHeaders: {},
      ...request,
    },
    ...entry,
  };
}

export function entryBytes(parts: EntryParts = {}): Uint8Array {
  return encodeMessage(HttpAccessLogEntry, logEntry(parts));
}

export function logMessage(...entries: readonly EntryParts[]): Uint8Array {
  return encodeMessage(StreamAccessLogsMessage, {
    identifier: { node: { id: 'node-1' }, logName: 'svidgate' },
    httpLogs: { logEntry: entries.map((parts) => logEntry(parts)) },
  });
}

/** A certificate with these URI SANs. */
export function peerWith(...uris: readonly string[]): NonNullable<HttpAccessLogEntryInit['commonProperties']> {
  return {
    tlsProperties: { peerCertificateProperties: { subjectAltName: uris.map((uri) => ({ uri })), subject: 'CN=x' } },
  };
}
