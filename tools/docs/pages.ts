import {
  AUDIT_EVENT_MEANINGS,
  AUDIT_FIELD_CATALOGUE,
  ERROR_CATALOGUE,
  LOG_FIELD_CATALOGUE,
  METRIC_CATALOGUE,
  SvidgateError,
  type Logger,
} from '../../src/core/index.ts';
import { createLogger, createMetrics, formatAuditLine } from '../../src/telemetry/index.ts';
import { codeBlock, page, table } from './markdown.ts';

const CATALOGUE = 'the catalogue in src/core/';

const FAULTS = {
  operator: 'operator: configuration, files or policies',
  caller: 'caller: what it sent',
  system: 'system: svidgate or its machine',
} as const;

const FIELD_TYPES = { text: 'text', texts: 'list of texts', number: 'number', outcome: '`allow` or `deny`' } as const;

const AUDIT_FIELD_TYPES = {
  text: 'text',
  texts: 'list of texts',
  number: 'number',
  flag: '`true` or `false`',
} as const;

/** docs/reference/errors.md. */
export function errorsPage(): string {
  const error = new SvidgateError('authority_failed', 'the CA could not be rotated: no space left on device');
  const line = logLine((logger) => {
    logger.error({ error_code: error.code, reason: error.message }, 'ca rotation failed');
  });
  const rows = Object.entries(ERROR_CATALOGUE).map(([code, { grpc, http, fault, remedy }]) => [
    `\`${code}\``,
    `\`${grpc}\``,
    String(http),
    fault,
    remedy,
  ]);
  return page('Errors', CATALOGUE, [
    lineBlock(line),
    `Look up \`error_code\` below: \`${error.code}\` ends a gRPC call with \`${error.grpcStatus}\` and an HTTP request ` +
      `with ${error.httpStatus}. Callers get the code and the message; the cause behind it is in the log only.`,
    'The gate answers a check request that fails with an explicit deny, whatever the error, unless `authz.on_error` says ' +
      'otherwise.',
    table(['Code', 'gRPC', 'HTTP', 'Fault', 'What to do'], rows),
    `Fault says who can mend it. ${Object.values(FAULTS).join('; ')}.`,
  ]);
}

/** docs/reference/log-fields.md. */
export function logFieldsPage(): string {
  const line = logLine((logger) => {
    logger.info(
      { policy: 'default', spiffe_id: 'spiffe://prod.acme.test/web', decision: 'deny', duration_ms: 0.4 },
      'request denied',
    );
  });
  const rows = Object.entries(LOG_FIELD_CATALOGUE).map(([name, { type, meaning }]) => [
    `\`${name}\``,
    FIELD_TYPES[type],
    meaning,
  ]);
  return page('Log fields', CATALOGUE, [
    lineBlock(line),
    'One JSON object a line, on standard output, written before the work goes on. `telemetry.log_level` is the lowest ' +
      'level written: `debug`, `info`, `warn` or `error`.',
    'Each line has `time` (ISO 8601, UTC), `level` and `msg`, and of the following what applies. The list is closed: ' +
      'nothing else is ever written. Long texts are cut; anything that looks like a key, a certificate or a token is ' +
      'replaced by `[redacted]`.',
    'Messages are fixed texts: filter on `msg`, read `reason`.',
    table(['Field', 'Type', 'Meaning'], rows),
  ]);
}

/** docs/reference/audit-log.md. */
export function auditLogPage(): string {
  const issuedAt = Date.UTC(2026, 0, 1);
  const line = formatAuditLine(
    {
      event: 'svid_issued',
      result: 'success',
      method: 'FetchX509SVID',
      svid_type: 'x509',
      caller: {
        pid: 4711,
        uid: 1001,
        gid: 1001,
        executable: '/usr/bin/envoy',
        selectors: ['unix:path:/usr/bin/envoy', 'unix:uid:1001'],
      },
      spiffe_id: 'spiffe://prod.acme.test/web',
      entry_id: 'web',
      serial: '5f1d3c8a90b4e672',
      authority_id: '7f9b2e40c1d8a5f3',
      rotation: false,
      expires_at: new Date(issuedAt + 3_600_000).toISOString(),
      ttl_seconds: 3600,
      duration_ms: 1.2,
    },
    issuedAt,
  );
  const events = Object.entries(AUDIT_EVENT_MEANINGS).map(([event, meaning]) => [`\`${event}\``, meaning]);
  const fields = Object.entries(AUDIT_FIELD_CATALOGUE).map(([name, { type, meaning }]) => [
    `\`${name}\``,
    AUDIT_FIELD_TYPES[type],
    meaning,
  ]);
  return page('Audit log', CATALOGUE, [
    codeBlock('text', [line.trimEnd()]),
    'One JSON object a line in a file of its own, made with mode 0600. A line is handed to the kernel before the work goes ' +
      'on, so it is there after a crash of svidgate, though not always after a power cut.',
    'Each line has `time` (ISO 8601, UTC), `level` (always `audit`) and, in this order, what applies of the fields below. ' +
      'The list is closed: no key and no token is ever written. Long texts are cut; anything that looks like a key, a ' +
      'certificate or a token is replaced by `[redacted]`.',
    'The file is rotated by size: `FILE.1` is the newest of the old ones. When something else moves it away, the next line ' +
      'starts a new one.',
    'An event that cannot be written counts in `svidgate_audit_failures_total` and is logged with the code ' +
      '`audit_failed`, at most once a minute. With `audit.required` set, what it is about does not happen either.',
    table(['Event', 'What happened'], events),
    table(['Field', 'Type', 'Meaning'], fields),
  ]);
}

/** docs/reference/metrics.md. */
export async function metricsPage(): Promise<string> {
  const metrics = createMetrics({ processMetrics: false });
  metrics.count('svidgate_authz_decisions_total', { policy: 'default', outcome: 'allow', reason: '' }, 1204);
  metrics.gauge('svidgate_sds_streams', {}, 3);
  const { body } = await metrics.render();
  const samples = body.split('\n').filter((line) => /^svidgate_(authz_decisions_total\{|sds_streams )/.test(line));
  const rows = Object.entries(METRIC_CATALOGUE).map(([name, { kind, labels, help }]) => [
    `\`${name}\``,
    kind,
    labels.map((label) => `\`${label}\``).join(', '),
    help,
  ]);
  return page('Metrics', CATALOGUE, [
    codeBlock('yaml', ['# svidgate.yaml', 'trust_domain: prod.acme.test', 'telemetry: { listen: 127.0.0.1:9988 }']),
    '`http://127.0.0.1:9988/metrics` then has, among others:',
    codeBlock('text', samples),
    'Labels have few values: configured names and fixed words, never what a caller sent. A counter without labels starts ' +
      'at zero; everything else appears when it is first set.',
    table(['Metric', 'Kind', 'Labels', 'Meaning'], rows),
    'Besides these there are the usual `process_*` and `nodejs_*` metrics: memory, CPU, file descriptors, garbage ' +
      'collection and event loop lag.',
  ]);
}

/** What the real logger writes, at a fixed time. */
function logLine(write: (logger: Logger) => void): object {
  let line = '';
  write(createLogger({ level: 'debug', destination: { write: (text) => (line = text) } }));
  return { ...(JSON.parse(line) as object), time: '2026-01-01T00:00:00.000Z' };
}

function lineBlock(value: object): string {
  return codeBlock('text', [JSON.stringify(value)]);
}
