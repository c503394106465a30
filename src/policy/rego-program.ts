import { Buffer } from 'node:buffer';
import { webcrypto } from 'node:crypto';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { SvidgateError, type Clock } from '../core/index.ts';
import { compileProgram } from './compile-program.ts';
import { runCompilerThread } from './compiler-process.ts';

/** The program of tools/rego-compiler. Each run is in a thread of its own, without files or network. */
export interface RegoProgram {
  /** The response to one request, both as main.go has them. Throws `internal`, `deadline_exceeded` or the signal's reason. */
  run(request: unknown, signal: AbortSignal): Promise<unknown>;
  /** Over the bytes of what run() runs now, sha256 in hex. */
  digest(): Promise<string>;
}

export interface RegoProgramOptions {
  readonly clock: Clock;
  /** How long one run may take. Default 20000. */
  readonly timeLimitMs?: number;
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
export function createRegoProgram({ clock, timeLimitMs = DEFAULT_TIME_LIMIT_MS }: RegoProgramOptions): RegoProgram {
  const program = keepForAWhile(loadProgram, KEEP_PROGRAM_MS);
  return {
    digest: async () => (await program()).digest,
    async run(request, signal) {
      const { module } = await program();
      const job = { module, request: Buffer.from(JSON.stringify(request)), outputLimitBytes: OUTPUT_LIMIT_BYTES };
      const { exitCode, stdout, stderr } = await runCompilerThread(job, { clock, signal, timeLimitMs });
      if (exitCode !== 0) {
        throw new SvidgateError('internal', 'the Rego compiler failed', { cause: stderr.slice(0, 2000) });
      }
      return JSON.parse(Buffer.from(stdout).toString('utf8')) as unknown;
    },
  };
}

/** Of the file as it is now, which is not compiled for it. Throws `file_unreadable`. */
export async function digestRegoProgram(): Promise<string> {
  return await digestOf(await readProgram());
}

interface Program {
  readonly module: WebAssembly.Module;
  /** Over its bytes. */
  readonly digest: string;
}

async function loadProgram(): Promise<Program> {
  const bytes = await readProgram();
  const [module, digest] = await Promise.all([compileProgram(bytes), digestOf(bytes)]);
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
