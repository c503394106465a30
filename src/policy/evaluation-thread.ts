import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { SvidgateError, type Clock } from '../core/index.ts';
import type {
  EvaluateMessage,
  EvaluatorJob,
  EvaluatorReply,
  LoadedModule,
  MemoryLimits,
  NetworkLimits,
  ProgramMessage,
} from './evaluator-protocol.ts';
import type { BuiltinsProgram } from './builtins/builtins-program.ts';
import { startThread } from './thread.ts';
import { withinLimit } from './time-limit.ts';

export interface EvaluationThread {
  /** Evaluations run in the order they are posted. */
  post(message: EvaluateMessage): void;
  /** Calls back at once for replies that have arrived and wait for the event loop. */
  deliverPending(): void;
  /** Ends the thread also in the middle of an evaluation; nothing is called back any more. */
  end(): Promise<void>;
}

/** A reply to one evaluation. */
export type EvaluationReply = Exclude<EvaluatorReply, { kind: 'needs_program' | 'ready' | 'refused' }>;

export interface EvaluationThreadOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** How long instantiation and the first evaluation may take. */
  readonly startLimitMs: number;
  readonly limits: MemoryLimits;
  /** For policies that need it. */
  readonly program: BuiltinsProgram;
  /** Absent: the policy may ask nobody. */
  readonly network?: NetworkLimits;
  readonly onReply: (reply: EvaluationReply) => void;
  /** The thread ended by itself, after it was ready. */
  readonly onDeath: (message: string) => void;
}

/** Far more than the largest input and result take: see policy-instance.ts for what happens at the limit. */
const MAX_HEAP_MB = 1024;

/**
 * Starts a thread and waits until the policy is loaded and warm. Throws `policy_invalid` when the module is refused
 * (a builtin that is not offered, no such entrypoint), `deadline_exceeded`, `internal`, or the signal's reason.
 */
export async function startEvaluationThread(
  loaded: LoadedModule,
  options: EvaluationThreadOptions,
): Promise<EvaluationThread> {
  const { clock, signal, startLimitMs, limits, program, network } = options;
  signal.throwIfAborted();
  const { port1: port, port2: theirPort } = new MessageChannel();
  // Of a network the limits alone: the rest does not cross.
  const asked = network === undefined ? {} : { network: { responseCacheBytes: network.responseCacheBytes } };
  const job: EvaluatorJob = { ...loaded, limits, port: theirPort, ...asked };
  const thread = startThread('evaluator-worker', { workerData: job, transfer: [theirPort], maxHeapMb: MAX_HEAP_MB });
  const ready = Promise.withResolvers<void>();
  let state: 'starting' | 'ready' | 'ended' = 'starting';
  const end = async (): Promise<void> => {
    state = 'ended';
    port.close();
    await thread.terminate();
  };
  const receive = (reply: EvaluatorReply): void => {
    if (state === 'ended') return;
    if (reply.kind === 'needs_program') giveProgram(program, port).catch(ready.reject);
    else if (reply.kind === 'ready') ready.resolve();
    else if (reply.kind === 'refused') ready.reject(new SvidgateError('policy_invalid', reply.message));
    else options.onReply(reply);
  };
  const die = (message: string): void => {
    const before = state;
    state = 'ended';
    port.close();
    if (before === 'starting') ready.reject(new SvidgateError('internal', message));
    if (before === 'ready') options.onDeath(message);
  };
  port.on('message', receive);
  thread.on('error', (error) =>
    die(`the evaluation thread failed: ${error instanceof Error ? error.message : 'unknown'}`),
  );
  const deliverPending = (): void => {
    let next = receiveMessageOnPort(port);
    while (next !== undefined) {
      receive(next.message as EvaluatorReply);
      next = receiveMessageOnPort(port);
    }
  };
  thread.on('exit', () => {
    // What it said last may still wait for the event loop: why it refused the module.
    deliverPending();
    die('the evaluation thread ended');
  });

  try {
    await withinLimit(ready.promise, { clock, signal, limitMs: startLimitMs, what: 'loading the policy' });
    state = 'ready';
  } catch (error) {
    await end();
    throw error;
  }
  return {
    post: postTogether(port),
    deliverPending,
    end,
  };
}

/**
 * What comes in one turn of the event loop goes as one message: a message wakes the thread, which costs more than an
 * evaluation.
 */
function postTogether(port: MessagePort): (message: EvaluateMessage) => void {
  let waiting: EvaluateMessage[] = [];
  const flush = (): void => {
    const messages = waiting;
    waiting = [];
    port.postMessage(messages);
  };
  return (message) => {
    if (waiting.push(message) === 1) setImmediate(flush);
  };
}

async function giveProgram(program: BuiltinsProgram, port: MessagePort): Promise<void> {
  try {
    const message: ProgramMessage = { program: await program.load() };
    port.postMessage(message);
  } catch (cause) {
    throw new SvidgateError('internal', 'the program of the builtins cannot be read', { cause });
  }
}
