/**
 * endpoints/admin: what operators ask of a running server, and change in it.
 * Promises: the kernel says who calls, never the message; a method that the table of rights does not name is refused; every
 * call is audited; what a call cannot do changes nothing. Must not know how anything is kept or signed.
 */
export { NEEDS, type AdminCaller, type AdminRole, type Need } from './access.ts';
export { ADMIN_MAX_MESSAGE_BYTES } from './request-size.ts';
export { createAdminEndpoint, type AdminEndpointOptions } from './admin-endpoint.ts';
export type { AuthorityAdmin, AuthorityKind, AuthorityName, AuthoritySlot } from './authority-service.ts';
export type { ForeignBundle, ForeignBundleAdmin } from './bundle-service.ts';
export { toEntryFields } from './entry-message.ts';
export type { EntryAdmin } from './entry-service.ts';
export type { AttestationExplanation, AttestorFinding, ExplainAttestation } from './explain-service.ts';
export type { PolicyHistoryAdmin } from './policy-history-service.ts';
export type { PolicyAdmin } from './policy-service.ts';
export type { RevocationAdmin } from './revocation-service.ts';
export type { TakeBackup } from './state-service.ts';
export type {
  AuditReport,
  ConnectedEnvoy,
  DecisionLogReport,
  DecisionSinkReport,
  EntriesReport,
  HeldResource,
  ListenerStatus,
  PolicyReport,
  RevocationsReport,
  StatusReport,
} from './status-report.ts';
export type { StatusProvider } from './status-service.ts';
