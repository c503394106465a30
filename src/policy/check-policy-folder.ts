import { SvidgateError, systemClock } from '../core/index.ts';
import { offeredBuiltins } from './builtins/offered.ts';
import type { VerifyRules } from './bundle/bundle-verification.ts';
import { compiledModule } from './bundle/compiled-module.ts';
import { pathSource } from './path-source.ts';
import type { PolicyProblem } from './problem.ts';
import { createRegoCompiler } from './rego-compiler.ts';
import { createRegoProgram } from './rego-program.ts';

export interface CheckedPolicy {
  readonly path: string;
  readonly entrypoint: string;
  /** Whether it may ask others: `authz.http_send` is there. Default: false. */
  readonly asksNetwork?: boolean;
  /** Whose signature a bundle must bear. */
  readonly verify?: VerifyRules;
}

/**
 * Every mistake of the policy at the path: files that cannot be read, a bundle that is refused, Rego and data that do not
 * compile, an entrypoint that no rule defines. Empty when the server would activate it. Throws only when the signal is aborted
 * or the compiler itself cannot run.
 */
export async function checkPolicyFolder(
  { path, entrypoint, asksNetwork = false, verify }: CheckedPolicy,
  signal: AbortSignal,
): Promise<readonly PolicyProblem[]> {
  const clock = systemClock;
  const program = createRegoProgram({ clock });
  try {
    const source = pathSource(path, { clock, program, ...(verify === undefined ? {} : { verify }) });
    const { wasm, ...snapshot } = await source.read(signal);
    if (wasm !== undefined) {
      const module = await compiledModule({ ...snapshot, wasm }, entrypoint);
      return module.kind === 'refused' ? module.problems : [];
    }
    const compiler = createRegoCompiler({ clock, builtins: offeredBuiltins(asksNetwork), program });
    const built = await compiler.build(snapshot.files, entrypoint, signal);
    return built.kind === 'refused' ? built.problems : built.unusable;
  } catch (error) {
    if (error instanceof SvidgateError && (error.code === 'file_unreadable' || error.code === 'policy_invalid')) {
      return [{ code: error.code, message: error.message, file: '', line: 0, column: 0 }];
    }
    throw error;
  }
}
