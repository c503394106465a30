import { SvidgateError, systemClock } from '../core/index.ts';
import { offeredBuiltins } from './builtins/offered.ts';
import type { PolicyProblem } from './problem.ts';
import { createRegoCompiler } from './rego-compiler.ts';
import { readSnapshot } from './snapshot.ts';

export interface CheckedPolicy {
  readonly path: string;
  readonly entrypoint: string;
  /** Whether it may ask others: `authz.http_send` is there. Default: false. */
  readonly asksNetwork?: boolean;
}

/**
 * Every mistake of the policy at the path: files that cannot be read, Rego and data that do not compile, an entrypoint
 * that no rule defines. Empty when the server would activate it. Throws only when the signal is aborted or the compiler
 * itself cannot run.
 */
export async function checkPolicyFolder(
  { path, entrypoint, asksNetwork = false }: CheckedPolicy,
  signal: AbortSignal,
): Promise<readonly PolicyProblem[]> {
  try {
    const { files } = await readSnapshot(path);
    const built = await createRegoCompiler({ clock: systemClock, builtins: offeredBuiltins(asksNetwork) }).build(
      files,
      entrypoint,
      signal,
    );
    return built.kind === 'refused' ? built.problems : built.unusable;
  } catch (error) {
    if (error instanceof SvidgateError && (error.code === 'file_unreadable' || error.code === 'policy_invalid')) {
      return [{ code: error.code, message: error.message, file: '', line: 0, column: 0 }];
    }
    throw error;
  }
}
