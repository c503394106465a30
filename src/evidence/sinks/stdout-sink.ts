import { describeError } from '../../core/index.ts';
import type { Delivery, RecordSink } from './sink.ts';

/** Writes whole lines; resolves when all of them are out, rejects when nobody reads any more. */
export type WriteOut = (lines: string) => Promise<void>;

/** Records and losses, one line each. A reader that does not read is waited for. */
export function stdoutSink(write: WriteOut): RecordSink {
  /** One is never given up: its lines would be written twice. */
  let writing: { readonly count: number; readonly done: Promise<void> } | undefined;
  return {
    name: 'stdout',
    maxLines: 500,
    maxBytes: 64 * 1024,
    pace: { minDelayMs: 0, maxDelayMs: 0 },
    async deliver(lines, signal): Promise<Delivery> {
      writing ??= {
        count: lines.length,
        done: write(lines.map(({ bytes }) => `${bytes.toString('utf8')}\n`).join('')),
      };
      const { count, done } = writing;
      try {
        await unlessAborted(done, signal);
      } catch (error) {
        signal.throwIfAborted();
        writing = undefined;
        return { kind: 'failed', reason: describeError(error) };
      }
      writing = undefined;
      return { kind: 'done', count };
    },
    close: () => undefined,
  };
}

async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
