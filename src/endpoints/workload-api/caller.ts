import { SvidgateError, type AuditCaller } from '../../core/index.ts';
import type { Attestation } from '../../attestation/index.ts';
import type { Selector } from '../../spiffe/index.ts';
import type { CallContext, PeerProcess } from '../../transport/index.ts';

/** Who called, proven. */
export interface Caller {
  readonly selectors: ReadonlySet<Selector>;
  /** For the audit log. */
  readonly audit: AuditCaller;
  /** Throws `attestation_failed` when the process that was attested is gone. Asked before each answer. */
  readonly assertAlive: () => void;
}

export interface WorkloadAttestor {
  attest(peer: PeerProcess): Promise<Attestation>;
}

/**
 * Throws `invalid_request` unless the call carries the header that a browser or a redirected request would not (Workload
 * Endpoint §4.2), once and with exactly this value.
 */
export function checkSecurityHeader(call: CallContext): void {
  const values = call.header('workload.spiffe.io');
  if (values.length !== 1 || values[0] !== 'true') {
    throw new SvidgateError('invalid_request', 'security header missing from request');
  }
}

/** The process at the other end. Throws `attestation_failed` where there is none that the kernel knows. */
export function processOf({ peer }: CallContext): PeerProcess {
  if (peer.kind === 'unix') return peer.process;
  throw new SvidgateError('attestation_failed', 'the Workload API is served on a Unix socket only');
}

/** Throws what the attestor throws. */
export async function attestCaller(call: CallContext, attestor: WorkloadAttestor): Promise<Caller> {
  const process = processOf(call);
  const attestation = await attestor.attest(process);
  return {
    selectors: attestation.selectors,
    audit: attestation.caller, // without the values of environment variables, which `selectors` has
    assertAlive: () => attestation.assertAlive(),
  };
}

/** What the kernel alone says of the caller. */
export function auditCaller({ peer }: CallContext): AuditCaller {
  if (peer.kind !== 'unix') return {};
  const { pid, uid, gid } = peer.process;
  return { pid, uid, gid };
}
