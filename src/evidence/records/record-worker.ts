/** Recording thread: masks decisions, and writes them to the log. Nothing that is not masked leaves it. */
import { workerData } from 'node:worker_threads';
import { describeError, SvidgateError, systemClock } from '../../core/index.ts';
import { openRecordLog, type RecordLog } from '../log/index.ts';
import type { RecordedPaths } from './decision-record.ts';
import { createRecordMaker } from './make-record.ts';
import type { FromRecordThread, RecordThreadJob, SentFacts, ToRecordThread } from './record-protocol.ts';
import { recordLines } from './record-lines.ts';
import { remoteTelemetry } from './remote-telemetry.ts';
import { openWriteOut } from './write-out.ts';
import { startSinks } from '../sinks/index.ts';

/** What receivers have not got by then they get after the next start. */
const DELIVERY_LIMIT_MS = 2000;

async function serve(job: RecordThreadJob): Promise<void> {
  const { port, folder, maxBytes } = job;
  const reply = (message: FromRecordThread): void => port.postMessage(message);
  const telemetry = remoteTelemetry(port);
  let log: RecordLog;
  try {
    log = await openRecordLog({ folder, maxBytes, clock: systemClock, ...telemetry });
  } catch (error) {
    const { code, message } = SvidgateError.from(error);
    reply({ kind: 'refused', code, message });
    return port.close();
  }
  const sinks = startSinks({
    ...(job.sinks ?? { stdout: false }),
    log,
    write: job.sinks?.stdout === true ? openWriteOut() : () => Promise.resolve(),
    clock: systemClock,
    ...telemetry,
  });
  const make = createRecordMaker(job);
  const paths = new Map<number, RecordedPaths>();
  const take = (message: ToRecordThread & { readonly kind: 'decisions' }): void => {
    for (const [number, path] of message.paths) paths.set(number, path);
    for (const lost of message.lost) log.lose(lost);
    const { lines, failed } = recordLines(JSON.parse(message.facts) as readonly SentFacts[], message.inputs, {
      make,
      paths,
      onFault: (error) => telemetry.logger.error({ reason: describeError(error) }, 'decision record not made'),
    });
    if (failed > 0) log.lose({ reason: 'failed', count: failed });
    if (lines.length > 0) log.append(lines);
  };
  const close = async (): Promise<void> => {
    await sinks.stop(DELIVERY_LIMIT_MS);
    await log[Symbol.asyncDispose]();
    reply({ kind: 'closed' });
    port.close();
  };
  port.on('message', (message: ToRecordThread) => {
    switch (message.kind) {
      case 'decisions':
        take(message);
        return reply({ kind: 'done' });
      case 'status':
        return reply({ kind: 'status', id: message.id, status: { log: log.status(), sinks: sinks.status() } });
      case 'close':
        return void close();
    }
  });
  reply({ kind: 'ready' });
}

await serve(workerData as RecordThreadJob);
