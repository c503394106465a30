import { NON_DETERMINISTIC_BUILTINS } from '../builtins/offered.ts';
import type { CompiledPolicy } from '../compiled-policy.ts';
import type { PolicyProblem } from '../problem.ts';
import type { PolicySnapshot } from '../snapshot-source.ts';
import { redirectNatives } from './redirect-natives.ts';

export type CompiledModule =
  | ({ readonly kind: 'built' } & CompiledPolicy)
  | { readonly kind: 'refused'; readonly problems: readonly PolicyProblem[] };

/**
 * A policy whose rules are in a compiled module alone, for one of the entrypoints that it was compiled for. What it reads and
 * calls is not known: it may be anything. Throws as redirectNatives.
 */
export async function compiledModule(
  { wasm, files }: PolicySnapshot & Required<Pick<PolicySnapshot, 'wasm'>>,
  entrypoint: string,
): Promise<CompiledModule> {
  if (!wasm.entrypoints.includes(entrypoint)) {
    const there = wasm.entrypoints.join(', ');
    const message =
      `rules of the bundle are in its compiled module alone, which answers ${there} and not ${entrypoint}; ` +
      'build the bundle with `opa build -t rego`, or for this entrypoint';
    return { kind: 'refused', problems: [{ code: 'entrypoint', message, file: '', line: 0, column: 0 }] };
  }
  const data = new TextEncoder().encode(files.data['data.json'] ?? '{}');
  const bytes = await redirectNatives(wasm.bytes);
  return { kind: 'built', wasm: bytes, data, warnings: [], reads: null, calls: NON_DETERMINISTIC_BUILTINS };
}
