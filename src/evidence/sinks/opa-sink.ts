import { describeError } from '../../core/index.ts';
import { ChunkMaker } from './decision-chunk.ts';
import { Receiver, type ReceiverOptions } from './post.ts';
import type { Delivery, RecordSink, SinkPace } from './sink.ts';

export interface OpaSinkOptions extends ReceiverOptions, SinkPace {
  /** Of a body, compressed. */
  readonly uploadBytes: number;
}

/** A server with OPA's decision log API (openpolicyagent.org/docs/management-decision-logs): a gzipped JSON array by POST. */
export function opaSink(options: OpaSinkOptions): RecordSink {
  const { uploadBytes, minDelayMs, maxDelayMs, maxPerSecond } = options;
  const receiver = new Receiver(options);
  const chunks = new ChunkMaker(uploadBytes);
  const deliver: RecordSink['deliver'] = async (lines, signal) => {
    const chunk = await chunks.next(lines);
    const delivery = await post(receiver, chunk, signal);
    // Of one record: what the receiver takes is less than `upload_bytes`.
    const isTight = delivery.kind === 'refused' && delivery.isTooLarge && delivery.count === 1;
    if (!isTight) return delivery;
    const smaller = await chunks.next(lines, true);
    const again = smaller.body === undefined ? undefined : await post(receiver, smaller, signal);
    return again?.kind === 'done' ? again : delivery;
  };
  return {
    name: 'opa',
    maxLines: 10_000,
    maxBytes: Math.min(64 * uploadBytes, 4 * 2 ** 20),
    pace: { minDelayMs, maxDelayMs, ...(maxPerSecond === undefined ? {} : { maxPerSecond }) },
    deliver,
    close: () => receiver.close(),
  };
}

async function post(
  receiver: Receiver,
  { count, body, lost }: Awaited<ReturnType<ChunkMaker['next']>>,
  signal: AbortSignal,
): Promise<Delivery> {
  if (body === undefined) return { kind: 'done', count, lost };
  try {
    const { status, retryAfterMs: afterMs } = await receiver.post(body, signal);
    if (status >= 200 && status < 300) return { kind: 'done', count, lost };
    const reason = `the receiver answers with status ${status}`;
    const isTooLarge = status === 413;
    if (isTooLarge || status === 400 || status === 422) return { kind: 'refused', count, reason, isTooLarge };
    return { kind: 'failed', reason, afterMs };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'failed', reason: describeError(error) };
  }
}
