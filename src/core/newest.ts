/**
 * Reads the source without waiting for the reader, hands each value to `keep` at once, and yields when there was one since.
 * For a reader that must never act on an old value, however long it was held up. Ends and throws as the source does, which
 * must end by itself soon after the reader has stopped: give it a signal that the reader aborts.
 */
export async function* newest<T>(
  source: AsyncIterable<T>,
  keep: (value: T) => void,
): AsyncGenerator<undefined, void, void> {
  let changed = false;
  let end: { readonly error?: unknown } | undefined;
  let wake: (() => void) | undefined;
  const pump = async (): Promise<void> => {
    try {
      for await (const value of source) {
        keep(value);
        changed = true;
        wake?.();
      }
      end = {};
    } catch (error) {
      end = { error };
    }
    wake?.();
  };
  void pump();
  for (;;) {
    if (changed) {
      changed = false;
      yield undefined;
    } else if (end !== undefined) {
      if ('error' in end) throw end.error;
      return;
    } else {
      await new Promise<void>((resolve) => (wake = resolve));
      wake = undefined;
    }
  }
}
