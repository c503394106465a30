import type { AnsweredCheck, CheckFactsToRecord, DecisionRecorder } from '../evidence/index.ts';
import type { RequestIdentity, VerifiedToken } from '../peer/index.ts';
import type { Decision } from '../policy/index.ts';
import type { CheckRequest } from '../proto/index.ts';
import type { Caller } from './caller.ts';
import type { CheckOutcome } from './check.ts';
import { statusOf, type GateReply } from './gate-reply.ts';
import { headerReader } from './identity-input.ts';

/** What became known of a check, as far as it got. */
export interface CheckTrace {
  caller?: Caller;
  request?: CheckRequest;
  /** That the caller may ask for. */
  policy?: string;
  identity?: RequestIdentity;
  decision?: Decision;
}

export interface RecordedCheck {
  readonly outcome: CheckOutcome;
  readonly reply: GateReply;
  readonly trace: CheckTrace;
  /** As performance.now() has it. */
  readonly startedAt: number;
}

/** How a route names itself in reports: Envoy's `context_extensions` of the ext_authz filter. */
const ROUTE_KEY = 'svidgate.route';
/** What a record has of texts of a request, which may be as long as the largest request. */
const MAX_SHORT = 1024;
const MAX_LONG = 16 * 1024;

/** Hands a check that was answered to the recorder. It costs the answer nothing. */
export function recordDecision(
  { outcome, reply, trace, startedAt }: RecordedCheck,
  {
    recorder,
    clock,
    access,
  }: {
    readonly recorder?: DecisionRecorder;
    readonly clock: { now(): number };
    readonly access: { readonly listener: string };
  },
): void {
  if (recorder === undefined) return;
  const { decisionId } = reply.facts;
  const durationMs = performance.now() - startedAt;
  const at = clock.now() - durationMs;
  // As it is now: a check whose time was up may go on.
  const known = { ...trace };
  recorder.record({
    decisionId,
    policy: outcome.policy === '' ? (known.policy ?? '') : outcome.policy,
    outcome: outcome.kind,
    ...refusedBy(known, outcome),
    inputBytes: known.decision?.evaluated?.input.byteLength ?? 0,
    facts: () => ({
      at,
      durationNs: Math.round(durationMs * 1e6),
      reason: outcome.kind === 'allow' ? '' : outcome.reason,
      httpStatus: statusToldOf(reply),
      ...('detail' in outcome && outcome.detail !== undefined ? { detail: outcome.detail } : {}),
      listener: access.listener,
      ...factsOf(known),
    }),
  });
}

/** A caller that proved nothing may ask for any policy by its name. */
function refusedBy({ caller, policy = '' }: CheckTrace, outcome: CheckOutcome): Pick<AnsweredCheck, 'refused'> {
  if (caller === undefined) return { refused: 'unknown' };
  const asksNone = outcome.policy === '' && policy === '';
  if (caller.kind !== 'anonymous') return asksNone ? { refused: 'proven' } : {};
  const isNotAllowed = outcome.kind !== 'allow' && outcome.reason === 'policy_not_allowed';
  return asksNone || isNotAllowed ? { refused: 'anonymous' } : {};
}

function factsOf({
  caller,
  request,
  identity,
  decision,
}: CheckTrace): Pick<CheckFactsToRecord, 'caller'> & Partial<CheckFactsToRecord> {
  const peer = identity?.peer;
  const { tokens = [] } = identity ?? {};
  return {
    caller: caller?.kind ?? 'unknown',
    ...(caller?.spiffeIds === undefined ? {} : { callerIds: caller.spiffeIds }),
    ...(peer?.verified === true ? { peer: { spiffeId: peer.spiffeId, serial: peer.serial } } : {}),
    ...(tokens.length === 0 || request === undefined
      ? {}
      : { tokens: tokens.map((token) => tokenFacts(token, request)) }),
    ...(request === undefined ? {} : { request: requestFacts(request) }),
    ...(decision?.digest === undefined ? {} : { digest: decision.digest }),
    ...(decision?.evaluated === undefined ? {} : { evaluated: decision.evaluated }),
  };
}

function requestFacts({ attributes }: CheckRequest): NonNullable<CheckFactsToRecord['request']> {
  const { request, contextExtensions = {} } = attributes ?? {};
  const { method = '', host = '', path = '' } = request?.http ?? {};
  const header = headerReader(request?.http);
  return {
    method: method.slice(0, MAX_SHORT).toWellFormed(),
    host: host.slice(0, MAX_SHORT).toWellFormed(),
    path: path.slice(0, MAX_LONG).toWellFormed(),
    route: Object.hasOwn(contextExtensions, ROUTE_KEY)
      ? (contextExtensions[ROUTE_KEY] ?? '').slice(0, MAX_SHORT).toWellFormed()
      : '',
    ...present('requestId', header('x-request-id')),
    ...present('traceparent', header('traceparent')),
    ...present('b3', header('b3')),
    ...present('b3TraceId', header('x-b3-traceid')),
    ...present('b3SpanId', header('x-b3-spanid')),
  };
}

function present<K extends string>(key: K, value: string | undefined): { readonly [Key in K]?: string } {
  return value === undefined
    ? {}
    : ({ [key]: value.slice(0, MAX_SHORT).toWellFormed() } as { readonly [Key in K]: string });
}

function tokenFacts(
  token: VerifiedToken,
  { attributes }: CheckRequest,
): NonNullable<CheckFactsToRecord['tokens']>[number] {
  const claims = token.verified ? token.claims : {};
  return {
    verified: token.verified,
    text: (headerReader(attributes?.request?.http)(token.header) ?? '').slice(0, MAX_LONG).toWellFormed(),
    issuer: textOf(claims['iss']),
    subject: textOf(claims['sub']),
  };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_SHORT).toWellFormed() : '';
}

/** What the client gets from Envoy; of a gRPC error, Envoy's own default. */
function statusToldOf(reply: GateReply): number {
  switch (reply.kind) {
    case 'allow':
      return 0;
    case 'deny':
      return statusOf(reply.reply);
    case 'error':
      return 500;
    case 'grpc_error':
      return 403;
  }
}
