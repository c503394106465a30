import { describeError, SvidgateError, type Clock } from '../core/index.ts';
import type { Selector } from '../spiffe/index.ts';
import { abortable } from './abortable.ts';
import type { TrackedProcess } from './peer-tracker.ts';
import { acceptSelectors } from './selectors.ts';

/** Finds out one kind of facts about a process. */
export interface WorkloadAttestor {
  /** The type of its selectors: `unix`, `systemd`, `docker` or `k8s`. */
  readonly name: string;
  /** How long it may take, in milliseconds; an attestor that takes longer has failed. */
  readonly timeoutMs: number;
  /**
   * Selector values without the type, such as `uid:1001`; none when the process is not of its kind, in no container for
   * instance. May throw anything. It goes by pid: who asks makes sure before and after that the process is the same.
   */
  attest(process: TrackedProcess, signal: AbortSignal): Promise<readonly string[]>;
}

/** What came of asking one attestor. */
export type AttestorAnswer = { readonly name: string } & (
  | { readonly kind: 'answered'; readonly selectors: readonly Selector[]; readonly leftOut: number }
  | { readonly kind: 'failed'; readonly reason: string; readonly cause: unknown }
);

/** Made once: an error with its stack for each caller costs more than the rest of the question. */
const ANSWERED = new SvidgateError('canceled', 'the attestor has answered');

/** Asks all attestors side by side, each within its own time. Never rejects; the answers stand in the order of the attestors. */
export function askAttestors(
  process: TrackedProcess,
  attestors: readonly WorkloadAttestor[],
  clock: Clock,
): Promise<readonly AttestorAnswer[]> {
  return Promise.all(attestors.map((attestor) => ask(process, attestor, clock)));
}

async function ask(process: TrackedProcess, attestor: WorkloadAttestor, clock: Clock): Promise<AttestorAnswer> {
  const { name, timeoutMs } = attestor;
  const stop = new AbortController();
  const signal = AbortSignal.any([process.exited, stop.signal]);
  const tooLong = (): void =>
    stop.abort(new SvidgateError('deadline_exceeded', `the ${name} attestor took longer than ${timeoutMs / 1000} s`));
  clock.sleep(timeoutMs, signal).then(tooLong, () => undefined);
  try {
    const values = await abortable(attestor.attest(process, signal), signal);
    return { name, kind: 'answered', ...acceptSelectors(name, values) };
  } catch (error) {
    return { name, kind: 'failed', reason: describeError(error), cause: error };
  } finally {
    stop.abort(ANSWERED); // ends the time-out, and whatever the attestor still does
  }
}
