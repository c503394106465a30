import type { Jobs, Question, Reply } from './worker.ts';

/** The other end of `startWorker`: answers jobs until the parent goes away, then ends this process. */
export function serveJobs(jobs: Jobs): void {
  process.on('message', ({ id, job, argument }: Question) => {
    const run = jobs[job] as ((argument: unknown) => Promise<unknown>) | undefined;
    const result = run === undefined ? Promise.reject(new Error(`no job ${job}`)) : run(argument);
    result.then(
      (value) => reply({ id, result: value }),
      (error: unknown) => reply({ id, failure: error instanceof Error ? error.message : String(error) }),
    );
  });
  process.on('disconnect', () => process.exit(0));
}

function reply(message: Reply): void {
  if (process.connected) process.send?.(message);
}
