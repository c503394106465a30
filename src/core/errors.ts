/** gRPC status names (https://grpc.io/docs/guides/status-codes/) that an error can end a call with. */
export type GrpcStatusName =
  | 'ALREADY_EXISTS'
  | 'CANCELLED'
  | 'DEADLINE_EXCEEDED'
  | 'FAILED_PRECONDITION'
  | 'INTERNAL'
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'UNAVAILABLE'
  | 'UNIMPLEMENTED';

interface CatalogueEntry {
  readonly grpc: GrpcStatusName;
  readonly http: number;
  /** Who can mend it: the operator (configuration, files), the caller (its request), or the system. */
  readonly fault: 'operator' | 'caller' | 'system';
  /** What to do about it, in one sentence. */
  readonly remedy: string;
}

/** Every error svidgate can report. docs/reference/errors.md is made from this table. */
export const ERROR_CATALOGUE = {
  address_in_use: {
    grpc: 'FAILED_PRECONDITION',
    http: 500,
    fault: 'operator',
    remedy: 'Stop the other listener or choose another address.',
  },
  already_running: {
    grpc: 'FAILED_PRECONDITION',
    http: 500,
    fault: 'operator',
    remedy: 'Stop the other instance or give this one a data_dir of its own.',
  },
  already_exists: {
    grpc: 'ALREADY_EXISTS',
    http: 409,
    fault: 'caller',
    remedy: 'Change the one that is there, or choose another name.',
  },
  attestation_failed: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'caller',
    remedy: 'Connect again; `/proc` of the caller must be visible to svidgate.',
  },
  audit_failed: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'operator',
    remedy: 'Make room for the audit log, or unset `audit.required`.',
  },
  authority_failed: {
    grpc: 'INTERNAL',
    http: 500,
    fault: 'system',
    remedy: 'See the cause in the log; issued identities stay valid until their expiry.',
  },
  caller_not_allowed: {
    grpc: 'PERMISSION_DENIED',
    http: 403,
    fault: 'operator',
    remedy: 'Add the SPIFFE ID of the caller to `callers` of the listener, if it may ask there.',
  },
  canceled: { grpc: 'CANCELLED', http: 499, fault: 'caller', remedy: 'Nothing to do: the caller went away.' },
  certificate_invalid: {
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    fault: 'caller',
    remedy: 'Present an X.509-SVID of a trust domain whose bundle svidgate holds.',
  },
  config_invalid: {
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    fault: 'operator',
    remedy: 'Mend the file at the place named; `svidgate config check FILE` lists every mistake.',
  },
  conflict: {
    grpc: 'FAILED_PRECONDITION',
    http: 409,
    fault: 'caller',
    remedy: 'Look at the present state, which the message names, and ask again.',
  },
  datastore_failed: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'system',
    remedy: 'See the cause in the log; what was issued stays valid, and the last good state is served.',
  },
  deadline_exceeded: {
    grpc: 'DEADLINE_EXCEEDED',
    http: 504,
    fault: 'system',
    remedy: 'Raise the time-out, or look for what is slow.',
  },
  evaluation_failed: {
    grpc: 'INTERNAL',
    http: 500,
    fault: 'operator',
    remedy: 'Mend the policy: the message is the one Rego gave.',
  },
  file_unreadable: {
    grpc: 'FAILED_PRECONDITION',
    http: 500,
    fault: 'operator',
    remedy: 'Check that the path exists and that svidgate may read it.',
  },
  internal: { grpc: 'INTERNAL', http: 500, fault: 'system', remedy: 'Report it with the log lines around it.' },
  invalid_request: { grpc: 'INVALID_ARGUMENT', http: 400, fault: 'caller', remedy: 'Send what the message says.' },
  jwt_invalid: {
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    fault: 'caller',
    remedy: 'Present a JWT-SVID that is meant for this audience and has not expired.',
  },
  key_manager_failed: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'operator',
    remedy: 'Check that the key manager can be reached and lets svidgate sign; issued identities stay valid.',
  },
  identity_pending: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'system',
    remedy: 'Ask again later: the caller is registered, but nothing can be signed for it now; see the log for why.',
  },
  no_identity: {
    grpc: 'PERMISSION_DENIED',
    http: 403,
    fault: 'operator',
    remedy: 'Register the caller: add an entry whose selectors all match it.',
  },
  not_authorized: {
    grpc: 'INVALID_ARGUMENT',
    http: 403,
    fault: 'operator',
    remedy: 'Ask only for names that the matching entries give, or add an entry.',
  },
  not_found: {
    grpc: 'NOT_FOUND',
    http: 404,
    fault: 'caller',
    remedy: 'List what is there and use a name from the list.',
  },
  overloaded: {
    grpc: 'RESOURCE_EXHAUSTED',
    http: 503,
    fault: 'system',
    remedy: 'Send fewer requests at once, or allow more.',
  },
  permission_denied: {
    grpc: 'PERMISSION_DENIED',
    http: 403,
    fault: 'operator',
    remedy: 'Give the caller a role that may do this, in `admin.allow`.',
  },
  policy_invalid: {
    grpc: 'FAILED_PRECONDITION',
    http: 500,
    fault: 'operator',
    remedy: 'Mend the policy at the place named; the last good one stays in force.',
  },
  policy_source_failed: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'operator',
    remedy: 'Check that the source of the policy can be reached and gives a bundle; the last good one stays in force.',
  },
  server_unreachable: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'operator',
    remedy: 'Start it with `svidgate serve --config FILE`, or name the socket of the one that runs.',
  },
  shutting_down: { grpc: 'UNAVAILABLE', http: 503, fault: 'system', remedy: 'Connect again: svidgate is stopping.' },
  spiffe_id_invalid: {
    grpc: 'INVALID_ARGUMENT',
    http: 400,
    fault: 'caller',
    remedy: 'Write the SPIFFE ID as SPIFFE-ID §2 says: spiffe://trust-domain/path.',
  },
  too_large: {
    grpc: 'RESOURCE_EXHAUSTED',
    http: 413,
    fault: 'caller',
    remedy: 'Send less; the message names the limit.',
  },
  unimplemented: {
    grpc: 'UNIMPLEMENTED',
    http: 501,
    fault: 'caller',
    remedy: 'Use what the message names instead.',
  },
  upstream_failed: {
    grpc: 'UNAVAILABLE',
    http: 503,
    fault: 'operator',
    remedy: 'Check that the upstream authority can be reached and accepts svidgate; issued identities stay valid.',
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERROR_CATALOGUE;

/**
 * The one error class. The message names the thing and the limit and may go over the wire;
 * the cause goes to the log only. Neither may hold a key, a token or a whole request.
 */
export class SvidgateError extends Error {
  override readonly name = 'SvidgateError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get grpcStatus(): GrpcStatusName {
    return ERROR_CATALOGUE[this.code].grpc;
  }

  get httpStatus(): number {
    return ERROR_CATALOGUE[this.code].http;
  }

  /** The only door for a caught value: a SvidgateError stays itself, an abort is `canceled`, all else `internal`. */
  static from(caught: unknown): SvidgateError {
    if (caught instanceof SvidgateError) return caught;
    if (caught instanceof Error && caught.name === 'AbortError') {
      return new SvidgateError('canceled', 'the operation was canceled', { cause: caught });
    }
    return new SvidgateError('internal', 'internal error', { cause: caught });
  }
}

/** The text of any caught value for the log: its own message, then its cause's. Never a stack. */
export function describeError(caught: unknown): string {
  if (!(caught instanceof Error))
    return typeof caught === 'string' ? caught : 'a value that is not an Error was thrown';
  const cause = caught.cause === undefined ? '' : `: ${describeError(caught.cause)}`;
  return `${caught.message}${cause}`;
}
