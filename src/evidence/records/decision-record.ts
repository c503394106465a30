import type { GrantRule } from '../../policy/index.ts';

/**
 * One decision as it is kept: an event of OPA's decision log (openpolicyagent.org/docs/management-decision-logs), and what only
 * we know under `svidgate`. What may be a secret has left it already.
 */
export interface DecisionRecord {
  readonly labels: Readonly<Record<string, string>>;
  readonly decision_id: string;
  /** From `traceparent`, 32 and 16 hex digits. */
  readonly trace_id?: string;
  readonly span_id?: string;
  /** By name of the policy; empty for a policy without a revision. */
  readonly bundles?: Readonly<Record<string, { readonly revision: string }>>;
  /** The entrypoint. Absent when no policy was asked. */
  readonly path?: string;
  /** What of the input the policy could look at. */
  readonly input?: JsonRecord;
  /** The value of the entrypoint. Absent when there is none. */
  readonly result?: unknown;
  /** Why there is no result. */
  readonly error?: { readonly message: string };
  readonly metrics: { readonly timer_server_handler_ns: number };
  readonly nd_builtin_cache?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** RFC 3339 with nanoseconds. */
  readonly timestamp: string;
  /** JSON pointers to what was removed, such as `/input/attributes/request/http/headers/cookie`. */
  readonly erased?: readonly string[];
  /** JSON pointers to what was replaced. */
  readonly masked?: readonly string[];
  /** Counts up within one run of the server. */
  readonly req_id: number;
  readonly svidgate: RecordedContext;
}

export interface RecordedContext {
  /** Name of the policy that was asked; empty when the request did not get that far. */
  readonly policy: string;
  /** Of the snapshot that decided; absent when none took part. */
  readonly policy_digest?: string;
  readonly outcome: 'allow' | 'unenforced' | 'dry_run' | 'deny' | 'failure';
  /** Empty with `allow`. */
  readonly reason: string;
  /** What Envoy was told to send; 0 for an allow. */
  readonly http_status: number;
  /** HMAC-SHA-256 of the input before anything was removed, in hex: equal for equal inputs of one installation. */
  readonly input_hash?: string;
  /** The verified SPIFFE ID, or `unverified`. */
  readonly principal: string;
  /** Who verified the principal, where it was not svidgate. */
  readonly principal_verified_by?: 'envoy';
  readonly peer?: { readonly spiffe_id: string; readonly serial: string };
  readonly tokens?: readonly {
    readonly issuer: string;
    readonly subject: string;
    readonly token_hash: string;
    readonly verified: boolean;
  }[];
  /** `anonymous` records are evidence of nothing: reports, replay and gates leave them out. */
  readonly caller: 'anonymous' | 'attested' | 'tls' | 'unknown';
  readonly caller_ids?: readonly string[];
  readonly listener: string;
  readonly method: string;
  /** As reports name it: what the route calls itself, else host and path without its query, with segments that look like ids cut. */
  readonly route: string;
  /** Envoy's `x-request-id`. */
  readonly request_id?: string;
  /** Made before from the same values. */
  readonly cached: boolean;
  /** Envoy answered by itself, by rules that were made from the policy; the record is made from its access log. */
  readonly offloaded?: true;
  /** Envoy's rule that allowed it. */
  readonly offload_rule?: string;
  /** The Rego that this rule stands for. */
  readonly rules?: readonly GrantRule[];
  /**
   * What the policy could look at, and what was recorded but for what was removed: all of the input, or these paths in it, made
   * by recordedPaths(). Another policy that looks at nothing else can be asked the same. Absent: unknown.
   */
  readonly recorded?: RecordedPaths;
  /** Whether the input and `nd_builtin_cache` are all that the decision was made of. */
  readonly replayable: boolean;
  /** JSON pointers to what the policy could look at and is not here; empty when replayable. */
  readonly unreplayable?: readonly string[];
}

/** `all`, or paths of keys of objects (texts) and of indexes of arrays (numbers). */
export type RecordedPaths = 'all' | readonly (readonly (string | number)[])[];

export type JsonRecord = Readonly<Record<string, unknown>>;
