import { SvidgateError } from '../core/index.ts';
import type { PolicyProblem } from './problem.ts';

/** Every mistake of the policy at the path: unreadable files, Rego and data that do not compile, no such entrypoint. */
export async function checkPolicyFolder(
  _path: string,
  _entrypoint: string,
  _signal: AbortSignal,
): Promise<readonly PolicyProblem[]> {
  throw new SvidgateError('internal', 'the policy engine is not there yet');
}
