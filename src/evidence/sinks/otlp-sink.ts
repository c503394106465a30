import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { describeError, type Clock } from '../../core/index.ts';
import { isObject } from '../log/log-line.ts';
import type { RecordLine } from '../log/index.ts';
import { exportLogs } from './otlp-logs.ts';
import { Receiver, type PostAnswer, type ReceiverOptions } from './post.ts';
import type { Delivery, LostRecords, RecordSink } from './sink.ts';

const compress = promisify(gzip);

/** A receiver of OpenTelemetry logs: OTLP 1.x over HTTP with JSON, gzipped (opentelemetry.io/docs/specs/otlp). */
export function otlpSink(options: ReceiverOptions & { readonly clock: Clock }): RecordSink {
  const receiver = new Receiver(options);
  const deliver = async (lines: readonly RecordLine[], signal: AbortSignal): Promise<Delivery> => {
    const count = lines.length;
    const { request, records, damaged } = exportLogs(lines, options.clock.now());
    const lost: LostRecords[] = damaged === 0 ? [] : [{ reason: 'damaged', count: damaged }];
    if (records === 0) return { kind: 'done', count, lost };
    try {
      const answer = await receiver.post(await compress(JSON.stringify(request)), signal);
      return deliveryOf(answer, count, lost);
    } catch (error) {
      signal.throwIfAborted();
      return { kind: 'failed', reason: describeError(error) };
    }
  };
  return {
    name: 'otlp',
    maxLines: 512,
    maxBytes: 2 ** 20,
    pace: { minDelayMs: 200, maxDelayMs: 1000 },
    deliver,
    close: () => receiver.close(),
  };
}

/**
 * OTLP has clients drop what is answered with other statuses than 429, 502, 503 and 504. Only what is wrong with the request
 * itself counts as that here: what an operator can mend is tried again.
 */
function deliveryOf(answer: PostAnswer, count: number, lost: readonly LostRecords[]): Delivery {
  const { status, retryAfterMs: afterMs } = answer;
  if (status >= 200 && status < 300) {
    const rejected = Math.min(count, rejectedIn(answer.body));
    return { kind: 'done', count, lost: rejected === 0 ? lost : [...lost, { reason: 'refused', count: rejected }] };
  }
  const reason = `the receiver answers with status ${status}`;
  const isTooLarge = status === 413;
  if (isTooLarge || status === 400) return { kind: 'refused', count, reason, isTooLarge };
  return { kind: 'failed', reason, afterMs };
}

/** `partial_success.rejected_log_records`, an int64 and so a string in JSON. What was rejected must not be sent again. */
function rejectedIn(body: string): number {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return 0;
  }
  const partial = isObject(value) ? value['partialSuccess'] : undefined;
  const rejected = isObject(partial) ? Number(partial['rejectedLogRecords'] ?? 0) : 0;
  return Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0;
}
