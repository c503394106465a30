/**
 * Yields from all sources as their values come, one at a time from each, with backpressure. Ends when any source ends
 * and throws when any throws. The sources must end by themselves soon after the reader has stopped: give them a signal
 * that the reader aborts.
 */
export async function* merge<T>(sources: readonly AsyncIterable<T>[]): AsyncGenerator<T, void, void> {
  const ready: { readonly value: T; readonly taken: () => void }[] = [];
  let end: { readonly error?: unknown } | undefined;
  let closed = false;
  let wake: (() => void) | undefined;
  const pump = async (source: AsyncIterable<T>): Promise<void> => {
    try {
      for await (const value of source) {
        if (closed) return;
        await new Promise<void>((taken) => {
          ready.push({ value, taken });
          wake?.();
        });
        if (closed) return;
      }
      end ??= {};
    } catch (error) {
      end ??= { error };
    }
    wake?.();
  };
  for (const source of sources) void pump(source);
  try {
    for (;;) {
      const next = ready.shift();
      if (next !== undefined) {
        try {
          yield next.value;
        } finally {
          next.taken(); // also when the reader stops here, so that the source can give free what it holds
        }
      } else if (end !== undefined) {
        if ('error' in end) throw end.error;
        return;
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
        wake = undefined;
      }
    }
  } finally {
    closed = true;
    for (const waiting of ready) waiting.taken();
  }
}
