import { Buffer } from 'node:buffer';
import { hash, webcrypto } from 'node:crypto';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { SvidgateError, type Clock } from '../core/index.ts';
import { OFFERED_BUILTINS, REDIRECTED_BUILTINS, WITHHELD_BUILTINS } from './builtins/offered.ts';
import { runCompilerThread } from './compiler-process.ts';
import type { InputPath } from './input-needs.ts';
import type { PolicyProblem } from './problem.ts';

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

const DEFAULT_TIME_LIMIT_MS = 20_000;
/** A compiled policy is some hundred KB; a response beyond this is a mistake. */
const OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024;
const KEEP_PROGRAM_MS = 60_000;
/** Holds for src/policy and for dist/policy. */
const PROGRAM_URL = new URL('../../tools/rego-compiler/build/rego-compiler.wasm', import.meta.url);

/**
 * The program stays compiled for a minute after a run, so that the next edit costs a third of the first: it holds 100
 * to 200 MB meanwhile, and 0 later.
 */
export function createRegoCompiler(options: RegoCompilerOptions): RegoCompiler {
  const { clock, timeLimitMs = DEFAULT_TIME_LIMIT_MS, builtins = OFFERED_BUILTINS } = options;
  const program = keepForAWhile(loadProgram, KEEP_PROGRAM_MS);
  const run = async (request: unknown, signal: AbortSignal): Promise<CompilerResponse> => {
    const { module } = await program();
    const job = { module, request: Buffer.from(JSON.stringify(request)), outputLimitBytes: OUTPUT_LIMIT_BYTES };
    const { exitCode, stdout, stderr } = await runCompilerThread(job, { clock, signal, timeLimitMs });
    if (exitCode !== 0) {
      throw new SvidgateError('internal', 'the Rego compiler failed', { cause: stderr.slice(0, 2000) });
    }
    return JSON.parse(Buffer.from(stdout).toString('utf8')) as CompilerResponse;
  };
  const digestWith = (programDigest: string): string =>
    hash('sha256', JSON.stringify([programDigest, builtins, REDIRECTED_BUILTINS, WITHHELD_BUILTINS]));
  let firstDigest: Promise<string> | undefined;
  return {
    async build(files, entrypoint, signal) {
      // Not digest(): an upgrade may have replaced the program since.
      const compilerDigest = digestWith((await program()).digest);
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
      const warnings = response.warnings ?? [];
      const { data = '{}', reads = null, requiredBuiltins: calls = [] } = response;
      return { kind: 'built', wasm, data, warnings, reads, calls, compilerDigest };
    },
    async digest() {
      firstDigest ??= readProgram().then(digestOf);
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
      readonly reads?: readonly InputPath[] | null;
      readonly requiredBuiltins?: readonly string[];
      readonly tests?: readonly PolicyTest[];
      readonly value?: string;
    };

interface Program {
  readonly module: WebAssembly.Module;
  /** Over its bytes. */
  readonly digest: string;
}

async function loadProgram(): Promise<Program> {
  const bytes = await readProgram();
  const [module, digest] = await Promise.all([WebAssembly.compile(bytes), digestOf(bytes)]);
  return { module, digest };
}

async function readProgram(): Promise<Buffer<ArrayBuffer>> {
  try {
    await using file = await open(PROGRAM_URL);
    const { size } = await file.stat();
    // In one piece: readFile comes back to the event loop 80 times, which at the start of the server is busy.
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(size), 0, size, 0);
    if (bytesRead < size) throw new Error('it ends early');
    return buffer;
  } catch (error) {
    const path = fileURLToPath(PROGRAM_URL);
    throw new SvidgateError('file_unreadable', `the Rego compiler ${path} cannot be read; run npm run setup`, {
      cause: error,
    });
  }
}

/** Of 40 MB, so in the thread pool. */
async function digestOf(bytes: Buffer<ArrayBuffer>): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('hex');
}

/** Loads once, and again when nothing asked for `keepMs` or loading failed. */
function keepForAWhile<T>(load: () => Promise<T>, keepMs: number): () => Promise<T> {
  let kept: Promise<T> | undefined;
  let timer: NodeJS.Timeout | undefined;
  const drop = (): void => {
    kept = undefined;
    clearTimeout(timer);
  };
  return async () => {
    clearTimeout(timer);
    // Not the Clock: it frees memory, nothing is decided by it, and it must not keep a process alive.
    timer = setTimeout(drop, keepMs).unref();
    kept ??= load();
    return await kept.catch((error: unknown) => {
      drop();
      throw error;
    });
  };
}
