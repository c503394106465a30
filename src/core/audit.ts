/** Who asked, as the kernel and attestation told it. */
export interface AuditCaller {
  readonly pid?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Path of the executable. */
  readonly executable?: string;
  readonly selectors?: readonly string[];
}

interface AuditEventFields {
  /** The RPC, CLI command or part of the server that caused it. */
  readonly method: string;
  readonly caller?: AuditCaller;
  readonly result: 'success' | 'failure';
  /** An error code and its message; failures only. */
  readonly failure_reason?: string;
  readonly duration_ms?: number;
  readonly spiffe_id?: string;
  readonly entry_id?: string;
  /** Hexadecimal serial of a certificate, or the key id of a token. */
  readonly serial?: string;
  readonly authority_id?: string;
  readonly policy?: string;
  /** ISO 8601 in UTC. */
  readonly expires_at?: string;
  readonly ttl_seconds?: number;
}

/** What the audit log holds, by the name of the event. Never a key or a token. */
export type AuditEvent =
  | ({
      readonly event: 'workload_attestation';
      /** The attestors that answered, such as `unix,docker`. */
      readonly attestation_method: string;
    } & AuditEventFields)
  | ({
      readonly event: 'svid_issued';
      readonly svid_type: 'x509' | 'jwt';
      /** Whether it replaces one that its holder has. */
      readonly rotation: boolean;
      readonly audience?: readonly string[];
    } & AuditEventFields)
  | ({ readonly event: 'entry_changed'; readonly change: 'created' | 'updated' | 'deleted' } & AuditEventFields)
  | ({
      readonly event: 'authority_changed';
      readonly change: 'prepared' | 'activated' | 'retired' | 'tainted' | 'revoked' | 'pruned';
    } & AuditEventFields)
  | ({
      readonly event: 'bundle_changed';
      readonly change: 'set' | 'deleted';
      readonly trust_domain: string;
    } & AuditEventFields)
  | ({ readonly event: 'revoked'; readonly change: 'revoked' | 'undone'; readonly reason?: string } & AuditEventFields)
  | ({
      readonly event: 'policy_changed';
      /** `released`: what a rollback held back may come into force again. */
      readonly change: 'rolled_back' | 'released';
      /** Of the policy that is in force then. */
      readonly digest: string;
      readonly reason?: string;
    } & AuditEventFields)
  | ({ readonly event: 'call_refused' } & AuditEventFields)
  | ({ readonly event: 'admin_call'; readonly role?: string } & AuditEventFields)
  | ({ readonly event: 'state_restored' } & AuditEventFields);

/** Where the rooms put what must be accounted for. */
export interface AuditLog {
  /**
   * Writes one line. Throws `audit_failed` when it cannot and `audit.required` is set: then what it is about must not
   * happen. Otherwise a failure is logged and counted.
   */
  record(event: AuditEvent): void;
}

export const noAudit: AuditLog = { record: () => undefined };

interface AuditFieldDescription {
  readonly type: 'text' | 'texts' | 'number' | 'flag';
  readonly meaning: string;
}

type NamesOf<T> = T extends unknown ? keyof T & string : never;
/** A line has no objects: what is known of the caller stands beside the rest. */
type AuditFieldName =
  Exclude<NamesOf<AuditEvent>, 'caller'> | 'selectors' | `caller_${Exclude<keyof AuditCaller, 'selectors'>}`;

/**
 * The fields of a line of the audit log, in their order in the line, after `time` and `level`.
 * docs/reference/audit-log.md is made from this table.
 */
export const AUDIT_FIELD_CATALOGUE = {
  event: { type: 'text', meaning: 'What happened; see above.' },
  change: { type: 'text', meaning: 'What became of the entry, authority, bundle, policy or revocation.' },
  result: { type: 'text', meaning: '`success` or `failure`.' },
  failure_reason: { type: 'text', meaning: 'Failures only: why, as an [error code](errors.md) and its message.' },
  method: { type: 'text', meaning: 'The RPC, command or part of svidgate that caused it.' },
  role: { type: 'text', meaning: 'The role that the caller of the admin API has.' },
  caller_pid: { type: 'number', meaning: "The caller's process, from the kernel." },
  caller_uid: { type: 'number', meaning: "The caller's user, from the kernel." },
  caller_gid: { type: 'number', meaning: "The caller's group, from the kernel." },
  caller_executable: { type: 'text', meaning: 'The path of the program that the caller runs.' },
  selectors: { type: 'texts', meaning: 'What attestation found out about the caller.' },
  attestation_method: { type: 'text', meaning: 'The attestors that answered, such as `unix,docker`.' },
  svid_type: { type: 'text', meaning: '`x509` or `jwt`.' },
  spiffe_id: { type: 'text', meaning: 'The SPIFFE ID that was given, refused or revoked.' },
  audience: { type: 'texts', meaning: 'Whom a JWT-SVID is for.' },
  entry_id: { type: 'text', meaning: 'The registration entry that gave it, or that was changed.' },
  serial: { type: 'text', meaning: 'The serial number of a certificate in hex, or the key id of a token.' },
  authority_id: { type: 'text', meaning: 'The authority that signed it, or that was changed.' },
  policy: { type: 'text', meaning: 'The policy that was changed, or whose shadow report was cleared.' },
  digest: { type: 'text', meaning: 'The state of the policy that is in force then.' },
  trust_domain: { type: 'text', meaning: 'The foreign trust domain whose bundle was changed.' },
  rotation: { type: 'flag', meaning: 'Whether the SVID replaces one that its holder has.' },
  reason: { type: 'text', meaning: 'Why it was revoked, or the policy changed.' },
  expires_at: { type: 'text', meaning: 'When what was given ends, ISO 8601 in UTC.' },
  ttl_seconds: { type: 'number', meaning: 'For how long it was given, in seconds.' },
  duration_ms: { type: 'number', meaning: 'How long it took, in milliseconds.' },
} as const satisfies Record<AuditFieldName, AuditFieldDescription>;

/** What happened, in words, for the reference page. */
export const AUDIT_EVENT_MEANINGS = {
  workload_attestation: 'A caller was attested, or could not be.',
  svid_issued: 'An SVID was issued, or refused.',
  entry_changed: 'A registration entry was created, updated or deleted.',
  authority_changed: 'A CA or JWT key was prepared, activated, retired, tainted, revoked or pruned.',
  bundle_changed: 'The bundle of a foreign trust domain was set or deleted.',
  revoked: 'An SVID or a SPIFFE ID was revoked, or that was undone.',
  policy_changed: 'A policy was rolled back, or such a rollback ended.',
  call_refused: 'A call of SDS or the Workload API was refused.',
  admin_call: 'The admin API was called.',
  state_restored: 'A backup took the place of entries, bundles, authorities and their keys; newer revocations stayed.',
} as const satisfies Record<AuditEvent['event'], string>;
