import { Worker, type MessagePort } from 'node:worker_threads';

export interface ThreadOptions {
  readonly workerData: unknown;
  /** What moves to the thread, rather than being copied. */
  readonly transfer: readonly MessagePort[];
  /** Limit of the thread's JavaScript heap; WASM memory does not count. */
  readonly maxHeapMb: number;
}

/**
 * Starts a thread from the file of this room with that name. In the sources the file is TypeScript, in the package
 * JavaScript: it has the extension of this one. What the thread prints is dropped (node:wasi warns that it is
 * experimental); what goes wrong in it arrives as an `error` event.
 */
export function startThread(name: string, options: ThreadOptions): Worker {
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  const thread = new Worker(new URL(`./${name}${extension}`, import.meta.url), {
    workerData: options.workerData,
    transferList: [...options.transfer],
    env: {},
    execArgv: [],
    name: `svidgate ${name}`,
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: options.maxHeapMb },
  });
  thread.stdout.resume();
  thread.stderr.resume();
  return thread;
}
