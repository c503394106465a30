import { Buffer } from 'node:buffer';
import { hash } from 'node:crypto';
import type { Clock } from '../core/index.ts';
import { OFFERED_BUILTINS, REDIRECTED_BUILTINS, WITHHELD_BUILTINS } from './builtins/offered.ts';
import type { InputPath } from './input-needs.ts';
import type { PolicyProblem } from './problem.ts';
import { createRegoProgram, digestRegoProgram, type RegoProgram } from './rego-program.ts';

/** Rego and data by path below the policy folder, with `/` between segments. */
export interface PolicyFiles {
  readonly modules: Readonly<Record<string, string>>;
  /** Texts of data.json, data.yaml and data.yml; each is mounted at the path of its folder. */
  readonly data: Readonly<Record<string, string>>;
}

export type BuildResult =
  | {
      readonly kind: 'built';
      /** The WASM module, whose one entrypoint of interest is the one asked for. */
      readonly wasm: Uint8Array<ArrayBuffer>;
      /** JSON text of the base documents; its numbers are those of the files. */
      readonly data: string;
      /** What compiles but OPA's strict mode refuses. */
      readonly warnings: readonly PolicyProblem[];
      /** That the entrypoint, as far as its type tells, can give no decision; empty when it can. */
      readonly unusable: readonly PolicyProblem[];
      /** Paths in the input that the policy can look at; null: all of it. */
      readonly reads: readonly InputPath[] | null;
      /** Names of the builtins that it may call. */
      readonly calls: readonly string[];
      /** Digest of the compiler that made it: see RegoCompiler.digest. */
      readonly compilerDigest: string;
    }
  | { readonly kind: 'refused'; readonly problems: readonly PolicyProblem[] };

export interface PolicyTest {
  readonly package: string;
  readonly name: string;
  readonly outcome: 'pass' | 'fail' | 'error' | 'skip';
  /** With the outcome `error`. */
  readonly error?: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly durationMs: number;
  /** The cases that failed, of a test with several: `test_x[name]`. */
  readonly failedCases?: readonly string[];
  /** What print() wrote. */
  readonly output?: string;
}

export type TestResult =
  | { readonly kind: 'ran'; readonly tests: readonly PolicyTest[] }
  | { readonly kind: 'refused'; readonly problems: readonly PolicyProblem[] };

export interface EvaluationQuestion {
  readonly entrypoint: string;
  /** JSON text of the input. */
  readonly input: string;
  /** When the evaluation takes place, in nanoseconds since 1970. */
  readonly nowNs: bigint;
}

export type ReferenceResult =
  | { readonly kind: 'value'; /** JSON text: sets are arrays. */ readonly json: string }
  | { readonly kind: 'undefined' }
  | { readonly kind: 'refused'; readonly problems: readonly PolicyProblem[] };

export interface RegoCompilerOptions {
  readonly clock: Clock;
  /** How long one run may take. Default 20000. */
  readonly timeLimitMs?: number;
  /** What policies may call. Default: OFFERED_BUILTINS. */
  readonly builtins?: readonly string[];
  /** Shared by those that run it for something else, too. Default: one of its own, with the time limit above. */
  readonly program?: RegoProgram;
}

/** OPA's compiler and test runner. Each run is a new program in a thread of its own, without files or network. */
export interface RegoCompiler {
  /** Compiles one entrypoint; a policy with mistakes gives all those that OPA found, with their places. */
  build(files: PolicyFiles, entrypoint: string, signal: AbortSignal): Promise<BuildResult>;
  /** Runs every `test_` rule. Tests may call any builtin of OPA. */
  test(files: PolicyFiles, signal: AbortSignal): Promise<TestResult>;
  /** The value of the entrypoint as OPA's own evaluator gives it, not the compiled module: what that is measured by. */
  evaluate(files: PolicyFiles, question: EvaluationQuestion, signal: AbortSignal): Promise<ReferenceResult>;
  /**
   * Over what shapes the result of build() beside its arguments: the program and the offered builtins. sha256 in hex.
   * The program is read for it at the first call only. Throws `file_unreadable`.
   */
  digest(): Promise<string>;
}

export function createRegoCompiler(options: RegoCompilerOptions): RegoCompiler {
  const { builtins = OFFERED_BUILTINS, program = createRegoProgram(options) } = options;
  const run = async (request: unknown, signal: AbortSignal): Promise<CompilerResponse> => {
    return (await program.run(request, signal)) as CompilerResponse;
  };
  const digestWith = (programDigest: string): string =>
    hash('sha256', JSON.stringify([programDigest, builtins, REDIRECTED_BUILTINS, WITHHELD_BUILTINS]));
  let firstDigest: Promise<string> | undefined;
  return {
    async build(files, entrypoint, signal) {
      // Not digest(): an upgrade may have replaced the program since.
      const compilerDigest = digestWith(await program.digest());
      const request = {
        op: 'build',
        ...files,
        entrypoints: [entrypoint],
        builtins,
        redirected: REDIRECTED_BUILTINS,
        withheld: WITHHELD_BUILTINS,
      };
      const response = await run(request, signal);
      if (!response.ok) return { kind: 'refused', problems: response.errors };
      const wasm = new Uint8Array(Buffer.from(response.wasm ?? '', 'base64'));
      const { data = '{}', reads = null, requiredBuiltins: calls = [], warnings = [], unusable = [] } = response;
      return { kind: 'built', wasm, data, warnings, unusable, reads, calls, compilerDigest };
    },
    async digest() {
      firstDigest ??= digestRegoProgram();
      try {
        return digestWith(await firstDigest);
      } catch (error) {
        firstDigest = undefined;
        throw error;
      }
    },
    async evaluate(files, { entrypoint, input, nowNs }, signal) {
      const request = { op: 'eval', ...files, entrypoints: [entrypoint], input, nowNs: String(nowNs) };
      const response = await run(request, signal);
      if (!response.ok) return { kind: 'refused', problems: response.errors };
      return response.value === undefined ? { kind: 'undefined' } : { kind: 'value', json: response.value };
    },
    async test(files, signal) {
      const response = await run({ op: 'test', ...files }, signal);
      if (!response.ok) return { kind: 'refused', problems: response.errors };
      return { kind: 'ran', tests: response.tests ?? [] };
    },
  };
}

type CompilerResponse =
  | { readonly ok: false; readonly errors: readonly PolicyProblem[] }
  | {
      readonly ok: true;
      readonly wasm?: string;
      readonly data?: string;
      readonly warnings?: readonly PolicyProblem[];
      readonly unusable?: readonly PolicyProblem[];
      readonly reads?: readonly InputPath[] | null;
      readonly requiredBuiltins?: readonly string[];
      readonly tests?: readonly PolicyTest[];
      readonly value?: string;
    };
