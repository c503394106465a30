import { SvidgateError } from '../core/index.ts';
import type { AllowEffects, DenyEffects } from '../policy/index.ts';
import type { CheckOutcome } from './check.ts';
import { denyBody, type BodyForm, type DenyBody } from './deny-body.ts';

/** What every reply says about its decision, for the asking proxy's access log. */
export interface ReplyFacts {
  readonly decisionId: string;
  readonly policy: string;
  /** Why the request was denied, or would have been: `authz.dry_run`. */
  readonly reason?: string;
  readonly isDryRun?: boolean;
}

export interface DenyReply {
  /** Where the policy gives none. */
  readonly httpStatus: number;
  readonly effects?: DenyEffects;
  /** The form of the body where the policy gives none; without it there is none. */
  readonly form?: BodyForm;
}

/** What a door tells who asked, in its own protocol. */
export type GateReply =
  | { readonly kind: 'allow'; readonly facts: ReplyFacts; readonly effects?: AllowEffects }
  | { readonly kind: 'deny'; readonly facts: ReplyFacts; readonly reply: DenyReply }
  /** No decision could be made, and the asking proxy is to count an error: `authz.on_error: error_response`. */
  | { readonly kind: 'error'; readonly facts: ReplyFacts }
  /** As `error`, told as opa-envoy-plugin does it: `authz.on_error: grpc`. */
  | { readonly kind: 'grpc_error'; readonly facts: ReplyFacts; readonly error: SvidgateError };

/** The HTTP status for the client. */
export function statusOf({ httpStatus, effects }: DenyReply): number {
  return effects?.httpStatus ?? httpStatus;
}

/** The policy's body, or ours: none for what has none, nor one that a content type of the policy might not fit. */
export function bodyOf(reply: DenyReply, { decisionId }: Pick<ReplyFacts, 'decisionId'>): DenyBody {
  const { effects, form } = reply;
  if (effects?.body !== undefined) return { text: effects.body };
  const hasType = effects?.headers.some(({ name }) => name.toLowerCase() === 'content-type') === true;
  if (form === undefined || statusOf(reply) < 400 || hasType) return { text: '' };
  return denyBody(form, statusOf(reply), decisionId);
}

export interface ReplySettings {
  /** How it is told that no decision could be made. */
  readonly onError: 'deny' | 'error_response' | 'grpc';
  /** Whether a deny has a body, in the form that the client asks for, where its policy gives none. */
  readonly givesDenyBody: boolean;
}

export function replyTo(outcome: CheckOutcome, decisionId: string, settings: ReplySettings): GateReply {
  const { policy } = outcome;
  switch (outcome.kind) {
    case 'allow':
      return { kind: 'allow', facts: { decisionId, policy }, ...effectsOf(withToken(outcome)) };
    case 'unenforced':
      return { kind: 'allow', facts: { decisionId, policy, reason: outcome.reason } };
    case 'dry_run': {
      const facts = { decisionId, policy, reason: outcome.reason, isDryRun: true };
      return { kind: 'allow', facts, effects: { ...NO_EFFECTS, ...metadataOf(outcome.effects) } };
    }
    case 'deny': {
      const { reason, httpStatus, effects } = outcome;
      const reply = { httpStatus, ...formOf(outcome, settings), ...effectsOf(effects) };
      return { kind: 'deny', facts: { decisionId, policy, reason }, reply };
    }
    case 'failure':
      return failureReply(outcome, decisionId, settings);
  }
}

/** The token takes the place of whatever stands in its header. */
function withToken({ effects, token }: Extract<CheckOutcome, { kind: 'allow' }>): AllowEffects | undefined {
  if (effects === undefined || token === undefined) return effects;
  const isOther = (name: string): boolean => name.toLowerCase() !== token.name.toLowerCase();
  return {
    ...effects,
    headers: [...effects.headers.filter(({ name }) => isOther(name)), token],
    requestHeadersToRemove: effects.requestHeadersToRemove.filter(isOther),
  };
}

const NO_EFFECTS: AllowEffects = {
  headers: [],
  requestHeadersToRemove: [],
  queryParametersToSet: [],
  queryParametersToRemove: [],
  responseHeadersToAdd: [],
};

function effectsOf<T>(effects: T | undefined): { readonly effects?: T } {
  return effects === undefined ? {} : { effects };
}

function metadataOf(effects: DenyEffects | undefined): Pick<AllowEffects, 'dynamicMetadata'> {
  return effects?.dynamicMetadata === undefined ? {} : { dynamicMetadata: effects.dynamicMetadata };
}

function formOf(outcome: CheckOutcome, settings: ReplySettings): Pick<DenyReply, 'form'> {
  return settings.givesDenyBody ? { form: outcome.form ?? 'text' } : {};
}

function failureReply(
  outcome: Extract<CheckOutcome, { kind: 'failure' }>,
  decisionId: string,
  settings: ReplySettings,
): GateReply {
  const { policy, reason } = outcome;
  const facts = { decisionId, policy, reason };
  switch (settings.onError) {
    case 'deny':
      return { kind: 'deny', facts, reply: { httpStatus: 403, ...formOf(outcome, settings) } };
    case 'error_response':
      return { kind: 'error', facts };
    case 'grpc':
      return { kind: 'grpc_error', facts, error: new SvidgateError('evaluation_failed', `no decision: ${reason}`) };
  }
}
