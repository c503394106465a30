/** Recording thread: masks decisions, and writes them to the log. Nothing that is not masked leaves it. */
import { workerData } from 'node:worker_threads';
import { describeError, SvidgateError, systemClock, type Metrics } from '../../core/index.ts';
import { openRecordLog, type RecordLog, type RecordLogOptions } from '../log/index.ts';
import type { DecisionRecord } from './decision-record.ts';
import { applyLogRules, eraseAll } from './apply-log-rules.ts';
import { KnownOnce } from './known-once.ts';
import { LogRuleQuestions } from './log-rule-questions.ts';
import { createRecordMaker } from './make-record.ts';
import { makeRecords, type RecordInMaking } from './make-records.ts';
import type { FromRecordThread, RecordThreadJob, SentFacts, SentLogged, ToRecordThread } from './record-protocol.ts';
import { remoteTelemetry } from './remote-telemetry.ts';
import { WrittenLines } from './written-lines.ts';
import { startSinks } from '../sinks/index.ts';

/** What receivers have not got by then they get after the next start. */
const DELIVERY_LIMIT_MS = 2000;

async function serve(job: RecordThreadJob): Promise<void> {
  const { port, folder, maxBytes } = job;
  const reply = (message: FromRecordThread): void => port.postMessage(message);
  const telemetry = remoteTelemetry(port);
  const log = await openLog({ folder, maxBytes, clock: systemClock, ...telemetry }, reply);
  if (log === undefined) return port.close();
  const output = new WrittenLines((lines) => reply({ kind: 'write', lines }));
  const sinks = startSinks({
    ...(job.sinks ?? { stdout: false }),
    log,
    write: (lines) => output.write(lines),
    clock: systemClock,
    ...telemetry,
  });
  const make = createRecordMaker(job);
  const known = new KnownOnce();
  const questions = new LogRuleQuestions((question) => reply({ kind: 'rule', ...question }));
  const underWay = new Set<Promise<void>>();
  const take = async (message: ToRecordThread & { readonly kind: 'decisions' }): Promise<void> => {
    known.learn(message);
    for (const lost of message.lost) log.lose({ ...lost, isCounted: true });
    const { records, failed } = makeRecords(JSON.parse(message.facts) as Sent, message.inputs, {
      make,
      known,
      onFault: (error) => telemetry.logger.error({ reason: describeError(error) }, 'decision record not made'),
    });
    if (failed > 0) log.lose({ reason: 'failed', count: failed });
    const lines = records.flatMap(({ record, rules }) => (rules === undefined ? [lineOf(record, log)] : []));
    if (lines.length > 0) log.append(lines);
    const ruled = records.filter(({ rules }) => rules !== undefined);
    // What waits for its rules takes no place from other decisions.
    reply({ kind: 'done', waiting: ruled.length });
    if (ruled.length === 0) return;
    await Promise.all(ruled.map((each) => follow(each, { log, questions, ...telemetry })));
    reply({ kind: 'followed', count: ruled.length });
  };
  const close = async (): Promise<void> => {
    await Promise.all(underWay);
    await sinks.stop(DELIVERY_LIMIT_MS);
    await log[Symbol.asyncDispose]();
    reply({ kind: 'closed' });
    port.close();
  };
  port.on('message', (message: ToRecordThread) => {
    switch (message.kind) {
      case 'decisions': {
        const taken = take(message).finally(() => underWay.delete(taken));
        return void underWay.add(taken);
      }
      case 'ruled':
        return questions.answer(message.id, message.answer);
      case 'written':
        return output.written(message.failure);
      case 'status':
        return reply({ kind: 'status', id: message.id, status: { log: log.status(), sinks: sinks.status() } });
      case 'close':
        return void close();
    }
  });
  reply({ kind: 'ready' });
}

type Sent = readonly (SentFacts | SentLogged)[];

async function openLog(
  options: RecordLogOptions,
  reply: (message: FromRecordThread) => void,
): Promise<RecordLog | undefined> {
  try {
    return await openRecordLog(options);
  } catch (error) {
    const { code, message } = SvidgateError.from(error);
    reply({ kind: 'refused', code, message });
    return undefined;
  }
}

/** Appends a record as the log rules of its policy want it. */
async function follow(
  { record, rules = 0 }: RecordInMaking,
  {
    log,
    questions,
    metrics,
  }: { readonly log: RecordLog; readonly questions: LogRuleQuestions; readonly metrics: Metrics },
): Promise<void> {
  const event = new TextEncoder().encode(JSON.stringify(record));
  const ruled = applyLogRules(record, await questions.ask(rules, event));
  const { policy } = record.svidgate;
  if (ruled.kind === 'dropped') return log.lose({ reason: 'sampled', policy, count: 1 });
  if (ruled.failed) metrics.count('svidgate_decision_log_rule_failures_total', { policy });
  log.append([lineOf(ruled.record, log)]);
}

/** One that is too large for the log goes without what may be large. */
function lineOf(record: DecisionRecord, { maxLineBytes }: RecordLog): string {
  const line = JSON.stringify(record);
  return Buffer.byteLength(line) <= maxLineBytes ? line : JSON.stringify(eraseAll(record));
}

await serve(workerData as RecordThreadJob);
