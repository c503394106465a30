import { hash } from 'node:crypto';
import { describeError, SvidgateError } from '../core/index.ts';
import type { PolicySnapshot, PolicyTools } from '../policy/index.ts';

/** The files of a policy and its tests, or why they cannot be read. */
export type PolicyState = PolicySnapshot | SvidgateError;

/** The policy as it is, and again whenever its files or tests are others, until the signal is aborted. */
export async function* policyStates(
  tools: PolicyTools,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<PolicyState, void, void> {
  const source = tools.source(path);
  let last: string | undefined;
  for await (const _ of source.changes(signal)) {
    const state = await source.read(signal).catch((error: unknown) => SvidgateError.from(error));
    signal.throwIfAborted();
    const trace = state instanceof SvidgateError ? describeError(state) : JSON.stringify([state.digest, state.tests]);
    const digest = hash('sha256', trace);
    // A change of the folder is often none of the policy.
    if (digest !== last) yield state;
    last = digest;
  }
}
