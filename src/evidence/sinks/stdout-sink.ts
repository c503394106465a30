import { describeError } from '../../core/index.ts';
import type { Delivery, RecordSink } from './sink.ts';

/** Writes whole lines; resolves when all of them are out, rejects when nobody reads any more. */
export type WriteOut = (lines: string) => Promise<void>;

/** Records and losses, one line each. */
export function stdoutSink(write: WriteOut): RecordSink {
  return {
    name: 'stdout',
    maxLines: 500,
    maxBytes: 64 * 1024,
    pace: { minDelayMs: 0, maxDelayMs: 0 },
    async deliver(lines, signal): Promise<Delivery> {
      try {
        await write(lines.map(({ bytes }) => `${bytes.toString('utf8')}\n`).join(''));
      } catch (error) {
        signal.throwIfAborted();
        return { kind: 'failed', reason: describeError(error) };
      }
      return { kind: 'done', count: lines.length };
    },
    close: () => undefined,
  };
}
