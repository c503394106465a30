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
  | ({ readonly event: 'workload_api_refused' } & AuditEventFields)
  | ({ readonly event: 'admin_call'; readonly role?: string } & AuditEventFields);

/** Where the rooms put what must be accounted for. */
export interface AuditLog {
  /**
   * Writes one line. Throws `audit_failed` when it cannot and `audit.required` is set: then what it is about must not
   * happen. Otherwise a failure is logged and counted.
   */
  record(event: AuditEvent): void;
}

export const noAudit: AuditLog = { record: () => undefined };
