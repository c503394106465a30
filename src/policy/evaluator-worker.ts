/** Evaluation thread: one instance of one compiled policy, one evaluation at a time. */
import { workerData, type MessagePort } from 'node:worker_threads';
import { createBuiltinHost } from './builtins/builtin-host.ts';
import type { NdAnswers } from './builtins/nd-book.ts';
import type { EvaluateMessage, EvaluatorJob, EvaluatorReply, ProgramMessage } from './evaluator-protocol.ts';
import { giveWay } from './give-way.ts';
import { describeThrown, EvaluationSuspended, instantiatePolicy, type PolicyInstance } from './policy-instance.ts';

const EMPTY_INPUT = new TextEncoder().encode('{}').buffer;

async function serve(job: EvaluatorJob): Promise<void> {
  const { port } = job;
  if (job.givesWay === true) giveWay();
  const reply = (message: EvaluatorReply): void => port.postMessage(message);
  const host = createBuiltinHost(job.network === undefined ? {} : { network: job.network });
  let instance: PolicyInstance | undefined;
  try {
    instance = instantiatePolicy(job, host);
    if (host.needsProgram) host.start(await askForProgram(port));
  } catch (error) {
    return reply({ kind: 'refused', message: describeThrown(error) });
  }
  try {
    instance.evaluate(EMPTY_INPUT); // makes native code, so that the first request does not pay for it
  } catch (error) {
    // A policy may fail on an empty input.
    if (!(error instanceof EvaluationSuspended && error.isSound)) instance = undefined;
  }
  const answers = (): { readonly answers?: NdAnswers } =>
    host.ndAnswers === undefined ? {} : { answers: host.ndAnswers };
  const evaluate = ({ id, input, resumption, nd }: EvaluateMessage): void => {
    try {
      instance ??= instantiatePolicy(job, host);
      const results = instance.evaluate(input, resumption, nd);
      const [first] = results;
      if (results.length > 1) reply({ kind: 'error', id, message: 'the entrypoint has more than one value' });
      else if (first === undefined) reply({ kind: 'undefined', id, ...answers() });
      else reply({ kind: 'value', id, value: first.result, ...answers() });
      if (instance.isGrown()) instance = undefined;
    } catch (error) {
      if (error instanceof EvaluationSuspended) {
        if (!error.isSound || instance?.isGrown() === true) instance = undefined;
        return reply({ kind: 'suspended', id, suspension: error.suspension });
      }
      // What was thrown left the instance in the middle of a call, its stack not unwound: never use it again.
      instance = undefined;
      reply({ kind: 'error', id, message: describeThrown(error), ...answers() });
    }
  };
  port.on('message', (messages: readonly EvaluateMessage[]) => messages.forEach(evaluate));
  reply({ kind: 'ready' });
}

async function askForProgram(port: MessagePort): Promise<WebAssembly.Module> {
  const { promise, resolve } = Promise.withResolvers<ProgramMessage>();
  port.once('message', resolve);
  port.postMessage({ kind: 'needs_program' } satisfies EvaluatorReply);
  return (await promise).program;
}

await serve(workerData as EvaluatorJob);
