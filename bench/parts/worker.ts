import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What a worker can be asked for: a name and one argument each. */
export type Jobs = Readonly<Record<string, (argument: never) => Promise<unknown>>>;

/** A process of its own, so that the load does not share a thread with what it measures or with who counts. */
export interface Worker<J extends Jobs> extends AsyncDisposable {
  readonly pid: number;
  /** Rejects when the job fails or the process ends. */
  ask<K extends keyof J & string>(job: K, argument: Parameters<J[K]>[0]): Promise<Awaited<ReturnType<J[K]>>>;
}

export interface Question {
  readonly id: number;
  readonly job: string;
  readonly argument: unknown;
}

export type Reply = { readonly id: number } & ({ readonly result: unknown } | { readonly failure: string });

/**
 * Starts a module of this folder that calls `serveJobs`. It ends when it is disposed of, or with this process.
 * `executable` is the Node to run it with, by default our own: what `unix:path` sees.
 */
export function startWorker<J extends Jobs>(module: string, executable = process.execPath): Worker<J> {
  const file = fileURLToPath(new URL(module, import.meta.url));
  const child = fork(file, { serialization: 'advanced', execPath: executable, execArgv: [] });
  const open = new Map<number, PromiseWithResolvers<unknown>>();
  const failAll = (reason: string): void => {
    for (const job of open.values()) job.reject(new Error(`${module}: ${reason}`));
    open.clear();
  };
  child.on('message', (reply: Reply) => {
    const job = open.get(reply.id);
    open.delete(reply.id);
    if ('failure' in reply) job?.reject(new Error(`${module}: ${reply.failure}`));
    else job?.resolve(reply.result);
  });
  child.on('error', (error) => failAll(error.message));
  child.on('exit', () => failAll('ended'));
  let last = 0;
  return {
    pid: child.pid ?? -1,
    ask(job, argument) {
      const answer = Promise.withResolvers<unknown>();
      last += 1;
      open.set(last, answer);
      const question: Question = { id: last, job, argument };
      child.send(question, (error) => {
        if (error !== null) answer.reject(error);
      });
      return answer.promise as ReturnType<typeof this.ask>;
    },
    [Symbol.asyncDispose]: () => end(child),
  };
}

const GRACE_MS = 2000;

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  if (child.connected) child.disconnect();
  const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
  await exited;
  clearTimeout(timer);
}
