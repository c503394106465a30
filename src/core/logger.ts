/** The types that a field can have. */
interface FieldTypes {
  readonly text: string;
  readonly texts: readonly string[];
  readonly number: number;
  readonly outcome: 'allow' | 'deny';
}

interface FieldDescription {
  readonly type: keyof FieldTypes;
  readonly meaning: string;
}

/**
 * The closed list of what a log line may carry. Values are names, numbers and short texts; never a key, a token,
 * a header value, a certificate or a whole request. The logger drops a field that is not listed here.
 * docs/reference/log-fields.md is made from this table.
 */
export const LOG_FIELD_CATALOGUE = {
  address: { type: 'text', meaning: 'Where a listener is, `unix:PATH` or `HOST:PORT`; or where a policy comes from.' },
  attempt: { type: 'number', meaning: 'How many times this was tried, counting from 1.' },
  attestor: { type: 'text', meaning: 'The workload attestor: `unix`, `systemd`, `docker` or `k8s`.' },
  ca_id: { type: 'text', meaning: 'The CA or JWT key.' },
  caller_gid: { type: 'number', meaning: "The caller's group, from the kernel." },
  caller_pid: { type: 'number', meaning: "The caller's process, from the kernel." },
  caller_uid: { type: 'number', meaning: "The caller's user, from the kernel." },
  column: { type: 'number', meaning: 'Where in the line of `file`, counting from 1.' },
  connection_id: { type: 'number', meaning: 'One connection, for as long as svidgate runs.' },
  count: { type: 'number', meaning: 'How many of what the message is about.' },
  decision: { type: 'outcome', meaning: 'What Envoy was told: `allow` or `deny`.' },
  decision_id: { type: 'text', meaning: 'One decision of the gate.' },
  digest: { type: 'text', meaning: 'A hash of what was loaded.' },
  duration_ms: { type: 'number', meaning: 'How long it took, in milliseconds.' },
  entrypoint: { type: 'text', meaning: 'The Rego rule that decides, such as `envoy/authz/allow`.' },
  entry_id: { type: 'text', meaning: 'A registration entry.' },
  error_code: { type: 'text', meaning: 'The error; see [errors](errors.md).' },
  expires_at: { type: 'text', meaning: 'When it ends, ISO 8601 in UTC.' },
  file: { type: 'text', meaning: 'The file it is about.' },
  gate: {
    type: 'text',
    meaning: 'What refused a policy: `source`, `compiler`, `result_type`, `trial`, `tests`, `replay` or `load`.',
  },
  grpc_status: { type: 'text', meaning: 'The status that ended a call, such as `PERMISSION_DENIED`.' },
  limit: { type: 'number', meaning: 'The limit that was met.' },
  line: { type: 'number', meaning: 'The line of `file`, counting from 1.' },
  listener: { type: 'text', meaning: 'Where a caller asked the gate: `gate`, or `gate:NAME`.' },
  method: { type: 'text', meaning: 'The gRPC method.' },
  node_id: { type: 'text', meaning: "Envoy's own `node.id`. Not proven." },
  nonce: { type: 'text', meaning: 'The nonce of a discovery response.' },
  pid: { type: 'number', meaning: "svidgate's own process." },
  policy: { type: 'text', meaning: 'The name of a policy in `authz.policies`.' },
  provider: { type: 'text', meaning: 'The name of a token issuer in `authz.jwt_providers`.' },
  reason: { type: 'text', meaning: 'Why, in words. It can quote a file or Envoy, so do not match on it.' },
  resource_names: { type: 'texts', meaning: 'The secrets that were asked for or sent.' },
  room: { type: 'text', meaning: 'The part of svidgate that speaks.' },
  selectors: { type: 'texts', meaning: 'What attestation found out about the caller.' },
  serial: { type: 'text', meaning: 'The serial number of a certificate, in hex.' },
  signal: { type: 'text', meaning: 'The signal that was received.' },
  sink: { type: 'text', meaning: 'A receiver of the decision log: `stdout`, `opa` or `otlp`.' },
  spiffe_id: { type: 'text', meaning: 'The SPIFFE ID it is about.' },
  trust_domain: { type: 'text', meaning: 'The trust domain it is about, without `spiffe://`.' },
  version: { type: 'text', meaning: 'The version of a discovery response: a hash of its content.' },
  waiting_for: { type: 'texts', meaning: 'Connected Envoys that have not acknowledged the bundle.' },
} as const satisfies Record<string, FieldDescription>;

export type LogFieldName = keyof typeof LOG_FIELD_CATALOGUE;

/** What a log line may carry; see LOG_FIELD_CATALOGUE. */
export type LogFields = {
  readonly [Name in LogFieldName]?: FieldTypes[(typeof LOG_FIELD_CATALOGUE)[Name]['type']];
};

/** The names of the catalogue, for the implementation and its tests. */
export const LOG_FIELD_NAMES = Object.keys(LOG_FIELD_CATALOGUE) as readonly LogFieldName[];

type LogMethod = (fields: LogFields, message: string) => void;

/** Fixed messages in lower case without a final period; what varies goes into the fields. */
export interface Logger {
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  /** A logger that adds these fields to each line. */
  child(fields: LogFields): Logger;
}

export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
