import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import {
  describeError,
  ERROR_CATALOGUE,
  SvidgateError,
  type ErrorCode,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import type { WriteOut } from '../sinks/index.ts';
import type { RulesAnswer } from './apply-log-rules.ts';
import type { RuleQuestion } from './log-rule-questions.ts';
import type {
  DecisionsMessage,
  FromRecordThread,
  RecorderStatus,
  RecordThreadJob,
  ToRecordThread,
} from './record-protocol.ts';
import { deliverTelemetry } from './remote-telemetry.ts';

export interface RecordThread {
  post(message: DecisionsMessage): void;
  /** Undefined when the thread ends before it answers, or does not within a second. */
  status(): Promise<RecorderStatus | undefined>;
  /** Writes what it has, then ends; within the limit, written or not. */
  close(limitMs: number): Promise<void>;
}

export interface RecordThreadOptions {
  readonly job: Omit<RecordThreadJob, 'port'>;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** What log rules say to a record. Never rejects. */
  readonly onRule: (rules: number, event: Uint8Array) => Promise<RulesAnswer>;
  /** Writes lines to standard output. */
  readonly writeOut: WriteOut;
  /** The oldest message is done, but for so many records. */
  readonly onDone: (waiting: number) => void;
  /** So many of those are done. */
  readonly onFollowed: (count: number) => void;
  /** It ended by itself, after it was ready. */
  readonly onDeath: (reason: string) => void;
}

/** One record is some kilobytes; a batch of them some megabytes. */
const MAX_HEAP_MB = 512;
const STATUS_LIMIT_MS = 1000;

/** Starts the thread, which opens the log. Throws what opening the log throws. */
export async function startRecordThread(options: RecordThreadOptions): Promise<RecordThread> {
  const { port1: port, port2: theirPort } = new MessageChannel();
  const handle = new ThreadHandle(port, startWorker({ ...options.job, port: theirPort }), options);
  await handle.ready();
  return handle;
}

function startWorker(job: RecordThreadJob): Worker {
  // In the sources this file is TypeScript, in the package JavaScript.
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  return new Worker(new URL(`./record-worker${extension}`, import.meta.url), {
    workerData: job,
    transferList: [job.port],
    env: {},
    execArgv: [],
    name: 'svidgate record-worker',
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
  });
}

class ThreadHandle implements RecordThread {
  readonly #port: MessagePort;
  readonly #thread: Worker;
  readonly #options: RecordThreadOptions;
  readonly #ready = Promise.withResolvers<undefined>();
  readonly #closed = Promise.withResolvers<undefined>();
  readonly #questions = new Map<number, (status: RecorderStatus | undefined) => void>();
  #state: 'starting' | 'ready' | 'closing' | 'ended' = 'starting';
  #nextId = 0;

  constructor(port: MessagePort, thread: Worker, options: RecordThreadOptions) {
    this.#port = port;
    this.#thread = thread;
    this.#options = options;
    port.on('message', (message: FromRecordThread) => this.#receive(message));
    thread.on('error', (error) => this.#end(error instanceof Error ? error.message : 'unknown'));
    thread.on('exit', () => {
      // What it said last may still wait for the event loop: why the log cannot be opened.
      for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
        this.#receive(next.message as FromRecordThread);
      }
      this.#end('the recording thread ended');
    });
  }

  async ready(): Promise<void> {
    try {
      await this.#ready.promise;
      this.#state = 'ready';
    } catch (error) {
      this.#state = 'ended';
      await this.#terminate();
      throw error;
    }
  }

  post(message: DecisionsMessage): void {
    this.#port.postMessage(message, [message.inputs.buffer as ArrayBuffer]);
  }

  status(): Promise<RecorderStatus | undefined> {
    if (this.#state !== 'ready') return Promise.resolve(undefined);
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<RecorderStatus | undefined>();
    const late = setTimeout(() => this.#answer(id, undefined), STATUS_LIMIT_MS);
    this.#questions.set(id, (status) => {
      clearTimeout(late);
      resolve(status);
    });
    this.#send({ kind: 'status', id });
    return promise;
  }

  async close(limitMs: number): Promise<void> {
    this.#state = 'closing';
    this.#send({ kind: 'close' });
    const late = setTimeout(() => this.#closed.resolve(undefined), limitMs);
    await this.#closed.promise;
    clearTimeout(late);
    await this.#terminate();
  }

  #answer(id: number, status: RecorderStatus | undefined): void {
    this.#questions.get(id)?.(status);
    this.#questions.delete(id);
  }

  #send(message: ToRecordThread): void {
    this.#port.postMessage(message);
  }

  #receive(message: FromRecordThread): void {
    switch (message.kind) {
      case 'ready':
        return this.#ready.resolve(undefined);
      case 'refused':
        return this.#ready.reject(new SvidgateError(codeOf(message.code), message.message));
      case 'done':
        return this.#options.onDone(message.waiting);
      case 'followed':
        return this.#options.onFollowed(message.count);
      case 'status':
        return this.#answer(message.id, message.status);
      case 'rule':
        return void this.#rule(message);
      case 'write':
        return void this.#write(message.lines);
      case 'closed':
        return this.#closed.resolve(undefined);
      case 'log':
      case 'metric':
        return deliverTelemetry(message, this.#options);
    }
  }

  async #rule({ id, rules, event }: RuleQuestion): Promise<void> {
    const answer = await this.#options.onRule(rules, event);
    if (this.#state !== 'ended') this.#send({ kind: 'ruled', id, answer });
  }

  async #write(lines: string): Promise<void> {
    const failure = await this.#options.writeOut(lines).then(() => undefined, describeError);
    if (this.#state !== 'ended') this.#send({ kind: 'written', ...(failure === undefined ? {} : { failure }) });
  }

  #end(reason: string): void {
    const before = this.#state;
    this.#state = 'ended';
    this.#port.close();
    this.#closed.resolve(undefined);
    for (const answer of this.#questions.values()) answer(undefined);
    this.#questions.clear();
    if (before === 'starting') this.#ready.reject(new SvidgateError('internal', reason));
    if (before === 'ready') this.#options.onDeath(reason);
  }

  async #terminate(): Promise<void> {
    this.#port.close();
    await this.#thread.terminate();
  }
}

function codeOf(code: string): ErrorCode {
  return Object.hasOwn(ERROR_CATALOGUE, code) ? (code as ErrorCode) : 'internal';
}
