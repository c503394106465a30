/**
 * The closed list of what a log line may carry. Values are names, numbers and short texts; never a key, a token,
 * a header value, a certificate or a whole request. The logger drops a field that is not listed here.
 */
export interface LogFields {
  readonly address?: string;
  readonly attempt?: number;
  readonly ca_id?: string;
  readonly caller_gid?: number;
  readonly caller_path?: string;
  readonly caller_pid?: number;
  readonly caller_uid?: number;
  readonly column?: number;
  readonly connection_id?: number;
  readonly count?: number;
  readonly decision?: 'allow' | 'deny';
  readonly decision_id?: string;
  readonly digest?: string;
  readonly duration_ms?: number;
  readonly entrypoint?: string;
  readonly entry_id?: string;
  readonly error_code?: string;
  readonly expires_at?: string;
  readonly file?: string;
  readonly grpc_status?: string;
  readonly limit?: number;
  readonly line?: number;
  readonly method?: string;
  readonly node_id?: string;
  readonly nonce?: string;
  readonly pid?: number;
  readonly policy?: string;
  readonly reason?: string;
  readonly resource_names?: readonly string[];
  readonly room?: string;
  readonly selectors?: readonly string[];
  readonly serial?: string;
  readonly signal?: string;
  readonly spiffe_id?: string;
  readonly trust_domain?: string;
  readonly ttl_seconds?: number;
  readonly version?: string;
}

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

/** The fields above as values, for the implementation and its tests. */
export const LOG_FIELD_NAMES = [
  'address',
  'attempt',
  'ca_id',
  'caller_gid',
  'caller_path',
  'caller_pid',
  'caller_uid',
  'column',
  'connection_id',
  'count',
  'decision',
  'decision_id',
  'digest',
  'duration_ms',
  'entrypoint',
  'entry_id',
  'error_code',
  'expires_at',
  'file',
  'grpc_status',
  'limit',
  'line',
  'method',
  'node_id',
  'nonce',
  'pid',
  'policy',
  'reason',
  'resource_names',
  'room',
  'selectors',
  'serial',
  'signal',
  'spiffe_id',
  'trust_domain',
  'ttl_seconds',
  'version',
] as const satisfies readonly (keyof LogFields)[];

/** Fails to compile when a field of LogFields is missing from the list above. */
type MissingFieldName = Exclude<keyof LogFields, (typeof LOG_FIELD_NAMES)[number]>;
export const LOG_FIELD_NAMES_COMPLETE: MissingFieldName extends never ? true : never = true;

export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
