import { describeError, type Clock, type Logger } from '../core/index.ts';
import type { BuiltinsProgram } from './builtins/builtins-program.ts';
import { NETWORK_BUILTINS, NON_DETERMINISTIC_BUILTINS } from './builtins/offered.ts';
import { compiledModule } from './bundle/compiled-module.ts';
import type { CompiledPolicy, CompiledPolicyOrigin } from './compiled-policy.ts';
import type { KeptPolicies } from './compiled-policy-cache.ts';
import { Evaluator } from './evaluator.ts';
import { toInputNeeds, type InputNeeds } from './input-needs.ts';
import { LOG_RULES_ENTRYPOINT } from './log-rules.ts';
import type { PolicyProblem } from './problem.ts';
import type { RegoCompiler } from './rego-compiler.ts';
import type { PolicySnapshot } from './snapshot-source.ts';
import type { PolicyNetwork } from './suspended-calls.ts';

export interface PolicyLoaderOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly compiler: RegoCompiler;
  /** Compiled policies of earlier; none: every snapshot is compiled. */
  readonly kept?: KeptPolicies;
  /** See EvaluatorOptions. */
  readonly queueLimit: number;
  /** See LoadedModule. */
  readonly givesWay: boolean;
  /** See EvaluatorOptions. */
  readonly program?: BuiltinsProgram;
  /** Whom the policy may ask; default: nobody. */
  readonly network?: PolicyNetwork;
}

export type LoadResult = LoadedPolicy | { readonly kind: 'refused'; readonly problems: readonly PolicyProblem[] };

export interface LoadedPolicy {
  readonly kind: 'loaded';
  /** Warm; whoever gets it closes it. */
  readonly evaluator: Evaluator;
  /** JSON text of the base documents in UTF-8. */
  readonly data: Uint8Array;
  /** Whether it was compiled now, or earlier from the same files by the same compiler. */
  readonly origin: 'compiled' | 'kept';
  readonly warnings: readonly PolicyProblem[];
  /** What of the input it can look at. */
  readonly needs: InputNeeds;
  /** Whether its answers depend on nothing but its input and its data. */
  readonly isPure: boolean;
  /** Whether its answers may depend on what others say. */
  readonly asksNetwork: boolean;
  /** Digest of its own tests that passed when it was kept. */
  readonly testsPassed?: string;
  /** Keeps what was compiled for the next start, and which tests passed. Never rejects. */
  readonly keep: (testsPassed?: string) => Promise<void>;
}

/** From the files of a policy to an evaluator: by way of the compiler, unless its result is still there. */
export interface PolicyLoader {
  /** Throws as the compiler and the evaluator do. */
  load(snapshot: PolicySnapshot, entrypoint: string, signal: AbortSignal): Promise<LoadResult>;
}

export function createPolicyLoader(options: PolicyLoaderOptions): PolicyLoader {
  const { clock, logger, compiler, kept, givesWay, queueLimit, program, network } = options;
  const evaluatorOptions = {
    clock,
    logger,
    queueLimit,
    ...(program === undefined ? {} : { program }),
    ...(network === undefined ? {} : { network }),
  };

  const start = async (compiled: CompiledPolicy, { how, from }: Origin, signal: AbortSignal): Promise<LoadedPolicy> => {
    const module = await WebAssembly.compile(compiled.wasm);
    const loaded = { module, entrypoint: from.entrypoint, data: compiled.data, givesWay };
    const evaluator = await Evaluator.start(loaded, evaluatorOptions, signal);
    return { ...describe(compiled, how), evaluator, keep: keeperOf(compiled, { how, from }, kept) };
  };

  const startKept = async (
    snapshotDigest: string,
    entrypoint: string,
    signal: AbortSignal,
  ): Promise<LoadedPolicy | undefined> => {
    if (kept === undefined) return undefined;
    const origin = { snapshotDigest, entrypoint, compilerDigest: await compiler.digest() };
    const compiled = await kept.load(origin);
    if (compiled === undefined) return undefined;
    try {
      return await start(compiled, { how: 'kept', from: origin }, signal);
    } catch (error) {
      signal.throwIfAborted();
      // It was in force before it was kept: that it is refused now says nothing about the files.
      logger.warn({ reason: describeError(error) }, 'kept policy not used');
      return undefined;
    }
  };

  return {
    async load(snapshot, entrypoint, signal) {
      const found = await startKept(snapshot.digest, entrypoint, signal);
      if (found !== undefined) return found;
      const { wasm } = snapshot;
      if (wasm !== undefined) {
        const module = await compiledModule({ ...snapshot, wasm }, entrypoint);
        if (module.kind === 'refused') return module;
        const from = { snapshotDigest: snapshot.digest, entrypoint, compilerDigest: await compiler.digest() };
        return await start(module, { how: 'compiled', from }, signal);
      }
      const built = await compiler.build(snapshot.files, entrypoint, signal);
      if (built.kind === 'refused') return built;
      const { kind: _, compilerDigest, unusable, ...rest } = built;
      // Log rules give no decision.
      if (unusable.length > 0 && entrypoint !== LOG_RULES_ENTRYPOINT) return { kind: 'refused', problems: unusable };
      const compiled = { ...rest, data: new TextEncoder().encode(built.data) };
      const from = { snapshotDigest: snapshot.digest, entrypoint, compilerDigest };
      return await start(compiled, { how: 'compiled', from }, signal);
    },
  };
}

interface Origin {
  readonly how: LoadedPolicy['origin'];
  readonly from: CompiledPolicyOrigin;
}

/** What is kept already is written again only when other tests have passed. */
function keeperOf(
  compiled: CompiledPolicy,
  { how, from }: Origin,
  kept: KeptPolicies | undefined,
): LoadedPolicy['keep'] {
  const { testsPassed: before } = compiled;
  return async (testsPassed = before) => {
    if (how === 'kept' && testsPassed === before) return;
    await kept?.save(from, { ...compiled, ...(testsPassed === undefined ? {} : { testsPassed }) });
  };
}

function describe(
  { data, warnings, reads, calls, testsPassed }: CompiledPolicy,
  origin: LoadedPolicy['origin'],
): Omit<LoadedPolicy, 'evaluator' | 'keep'> {
  return {
    kind: 'loaded',
    origin,
    data,
    warnings,
    needs: toInputNeeds(reads),
    isPure: !calls.some((name) => NON_DETERMINISTIC_BUILTINS.includes(name)),
    asksNetwork: calls.some((name) => NETWORK_BUILTINS.includes(name)),
    ...(testsPassed === undefined ? {} : { testsPassed }),
  };
}
