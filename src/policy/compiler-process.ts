import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { SvidgateError, type Clock } from '../core/index.ts';
import { startThread } from './thread.ts';
import { withinLimit } from './time-limit.ts';

/** One run of the compiler program. */
export interface CompilerRun {
  readonly module: WebAssembly.Module;
  readonly request: Uint8Array;
  readonly outputLimitBytes: number;
}

/** What the compiler's thread is given. */
export interface CompilerJob extends CompilerRun {
  /** Where it sends its CompilerResult. */
  readonly port: MessagePort;
}

export interface CompilerResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: string;
}

export interface CompilerRunOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** After this long the thread is ended and the run fails with `deadline_exceeded`. */
  readonly timeLimitMs: number;
}

/** Request and response lie outside the thread's heap, the program has memory of its own: the heap stays small. */
const MAX_HEAP_MB = 1024;

/** Runs the program in a thread of its own, which has ended when the promise settles. */
export async function runCompilerThread(run: CompilerRun, options: CompilerRunOptions): Promise<CompilerResult> {
  const { clock, signal, timeLimitMs } = options;
  signal.throwIfAborted();
  const { port1: port, port2: theirPort } = new MessageChannel();
  const job: CompilerJob = { ...run, port: theirPort };
  const thread = startThread('compiler-worker', { workerData: job, transfer: [theirPort], maxHeapMb: MAX_HEAP_MB });
  const answer = Promise.withResolvers<CompilerResult>();
  const fail = (cause: unknown): void => {
    answer.reject(new SvidgateError('internal', 'the Rego compiler failed', { cause }));
  };
  port.once('message', answer.resolve);
  thread.once('error', fail);
  thread.once('exit', () => {
    const last = receiveMessageOnPort(port); // sent before the exit, not delivered yet
    if (last === undefined) fail('its thread ended without an answer');
    else answer.resolve(last.message as CompilerResult);
  });
  try {
    return await withinLimit(answer.promise, { clock, signal, limitMs: timeLimitMs, what: 'compiling Rego' });
  } finally {
    await thread.terminate();
    port.close();
  }
}
