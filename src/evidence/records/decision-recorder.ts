import { createBackoff, describeError, type Clock, type Logger, type Metrics } from '../../core/index.ts';
import type { LossReason } from '../log/index.ts';
import type { RulesAnswer } from './apply-log-rules.ts';
import type { WriteOut } from '../sinks/index.ts';
import type { AnsweredCheck, LoggedAnswer } from './answered-check.ts';
import { FactsBatch } from './facts-batch.ts';
import { OffloadedShares } from './offloaded-shares.ts';
import { RefusedShares } from './refused-share.ts';
import type { LostDecisions, RecorderStatus, RecordThreadJob } from './record-protocol.ts';
import { startRecordThread, type RecordThread } from './record-thread.ts';
import { SentOnce } from './sent-once.ts';

/** What the gate knows of recording. */
export interface DecisionRecorder {
  /** Never throws, and never waits. */
  record(check: AnsweredCheck): void;
}

/** The same of what Envoys answered by themselves. */
export interface LoggedAnswerRecorder {
  /** Never throws, and never waits. */
  recordLogged(answer: LoggedAnswer): void;
}

/** All decisions of the gate as records in a log. What cannot be recorded is counted, and the count is recorded. */
export interface OpenDecisionRecorder extends DecisionRecorder, LoggedAnswerRecorder {
  /** Undefined while the recording thread is away, or does not answer within a second. */
  status(): Promise<RecorderStatus | undefined>;
  /** Losses that the recording thread has not taken note of. */
  readonly untoldLosses: number;
  /** Writes what was recorded, within some seconds. */
  close(): Promise<void>;
}

export interface DecisionRecorderOptions extends Omit<RecordThreadJob, 'port'> {
  /** By policy: the share of plain allows that is recorded, 0 to 1. Default 1. */
  readonly sampleAllows?: ReadonlyMap<string, number>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Writes lines to standard output, for that sink. */
  readonly writeOut?: WriteOut;
  /** On their way to the thread at once. Default 8192. */
  readonly maxQueued?: number;
  /** Default 64 MiB. */
  readonly maxQueuedBytes?: number;
  /** For tests that inject faults. */
  readonly startThread?: typeof startRecordThread;
}

const MAX_QUEUED = 8192;
const MAX_QUEUED_BYTES = 64 * 2 ** 20;
/** Of one turn of the event loop: a check takes some microseconds of the thread that answers, a logged answer a quarter. */
const COST_PER_TURN = 256;
const COST_OF_CHECK = 4;
const COST_OF_LOGGED = 1;
/** To wake the thread takes as long as many logged answers: they wait for this many, or so long. */
const LOGGED_TOGETHER = 128;
const LOGGED_WAIT_MS = 5;
/** Of the queue, for what Envoys log: they log faster than anybody asks. */
const OFFLOADED_SHARE = 0.5;
const CLOSE_LIMIT_MS = 5000;
const TELL_AFTER_MS = 500;
/** Messages that the thread has not taken, beyond which losses alone make no more of them. */
const MAX_MESSAGES = 256;

/** Opens the log in a thread of its own. Throws what openRecordLog throws. */
export async function openDecisionRecorder(options: DecisionRecorderOptions): Promise<OpenDecisionRecorder> {
  const recorder = new ThreadRecorder(options);
  await recorder.start();
  return recorder;
}

interface Batch {
  readonly count: number;
  readonly bytes: number;
  readonly lost: readonly LostDecisions[];
  /** Of those that Envoys answered by themselves. */
  readonly offloadedBy: readonly number[];
}

class ThreadRecorder implements OpenDecisionRecorder {
  readonly #options: DecisionRecorderOptions;
  readonly #maxQueued: number;
  readonly #maxQueuedBytes: number;
  readonly #closing = new AbortController();
  #thread: RecordThread | undefined;
  #restarting: Promise<void> | undefined;
  readonly #refused = new RefusedShares();
  readonly #offloaded: OffloadedShares;
  #arrived: (AnsweredCheck | LoggedAnswer)[] = [];
  #arrivedBytes = 0;
  #isScheduled = false;
  #telling: NodeJS.Timeout | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #requestNumber = 0;
  /** What the thread has and has not done. */
  #sent: Batch[] = [];
  #sentCount = 0;
  #sentBytes = 0;
  readonly #lost = new Map<string, LostDecisions>();
  readonly #once = new SentOnce();

  constructor(options: DecisionRecorderOptions) {
    this.#options = options;
    this.#maxQueued = options.maxQueued ?? MAX_QUEUED;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? MAX_QUEUED_BYTES;
    this.#offloaded = new OffloadedShares(this.#maxQueued * OFFLOADED_SHARE);
  }

  async start(): Promise<void> {
    const { folder, maxBytes, labels, shown, key, sinks, logger, metrics } = this.#options;
    const { startThread = startRecordThread } = this.#options;
    this.#thread = await startThread({
      job: { folder, maxBytes, labels, shown, key, ...(sinks === undefined ? {} : { sinks }) },
      logger,
      metrics,
      writeOut: this.#options.writeOut ?? (() => Promise.reject(new Error('standard output is not open'))),
      onDone: (waiting) => this.#done(waiting),
      onFollowed: (count) => void (this.#sentCount -= count),
      onRule: (number, event) => this.#followRules(number, event),
      onDeath: (reason) => this.#onDeath(reason),
    });
  }

  record(check: AnsweredCheck): void {
    if (this.#isLeftOut(check, check.decisionId)) return this.#leaveOut(check.policy);
    if (check.refused !== undefined && !this.#refused.take(check.refused)) this.#lose('refused', 1);
    else if (this.#closing.signal.aborted || this.#thread === undefined) this.#lose('failed', 1);
    else if (!this.#hasRoomFor(check.inputBytes ?? 0, 1)) this.#lose('queue', 1);
    else {
      this.#arrived.push(check);
      this.#arrivedBytes += check.inputBytes ?? 0;
    }
    this.#schedule();
  }

  recordLogged(answer: LoggedAnswer): void {
    const { common, decisionId, entry, offloadedBy } = answer;
    if (this.#isLeftOut(common, decisionId)) return this.#leaveOut(common.policy);
    if (this.#closing.signal.aborted || this.#thread === undefined) this.#lose('failed', 1);
    else if (!this.#offloaded.hasRoomFor(offloadedBy) || !this.#hasRoomFor(entry.length, OFFLOADED_SHARE)) {
      this.#lose('queue', 1);
    } else {
      this.#arrived.push(answer);
      this.#offloaded.add(offloadedBy);
      this.#arrivedBytes += entry.length;
      return this.#scheduleSoon();
    }
    this.#schedule();
  }

  #hasRoomFor(inputBytes: number, share: number): boolean {
    const bytes = this.#arrivedBytes + this.#sentBytes + inputBytes;
    const count = this.#arrived.length + this.#sentCount;
    return count < this.#maxQueued * share && bytes <= this.#maxQueuedBytes * share;
  }

  get untoldLosses(): number {
    return sumOf([...this.#lost.values(), ...this.#sent.flatMap(({ lost }) => lost)]);
  }

  async status(): Promise<RecorderStatus | undefined> {
    return await this.#thread?.status();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    if (this.#thread !== undefined && this.#arrived.length > 0) this.#flush(Infinity);
    if (this.#thread !== undefined && this.#lost.size > 0) this.#post(new FactsBatch());
    this.#closing.abort();
    clearTimeout(this.#telling);
    clearTimeout(this.#gathering);
    await this.#restarting;
    await this.#thread?.close(CLOSE_LIMIT_MS);
    const unwritten = this.#arrived.length + this.#sentCount + this.untoldLosses;
    if (unwritten > 0) this.#options.logger.error({ count: unwritten }, 'decision records not written at the end');
  }

  /** Decided by the id, so that whoever has the id can tell. */
  #isLeftOut({ outcome, policy }: Pick<AnsweredCheck, 'outcome' | 'policy'>, decisionId: string): boolean {
    if (outcome !== 'allow') return false;
    const share = this.#options.sampleAllows?.get(policy) ?? 1;
    return share < 1 && Number.parseInt(decisionId.slice(0, 8), 16) / 2 ** 32 >= share;
  }

  /** Told to the thread with the next decision, or soon. */
  #leaveOut(policy: string): void {
    this.#lose('sampled', 1, policy);
    this.#telling ??= setTimeout(() => {
      this.#telling = undefined;
      this.#schedule();
    }, TELL_AFTER_MS).unref();
  }

  #scheduleSoon(): void {
    if (this.#arrived.length >= LOGGED_TOGETHER) return this.#schedule();
    if (this.#isScheduled) return;
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      this.#schedule();
    }, LOGGED_WAIT_MS).unref();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#closing.signal.aborted) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (this.#closing.signal.aborted || this.#thread === undefined) return;
      this.#flush(COST_PER_TURN);
      if (this.#arrived.length > 0) this.#schedule();
    });
  }

  #flush(maxCost: number): void {
    let batch = new FactsBatch();
    const offloadedBy: number[] = [];
    for (const answer of this.#takeArrived(maxCost)) {
      if ('entry' in answer) {
        this.#arrivedBytes -= answer.entry.length;
        offloadedBy.push(answer.offloadedBy);
      } else this.#arrivedBytes -= answer.inputBytes ?? 0;
      try {
        if ('entry' in answer) this.#addLogged(answer, batch);
        else this.#add(answer, batch);
      } catch (error) {
        this.#options.logger.error({ reason: describeError(error) }, 'decision record not made');
        this.#lose('failed', 1);
      }
      if (!batch.isFull) continue;
      this.#post(batch, offloadedBy.splice(0));
      batch = new FactsBatch();
    }
    if (batch.count > 0 || (this.#lost.size > 0 && this.#sent.length < MAX_MESSAGES)) this.#post(batch, offloadedBy);
    else this.#offloaded.remove(offloadedBy);
  }

  #takeArrived(maxCost: number): readonly (AnsweredCheck | LoggedAnswer)[] {
    let cost = 0;
    const end = this.#arrived.findIndex((answer) => {
      const isOver = cost >= maxCost;
      cost += 'entry' in answer ? COST_OF_LOGGED : COST_OF_CHECK;
      return isOver;
    });
    return this.#arrived.splice(0, end === -1 ? this.#arrived.length : end);
  }

  #post(batch: FactsBatch, offloadedBy: readonly number[] = []): void {
    const { count, bytes } = batch;
    if (this.#sentBytes + bytes > this.#maxQueuedBytes) {
      this.#offloaded.remove(offloadedBy);
      this.#lose('queue', count);
      return this.#schedule();
    }
    const lost = [...this.#lost.values()];
    this.#lost.clear();
    this.#thread?.post({ kind: 'decisions', ...batch.content(), ...this.#once.take(), lost });
    this.#sent.push({ count, bytes, lost, offloadedBy });
    this.#sentCount += count;
    this.#sentBytes += bytes;
  }

  #add({ decisionId, policy, outcome, facts }: AnsweredCheck, batch: FactsBatch): void {
    const { evaluated, ...rest } = facts();
    this.#requestNumber += 1;
    const sent = { decisionId, policy, outcome, ...rest, requestNumber: this.#requestNumber };
    if (evaluated === undefined) return batch.add(sent);
    const { input, ...more } = evaluated;
    batch.add({ ...sent, evaluated: this.#once.evaluated(more) }, input);
  }

  #addLogged({ decisionId, at, entry, common }: LoggedAnswer, batch: FactsBatch): void {
    this.#requestNumber += 1;
    batch.addLogged([decisionId, this.#requestNumber, at, this.#once.commonOf(common)], entry);
  }

  /** Off the way of any answer: the thread asks once a decision is recorded. */
  async #followRules(number: number, event: Uint8Array): Promise<RulesAnswer> {
    try {
      const evaluation = await this.#once.rules(number)?.evaluate(event);
      if (evaluation?.kind === 'value') return { kind: 'value', value: evaluation.value };
      return { kind: evaluation?.kind === 'undefined' ? 'undefined' : 'error' };
    } catch {
      return { kind: 'error' };
    }
  }

  #lose(reason: LossReason, count: number, policy?: string): void {
    this.#remember({ reason, ...(policy === undefined ? {} : { policy }), count });
    // Here, and not where it is written down: that thread may be what is stuck.
    if (reason !== 'sampled') this.#options.metrics.count('svidgate_decision_log_lost_total', { reason }, count);
  }

  /** Until the thread can be told. */
  #remember(loss: LostDecisions): void {
    const key = `${loss.reason} ${loss.policy ?? ''}`;
    this.#lost.set(key, { ...loss, count: loss.count + (this.#lost.get(key)?.count ?? 0) });
  }

  #done(waiting: number): void {
    const batch = this.#sent.shift();
    if (batch === undefined) return;
    this.#sentCount -= batch.count - waiting;
    this.#sentBytes -= batch.bytes;
    this.#offloaded.remove(batch.offloadedBy);
    if (this.#lost.size > 0) this.#schedule();
  }

  /** What the thread had is lost; a new one is told so. */
  #onDeath(reason: string): void {
    this.#thread = undefined;
    const unwritten = this.#sentCount + this.#arrived.length;
    if (unwritten > 0) this.#lose('failed', unwritten);
    for (const { lost } of this.#sent) for (const loss of lost) this.#remember(loss);
    this.#arrived = [];
    this.#arrivedBytes = 0;
    this.#sent = [];
    this.#sentCount = 0;
    this.#sentBytes = 0;
    this.#offloaded.clear();
    this.#once.clear();
    this.#options.logger.error({ reason }, 'decision recording interrupted');
    this.#restarting ??= this.#restart().finally(() => (this.#restarting = undefined));
  }

  async #restart(): Promise<void> {
    const { clock, logger } = this.#options;
    const { signal } = this.#closing;
    const backoff = createBackoff({ baseMs: 100, maxMs: 5000 });
    while (!signal.aborted && this.#thread === undefined) {
      await clock.sleep(backoff.next(), signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.start().catch((error: unknown) =>
        logger.error({ reason: describeError(error) }, 'decision recording interrupted'),
      );
      this.#schedule();
    }
  }
}

/** Of decisions that were to be recorded. */
function sumOf(lost: readonly LostDecisions[]): number {
  return lost.reduce((sum, { reason, count }) => sum + (reason === 'sampled' ? 0 : count), 0);
}
