import { randomUUID } from 'node:crypto';
import { describeError, SvidgateError, type Clock, type Logger, type Metrics } from '../../core/index.ts';
import { AUTHORIZATION_SERVICE } from '../../proto/index.ts';
import type { AllowEffects, DenyEffects } from '../../policy/index.ts';
import type { CallContext, GrpcMethod } from '../../transport/index.ts';
import { allowReply, denyReply, errorReply, type DenyReply } from './check-reply.ts';
import { describeUnverified } from './identity-input.ts';
import { check, type CheckOutcome, type CheckSources } from './check.ts';
import { showOutcome } from './show-outcome.ts';

export interface ExtAuthzOptions extends CheckSources {
  /** How Envoy is told that no decision could be made. */
  readonly onError: 'deny' | 'error_response' | 'grpc';
  /** Whether a deny has a body, in the form that the client asks for, where its policy gives none. */
  readonly givesDenyBody: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * An answer after Envoy's own deadline counts as an error there, and its clock started before the call reached us. So
 * ours comes earlier by a tenth of the time, within these bounds.
 */
const DEADLINE_MARGIN_MS = { least: 10, most: 100 } as const;

/** For callers that set no deadline. */
const LONGEST_CHECK_MS = 5000;

/** envoy.service.auth.v3.Authorization: every request gets a reply with an explicit status before its deadline. */
export function createExtAuthzEndpoint(options: ExtAuthzOptions): readonly GrpcMethod[] {
  return [
    {
      kind: 'unary',
      path: AUTHORIZATION_SERVICE.check.path,
      async handle(bytes, call) {
        const startedAt = performance.now();
        const decisionId = randomUUID();
        const outcome = await checkInTime(bytes, call, options);
        record(outcome, decisionId, { startedAt, options });
        showOutcome(outcome, decisionId, options);
        return reply(outcome, decisionId, options);
      },
      onFault: (error) => answerFault(error, options),
    },
  ];
}

/**
 * For a call that never became a check, and for one that broke on the way to its reply. A caller whose certificate is not
 * accepted any more is denied whatever `on_error` says, as one without a right on a Unix socket.
 */
function answerFault(error: SvidgateError, options: ExtAuthzOptions): Uint8Array | undefined {
  const facts = { policy: '', reason: error.code, detail: error.message };
  const outcome: CheckOutcome =
    error.code === 'certificate_invalid' ? { kind: 'deny', httpStatus: 403, ...facts } : { kind: 'failure', ...facts };
  if (options.onError === 'grpc' && outcome.kind === 'failure') return undefined;
  const decisionId = randomUUID();
  try {
    record(outcome, decisionId, { startedAt: performance.now(), options });
  } catch {
    // A reply comes before its record.
  }
  return reply(outcome, decisionId, options);
}

/** The outcome, or a failure when the time is up first or something breaks. Never rejects. */
async function checkInTime(bytes: Uint8Array, call: CallContext, options: ExtAuthzOptions): Promise<CheckOutcome> {
  const now = options.clock.now();
  const deadline = Math.min(now + LONGEST_CHECK_MS, answerBy(call.deadline ?? Infinity, now));
  if (deadline <= now) return { kind: 'failure', policy: '', reason: 'deadline_exceeded' };
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<CheckOutcome>((resolve) => {
    timer = setTimeout(() => resolve({ kind: 'failure', policy: '', reason: 'deadline_exceeded' }), deadline - now);
  });
  try {
    return await Promise.race([check(bytes, { peer: call.peer, signal: call.signal, deadline }, options), timeUp]);
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

function reply(outcome: CheckOutcome, decisionId: string, options: ExtAuthzOptions): Uint8Array {
  const { policy } = outcome;
  switch (outcome.kind) {
    case 'allow':
      return allowReply({ decisionId, policy }, outcome.effects);
    case 'unenforced':
      return allowReply({ decisionId, policy, reason: outcome.reason });
    case 'dry_run': {
      const facts = { decisionId, policy, reason: outcome.reason, isDryRun: true };
      return allowReply(facts, { ...NO_EFFECTS, ...metadataOf(outcome.effects) });
    }
    case 'deny': {
      const { reason, httpStatus, effects } = outcome;
      const parts = { httpStatus, ...formOf(outcome, options), ...(effects === undefined ? {} : { effects }) };
      return denyReply({ decisionId, policy, reason }, parts);
    }
    case 'failure':
      return failureReply(outcome, decisionId, options);
  }
}

const NO_EFFECTS: AllowEffects = {
  headers: [],
  requestHeadersToRemove: [],
  queryParametersToSet: [],
  queryParametersToRemove: [],
  responseHeadersToAdd: [],
};

function metadataOf(effects: DenyEffects | undefined): Pick<AllowEffects, 'dynamicMetadata'> {
  return effects?.dynamicMetadata === undefined ? {} : { dynamicMetadata: effects.dynamicMetadata };
}

function formOf(outcome: CheckOutcome, options: ExtAuthzOptions): Pick<DenyReply, 'form'> {
  return options.givesDenyBody ? { form: outcome.form ?? 'text' } : {};
}

function failureReply(
  outcome: Extract<CheckOutcome, { kind: 'failure' }>,
  decisionId: string,
  options: ExtAuthzOptions,
): Uint8Array {
  const { policy, reason } = outcome;
  switch (options.onError) {
    case 'deny':
      return denyReply({ decisionId, policy, reason }, { httpStatus: 403, ...formOf(outcome, options) });
    case 'error_response':
      return errorReply({ decisionId, policy, reason });
    case 'grpc':
      throw new SvidgateError('evaluation_failed', `no decision: ${reason}`);
  }
}

function record(
  outcome: CheckOutcome,
  decisionId: string,
  context: { readonly startedAt: number; readonly options: ExtAuthzOptions },
): void {
  const { logger, metrics, access } = context.options;
  const seconds = (performance.now() - context.startedAt) / 1000;
  const reason = outcome.kind === 'allow' ? '' : outcome.reason;
  // What somebody may not ask for is not counted as asked.
  const policy = access.policies.has(outcome.policy) && reason !== 'policy_not_allowed' ? outcome.policy : '';
  metrics.count('svidgate_authz_decisions_total', { policy, outcome: outcome.kind, reason });
  metrics.observe('svidgate_authz_decision_seconds', { policy }, seconds);
  const peer = outcome.identity?.peer;
  const fields = {
    decision_id: decisionId,
    policy: outcome.policy,
    duration_ms: Math.round(seconds * 1e6) / 1000,
    ...(peer?.verified === true ? { spiffe_id: peer.spiffeId, serial: peer.serial } : {}),
  };
  if (outcome.kind === 'allow') return logger.debug({ ...fields, decision: 'allow' }, 'request allowed');
  const detail = 'detail' in outcome ? outcome.detail : undefined;
  const unverified = outcome.identity === undefined ? '' : describeUnverified(outcome.identity);
  const why = [reason, detail, unverified === '' ? undefined : `not verified: ${unverified}`]
    .filter(Boolean)
    .join(': ');
  if (outcome.kind === 'unenforced') {
    return logger.debug({ ...fields, decision: 'allow', reason: why }, 'request allowed: its policy is not enforced');
  }
  if (outcome.kind === 'dry_run') {
    return logger.info({ ...fields, decision: 'allow', reason: why }, 'request allowed by a dry run');
  }
  if (outcome.kind === 'deny') logger.info({ ...fields, decision: 'deny', reason: why }, 'request denied');
  else logger.warn({ ...fields, decision: 'deny', reason: why }, 'request denied: no decision could be made');
}
