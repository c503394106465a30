import {
  describeError,
  SvidgateError,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type LogFields,
  type Logger,
  type Metrics,
} from '../core/index.ts';
import type { Selector } from '../spiffe/index.ts';
import type { PeerProcess } from '../transport/index.ts';
import type { PeerTracker, TrackedProcess } from './peer-tracker.ts';
import { readProcessImage, sameImage, type ProcessImage } from './process-files.ts';
import { maskSelector } from './selectors.ts';
import { askAttestors, type AttestorAnswer, type WorkloadAttestor } from './workload-attestor.ts';

export interface AttestorOptions {
  readonly tracker: PeerTracker;
  /** At least one, each with a name of its own. */
  readonly attestors: readonly WorkloadAttestor[];
  /** Callers of another pid namespace (pid 0) are attested by user and group alone, instead of being refused. */
  readonly allowWithoutPid: boolean;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** A caller whose selectors are proven. */
export interface Attestation {
  readonly selectors: ReadonlySet<Selector>;
  /** For the audit log: without what may be secret. */
  readonly caller: AuditCaller;
  /** The attestors that failed. While there are any, a selector that is missing may be there later. */
  readonly failedAttestors: readonly string[];
  /** Throws `attestation_failed` unless the process still lives and runs what was attested. Ask before each secret: it looks once in a turn of the event loop. */
  assertAlive(): void;
}

export interface Attestor {
  /**
   * Finds out the caller's selectors: once for each connection, but again after a failure, and every now and then in
   * the background while an attestor is missing. Throws `attestation_failed`, or `audit_failed` when it may not go
   * unrecorded.
   */
  attest(peer: PeerProcess): Promise<Attestation>;
}

/** How soon a missing attestor is asked again for a connection that is in use. */
const RETRY_AFTER_MS = 5000;

interface Known {
  latest: Promise<Attestation>;
  /** When to try again; epoch milliseconds. */
  retryAt: number;
}

/** Attests callers by all attestors together. One that fails is left out; when all do, the caller is refused. */
export function createAttestor(options: AttestorOptions): Attestor {
  const { clock } = options;
  const known = new WeakMap<PeerProcess, Known>();

  const begin = (peer: PeerProcess): Promise<Attestation> => {
    const running = attest(peer, options);
    const entry = known.get(peer) ?? { latest: running, retryAt: Infinity };
    entry.retryAt = Infinity;
    known.set(peer, entry);
    const settle = async (): Promise<void> => {
      try {
        const { failedAttestors } = await running;
        entry.latest = running;
        if (failedAttestors.length > 0) entry.retryAt = clock.now() + RETRY_AFTER_MS;
      } catch {
        // What failed may have passed (no file descriptor left), and Envoy asks again on the same connection.
        known.delete(peer);
      }
    };
    void settle();
    return running;
  };

  return {
    attest(peer) {
      const entry = known.get(peer);
      if (entry === undefined) return begin(peer);
      const { latest } = entry;
      if (clock.now() >= entry.retryAt) begin(peer).catch(() => undefined); // logged; whoever asks next is told
      return latest;
    },
  };
}

async function attest(peer: PeerProcess, options: AttestorOptions): Promise<Attestation> {
  const { tracker, audit, clock, metrics } = options;
  const startedAt = clock.now();
  const event = () =>
    ({ event: 'workload_attestation', method: 'attestation', duration_ms: clock.now() - startedAt }) as const;
  const attestors = options.attestors.map(({ name }) => name).join(',');
  let caller: AuditCaller = { pid: peer.pid, uid: peer.uid, gid: peer.gid };
  try {
    const process = tracker.trackedProcess(peer);
    const path = process.image?.path;
    if (path !== undefined) caller = { ...caller, executable: path };
    const answers = await discover(process, options);
    assertUnchanged(process);
    const attestation = toAttestation(process, answers, caller);
    const names = answers.flatMap(({ name, kind }) => (kind === 'answered' ? [name] : []));
    audit.record({ ...event(), attestation_method: names.join(','), caller: attestation.caller, result: 'success' });
    metrics.count('svidgate_attestations_total', { result: 'attested' });
    options.logger.info({ ...logFields(peer), selectors: attestation.caller.selectors ?? [] }, 'caller attested');
    return attestation;
  } catch (error) {
    metrics.count('svidgate_attestations_total', { result: 'failed' });
    options.logger.warn({ ...logFields(peer), reason: describeError(error) }, 'caller attestation failed');
    const failure =
      error instanceof SvidgateError
        ? error
        : new SvidgateError('attestation_failed', 'workload attestation failed', { cause: error });
    if (failure.code === 'audit_failed') throw failure;
    const reason = `${failure.code}: ${failure.message}`;
    audit.record({ ...event(), attestation_method: attestors, caller, result: 'failure', failure_reason: reason });
    throw failure;
  }
}

/** Asks every attestor, and drops those that fail unless all do. */
async function discover(process: TrackedProcess, options: AttestorOptions): Promise<readonly AttestorAnswer[]> {
  const { logger, metrics, clock } = options;
  if (process.image === undefined && !options.allowWithoutPid) {
    throw new SvidgateError('attestation_failed', 'the caller is outside of the pid namespace of svidgate');
  }
  const answers = await askAttestors(process, options.attestors, clock);
  process.exited.throwIfAborted(); // no attestor is to blame for that
  for (const answer of answers) {
    const fields = { ...logFields(process), attestor: answer.name };
    if (answer.kind === 'failed') {
      metrics.count('svidgate_attestor_failures_total', { attestor: answer.name });
      logger.warn({ ...fields, reason: answer.reason }, 'attestor failed');
    } else if (answer.leftOut > 0) {
      logger.warn({ ...fields, count: answer.leftOut }, 'selectors left out');
    }
  }
  const failures = answers.flatMap((answer) => (answer.kind === 'failed' ? [answer] : []));
  if (failures.length < answers.length) return answers;
  throw new SvidgateError('attestation_failed', 'no attestor could attest the caller', { cause: failures[0]?.cause });
}

/** The second reading: what was attested must be what connected, and it must still be there. */
export function assertUnchanged(process: TrackedProcess): void {
  process.assertAlive();
  if (process.image !== undefined && !sameImage(process.image, imageNow(process.pid))) {
    throw new SvidgateError('attestation_failed', 'the caller changed its executable during attestation');
  }
  process.assertAlive(); // what was read meanwhile was this process's
}

function imageNow(pid: number): ProcessImage {
  try {
    return readProcessImage(pid);
  } catch (error) {
    throw new SvidgateError('attestation_failed', 'the caller cannot be seen any more', { cause: error });
  }
}

function toAttestation(process: TrackedProcess, answers: readonly AttestorAnswer[], caller: AuditCaller): Attestation {
  const selectors = answers.flatMap((answer) => (answer.kind === 'answered' ? answer.selectors : []));
  return {
    selectors: new Set(selectors),
    caller: { ...caller, selectors: selectors.map(maskSelector) },
    failedAttestors: answers.flatMap(({ name, kind }) => (kind === 'failed' ? [name] : [])),
    assertAlive: () => process.assertAliveInTurn(),
  };
}

function logFields({ pid, uid, gid }: PeerProcess): LogFields {
  return { caller_pid: pid, caller_uid: uid, caller_gid: gid };
}
