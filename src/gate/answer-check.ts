import { randomUUID } from 'node:crypto';
import { describeError, type ErrorCode, type Logger, type Metrics, type SvidgateError } from '../core/index.ts';
import type { DecisionRecorder } from '../evidence/index.ts';
import { check, type CheckCall, type CheckOutcome, type CheckQuestion, type CheckSources } from './check.ts';
import { replyTo, type GateReply, type ReplySettings } from './gate-reply.ts';
import { recordDecision, type CheckTrace } from './record-decision.ts';
import { record } from './record.ts';
import { showOutcome } from './show-outcome.ts';

export interface GateOptions extends CheckSources, ReplySettings {
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Absent: decisions are not recorded. */
  readonly recorder?: DecisionRecorder;
}

/**
 * An answer after Envoy's own deadline counts as an error there, and its clock started before the call reached us. So
 * ours comes earlier by a tenth of the time, within these bounds.
 */
const DEADLINE_MARGIN_MS = { least: 10, most: 100 } as const;

/** For callers that set no deadline. */
const LONGEST_CHECK_MS = 5000;

/** Decides, records and says what is to be told. Rejects only on a defect in what comes after the decision. */
export async function answerCheck(question: CheckQuestion, call: CheckCall, options: GateOptions): Promise<GateReply> {
  const startedAt = performance.now();
  const decisionId = randomUUID();
  const trace: CheckTrace = {};
  const { peer, signal, deadline } = call; // not spread: a call may have them from its prototype
  const outcome = await checkInTime(question, { peer, signal, deadline, trace }, options);
  record(outcome, decisionId, { startedAt, options });
  showOutcome(outcome, decisionId, options);
  const reply = replyTo(outcome, decisionId, options);
  recordDecision({ outcome, reply, trace, startedAt }, options);
  return reply;
}

/** A caller whose certificate is not accepted any more has no right, as an unregistered one on a Unix socket. */
const ALWAYS_DENIED: ReadonlySet<ErrorCode> = new Set(['certificate_invalid']);

/**
 * For a call that never became a check, and for one that broke on the way to its reply.
 * @param denied what is a deny whatever `on_error` says
 */
export function answerFault(error: SvidgateError, options: GateOptions, denied = ALWAYS_DENIED): GateReply {
  const facts = { policy: '', reason: error.code, detail: error.message };
  const outcome: CheckOutcome = denied.has(error.code)
    ? { kind: 'deny', httpStatus: 403, ...facts }
    : { kind: 'failure', ...facts };
  const decisionId = randomUUID();
  const reply = replyTo(outcome, decisionId, options);
  // Of a check that was answered with an error, and recorded: the door comes here with it.
  if (reply.kind === 'grpc_error' && error.code === reply.error.code) return reply;
  try {
    const startedAt = performance.now();
    recordDecision({ outcome, reply, trace: {}, startedAt }, options);
    if (reply.kind === 'grpc_error') return reply;
    record(outcome, decisionId, { startedAt, options });
  } catch {
    // A reply comes before its record.
  }
  return reply;
}

/** The outcome, or a failure when the time is up first or something breaks. Never rejects. */
async function checkInTime(
  question: CheckQuestion,
  call: CheckCall & { readonly trace: CheckTrace },
  options: GateOptions,
): Promise<CheckOutcome> {
  const { peer, signal, trace } = call;
  const now = options.clock.now();
  const deadline = Math.min(now + LONGEST_CHECK_MS, answerBy(call.deadline ?? Infinity, now));
  if (deadline <= now) return { kind: 'failure', policy: '', reason: 'deadline_exceeded' };
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<CheckOutcome>((resolve) => {
    timer = setTimeout(() => resolve({ kind: 'failure', policy: '', reason: 'deadline_exceeded' }), deadline - now);
  });
  try {
    return await Promise.race([check(question, { peer, signal, trace, deadline }, options), timeUp]);
  } catch (error) {
    return { kind: 'failure', policy: '', reason: 'internal', detail: describeError(error) };
  } finally {
    clearTimeout(timer);
  }
}

function answerBy(deadline: number, now: number): number {
  const { least, most } = DEADLINE_MARGIN_MS;
  return deadline - Math.min(most, Math.max(least, (deadline - now) / 10));
}
