/** A long task: runs until the signal is aborted, and rejects only when it cannot go on. */
export type Task = (signal: AbortSignal) => Promise<void>;

/**
 * Runs tasks side by side until the signal is aborted. The first failure stops the others; all are waited for,
 * then that failure is thrown. A task that returns early is simply done.
 */
export async function supervise(signal: AbortSignal, tasks: readonly Task[]): Promise<void> {
  const stop = new AbortController();
  const all = AbortSignal.any([signal, stop.signal]);
  let failure: { readonly reason: unknown } | undefined;
  await Promise.all(
    tasks.map(async (task) => {
      try {
        await task(all);
      } catch (error) {
        if (!all.aborted) failure ??= { reason: error };
        stop.abort();
      }
    }),
  );
  if (failure !== undefined) throw failure.reason;
}

/** Swallows the rejection that an aborted wait gives; passes every other one on. */
export async function untilAborted(signal: AbortSignal, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
