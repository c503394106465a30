import type { Clock } from '../core/index.ts';
import type { RegistrationEntry } from '../spiffe/index.ts';
import { assertUnchanged } from './attestor.ts';
import { rankEntries, type RankedEntries } from './nearest-entries.ts';
import type { PeerTracker } from './peer-tracker.ts';
import { maskSelector } from './selectors.ts';
import { askAttestors, type AttestorAnswer, type WorkloadAttestor } from './workload-attestor.ts';

export interface ExplainRequest {
  readonly pid: number;
  readonly tracker: PeerTracker;
  readonly attestors: readonly WorkloadAttestor[];
  /** Those in force. */
  readonly entries: readonly RegistrationEntry[];
  readonly clock: Clock;
}

/** What a process would get if it connected now, and why. */
export interface Explanation extends RankedEntries {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** Absent when we may not see it. */
  readonly executable?: string;
  readonly attestors: readonly ExplainedAttestor[];
}

export interface ExplainedAttestor {
  readonly name: string;
  /** As they may be shown: without the values of environment variables. */
  readonly selectors: readonly string[];
  /** How many values were too long, unfit to be shown, or too many. */
  readonly leftOut: number;
  /** Why it failed; absent when it did not. */
  readonly failure?: string;
}

/**
 * Attests a process by its pid as if it had connected, and compares it with the entries. Throws `not_found` when there
 * is no such process, `attestation_failed` when it ends or becomes another program meanwhile.
 */
export async function explainAttestation(request: ExplainRequest): Promise<Explanation> {
  const { attestors, clock, entries } = request;
  const process = request.tracker.observe(request.pid);
  try {
    const answers = await askAttestors(process, attestors, clock);
    assertUnchanged(process);
    const selectors = new Set(answers.flatMap((answer) => (answer.kind === 'answered' ? answer.selectors : [])));
    const { pid, uid, gid, image } = process;
    return {
      pid,
      uid,
      gid,
      ...(image?.path === undefined ? {} : { executable: image.path }),
      attestors: answers.map(toExplained),
      ...(await rankEntries({ entries, selectors, now: clock.now() })),
    };
  } finally {
    process.close();
  }
}

function toExplained(answer: AttestorAnswer): ExplainedAttestor {
  const { name } = answer;
  return answer.kind === 'answered'
    ? { name, selectors: answer.selectors.map(maskSelector), leftOut: answer.leftOut }
    : { name, selectors: [], leftOut: 0, failure: answer.reason };
}
