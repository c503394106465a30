import { SvidgateError, type Clock } from '../core/index.ts';
import type { PolicyTrials } from '../evidence/index.ts';
import type { PresentedRequest, RequestIdentity, RequestVerifier } from '../peer/index.ts';
import {
  isFailure,
  type AllowEffects,
  type Decision,
  type DenyEffects,
  type HeaderField,
  type PolicyEngine,
  type PolicyInput,
} from '../policy/index.ts';
import type { AttributeContext, CheckRequest } from '../proto/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';
import type { Peer } from '../transport/index.ts';
import { identifyCaller, mayAsk, type Caller, type CallerSources } from './caller.ts';
import { bodyForm, type BodyForm } from './deny-body.ts';
import { egressToken, type EgressTokens } from './egress-token.ts';
import { headerReader } from './identity-input.ts';
import { inputDocument, type InputOptions } from './input-document.ts';
import { guardTarget, type PathGuard } from './path-guard.ts';
import type { CheckTrace } from './record-decision.ts';
import { refusedInAllow, refusedInDeny, type ReplyRules } from './reply-rules.ts';
import { shownRequest, type ShownRequest } from './shown-request.ts';

/** How one check ended. `failure` means that no decision could be made: `authz.on_error` says how Envoy is told. */
export type CheckOutcome = CheckFacts &
  (
    | {
        readonly kind: 'allow';
        readonly effects?: AllowEffects;
        /** A secret, for the reply alone. */
        readonly token?: HeaderField;
      }
    /** Let through whatever its policy says: `unenforced`. */
    | { readonly kind: 'unenforced'; readonly reason: 'unenforced' }
    /** Denied by its policy, and let through all the same: `authz.dry_run`. */
    | { readonly kind: 'dry_run'; readonly reason: string; readonly effects?: DenyEffects }
    | {
        readonly kind: 'deny';
        readonly reason: string;
        readonly httpStatus: 400 | 403;
        readonly effects?: DenyEffects;
        readonly detail?: string;
      }
    | { readonly kind: 'failure'; readonly reason: string; readonly detail?: string }
  );

export interface CheckFacts {
  /** The policy that was asked for; empty when the request did not get that far. */
  readonly policy: string;
  readonly identity?: RequestIdentity;
  /** In what form the client reads why it was denied; absent when the request could not be read. */
  readonly form?: BodyForm;
  /** For policies that are tried on it. */
  readonly shown?: ShownRequest;
}

export interface CheckRules extends InputOptions {
  readonly pathGuard: PathGuard;
  readonly reply: ReplyRules;
  /** Whether what a policy denies is let through. Nothing else is. */
  readonly isDryRun: boolean;
}

export interface CheckSources extends CallerSources {
  readonly policies: Pick<PolicyEngine, 'decide'>;
  readonly requests: RequestVerifier;
  /** Policies that do not decide, or not yet; absent without any. */
  readonly trials?: PolicyTrials;
  /** Set when `authz.deny_unregistered` is on: whether some entry gives this SPIFFE ID. */
  readonly isRegistered?: (id: SpiffeId) => boolean;
  /** Absent: no policy gets a JWT-SVID for a request. */
  readonly egress?: EgressTokens;
  readonly rules: CheckRules;
  readonly clock: Clock;
}

/** What a door was asked. */
export interface CheckQuestion {
  /** Of what was sent, in bytes. */
  readonly size: number;
  /**
   * Reads it, once it is known who asks. Throws a SvidgateError where it is no question: that is a failure. A refused one is a
   * deny, whatever `authz.on_error` says.
   */
  readonly read: (caller: Caller) => CheckRequest | RefusedQuestion;
}

export interface RefusedQuestion {
  readonly refused: string;
}

/** How a door was asked. */
export interface CheckCall {
  readonly peer: Peer;
  /** Epoch milliseconds; undefined when the caller set none. */
  readonly deadline: number | undefined;
  /** Gives the call up. */
  readonly signal: AbortSignal;
}

interface CheckContext extends CheckCall {
  readonly deadline: number;
  /** Filled on the way, for the record. */
  readonly trace: CheckTrace;
}

/** Which policy a route asks for: Envoy's `context_extensions` of the ext_authz filter. */
const POLICY_KEY = 'svidgate.policy';
/** No policy has a longer name; more of what was asked for is not repeated. */
const MAX_POLICY_NAME = 64;
/** What part of the time that is left may go into waiting for the keys of a token's issuer. */
const KEYS_SHARE = 2;

/** Decides one check request. Rejects only on a defect; the caller of this function denies then, too. */
export async function check(
  question: CheckQuestion,
  context: CheckContext,
  sources: CheckSources,
): Promise<CheckOutcome> {
  // First, so that a caller that we do not know costs no reading of what it sends.
  const caller = await identifyCaller(context.peer, sources).catch((error: unknown) => SvidgateError.from(error));
  if (caller instanceof SvidgateError) {
    return { kind: 'deny', policy: '', reason: callerRefusal(caller), httpStatus: 403, detail: caller.message };
  }
  context.trace.caller = caller;
  let request: CheckRequest | RefusedQuestion;
  try {
    request = question.read(caller);
  } catch (error) {
    const { code, message } = SvidgateError.from(error);
    return { kind: 'failure', policy: '', reason: code, detail: message };
  }
  if ('refused' in request) {
    return { kind: 'deny', policy: '', reason: 'request_refused', httpStatus: 403, detail: request.refused };
  }
  context.trace.request = request;
  const outcome = await decideRequest(request, caller, { ...context, sources, size: question.size });
  if (outcome.kind === 'allow' || outcome.kind === 'dry_run') return outcome;
  return { ...outcome, form: bodyForm(request.attributes?.request?.http?.headers ?? {}) };
}

async function decideRequest(
  request: CheckRequest,
  caller: Caller,
  { deadline, signal, trace, sources, size }: CheckContext & { readonly sources: CheckSources; readonly size: number },
): Promise<CheckOutcome> {
  const { access } = sources;
  const policy = policyName(request.attributes, access.defaultPolicy);
  // Whether there is such a policy is told to nobody who may not ask for it.
  if (!mayAsk(caller, policy, access)) {
    const asked = policy.slice(0, MAX_POLICY_NAME);
    return { kind: 'deny', policy: asked, reason: 'policy_not_allowed', httpStatus: 403 };
  }
  trace.policy = policy;
  const presented = presentedRequest(request.attributes, caller, policy);
  const identity = await sources.requests.verify(presented, (deadline - sources.clock.now()) / KEYS_SHARE);
  trace.identity = identity;
  const { peer, revoked } = identity;
  const facts = { policy, identity };
  if (revoked !== undefined) return { kind: 'deny', ...facts, reason: revoked, httpStatus: 403 };
  if (peer.verified && sources.isRegistered !== undefined && !sources.isRegistered(peer.spiffeId)) {
    return { kind: 'deny', ...facts, reason: 'peer_unregistered', httpStatus: 403 };
  }
  const path = guardTarget(request.attributes?.request?.http?.path ?? '', sources.rules.pathGuard);
  if (path === 'refused') return { kind: 'deny', ...facts, reason: 'path_refused', httpStatus: 400 };
  let input: PolicyInput;
  try {
    input = inputDocument(request, { caller, ...facts }, { ...sources.rules, path: path.seen });
  } catch (error) {
    const detail = SvidgateError.from(error).message;
    return { kind: 'deny', ...facts, reason: 'request_parse_error', httpStatus: 400, detail };
  }
  const { trials, policies, rules } = sources;
  const shown = shownRequest(request, { caller, policy, identity, input, size }, trials);
  if (trials?.isUnenforced(policy) === true) return { kind: 'unenforced', reason: 'unenforced', ...facts, ...shown };
  trace.decision = await policies.decide(policy, input, { deadline, signal });
  const outcome = toOutcome(trace.decision, { ...facts, ...shown }, rules);
  return await withWish(outcome, { caller, hasRequest: hasHttp(request), deadline }, sources);
}

/** A TCP connection has none. */
function hasHttp({ attributes }: CheckRequest): boolean {
  return (attributes?.request?.http ?? null) !== null;
}

/** An allow whose policy wishes for a JWT-SVID is one with that, or a deny. */
async function withWish(
  outcome: CheckOutcome,
  about: Parameters<typeof egressToken>[1],
  sources: CheckSources,
): Promise<CheckOutcome> {
  const wish = outcome.kind === 'allow' ? outcome.effects?.jwtSvid : undefined;
  if (outcome.kind !== 'allow' || wish === undefined) return outcome;
  const found = await egressToken(wish, about, sources);
  if (found.kind === 'token') return { ...outcome, token: found.header };
  const { effects: _effects, ...facts } = outcome;
  return { ...facts, kind: 'deny', reason: found.reason, detail: found.detail, httpStatus: 403 };
}

/** What a policy asks for and Envoy must not be told is a deny, and never a failure: `on_error` may let those pass. */
export function toOutcome(decision: Decision, facts: CheckFacts, rules: CheckRules): CheckOutcome {
  const refused = refusedIn(decision, rules.reply);
  if (refused !== undefined) {
    const detail = `the policy asks for ${refused}`;
    return { kind: 'deny', ...facts, reason: 'reply_refused', httpStatus: 403, detail };
  }
  if (decision.effect === 'allow') return { kind: 'allow', ...facts, ...effectsOf(decision.effects) };
  const { reason } = decision;
  const detail = decision.detail === undefined ? {} : { detail: decision.detail };
  if (isFailure(reason)) return { kind: 'failure', ...facts, reason, ...detail };
  if (rules.isDryRun) return { kind: 'dry_run', ...facts, reason, ...effectsOf(decision.effects) };
  return { kind: 'deny', ...facts, reason, httpStatus: 403, ...effectsOf(decision.effects), ...detail };
}

function refusedIn(decision: Decision, rules: ReplyRules): string | undefined {
  if (decision.effects === undefined) return undefined;
  return decision.effect === 'allow' ? refusedInAllow(decision.effects, rules) : refusedInDeny(decision.effects, rules);
}

export function effectsOf<T>(effects: T | undefined): { readonly effects?: T } {
  return effects === undefined ? {} : { effects };
}

function callerRefusal({ code }: SvidgateError): string {
  if (code === 'no_identity') return 'caller_unregistered';
  return code === 'caller_not_allowed' ? code : 'caller_not_attested';
}

function policyName(attributes: AttributeContext | null, defaultPolicy: string): string {
  const extensions = attributes?.contextExtensions ?? {};
  return Object.hasOwn(extensions, POLICY_KEY) ? (extensions[POLICY_KEY] ?? '') : defaultPolicy;
}

function presentedRequest(attributes: AttributeContext | null, caller: Caller, policy: string): PresentedRequest {
  const { certificate = '', principal = '' } = attributes?.source ?? {};
  return {
    certificate,
    principal,
    header: headerReader(attributes?.request?.http),
    callerIds: caller.spiffeIds,
    replayBook: policy,
  };
}
