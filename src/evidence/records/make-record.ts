import { shadowSubject } from '../shadow-subject.ts';
import type { DecisionFacts, EvaluatedFacts, RequestFacts, TokenFacts } from './decision-facts.ts';
import type { DecisionRecord, JsonRecord, RecordedContext, RecordedPaths } from './decision-record.ts';
import { exactJson } from './exact-json.ts';
import { inputRules, shownPath, type ShownParts } from './input-rules.ts';
import { keyedHash } from './keyed-hash.ts';
import { maskNd } from './mask-nd.ts';
import { Masking, pointsToCredential } from './mask-rules.ts';
import { isPlainResult, RESULT_RULES } from './result-rules.ts';
import { looksSecret } from './secret-text.ts';
import { traceContext } from './trace-context.ts';

export interface RecordMakerOptions {
  readonly labels: Readonly<Record<string, string>>;
  readonly shown: ShownParts;
  /** Of the hashes. */
  readonly key: Uint8Array;
}

/**
 * Makes the record of a decision, without anything that the allow-list does not name. The facts are its own, and so is the
 * input: the bytes of its JSON text, or a document as JSON.parse makes them.
 */
export type RecordMaker = (facts: DecisionFacts, input?: Uint8Array | JsonRecord) => DecisionRecord;

/** Pointers beyond these are told by the object that they are in. */
const MAX_POINTERS = 64;
/** With words of the evaluator beside them, which quote the policy at most. */
const WITH_DETAIL: ReadonlySet<string> = new Set(['evaluation_error', 'wrong_type', 'reply_refused']);
const MAX_TEXT = 256;
const UTF8 = new TextDecoder();

export function createRecordMaker({ labels, shown, key }: RecordMakerOptions): RecordMaker {
  const rules = inputRules(shown);
  const shownNames = new Set([...shown.headers, ...shown.query, ...shown.claims]);
  const hashOf = keyedHash(key);
  const shownPaths = shown.paths.filter((pointer) => !pointsToCredential(pointer));
  const shownOfPath = shownPath(shown);
  return (facts, input) => {
    const { evaluated } = facts;
    const known = knownNames(evaluated?.recorded);
    const masking = new Masking({
      shownPaths,
      shownOfPath,
      isKnownName: (name) => shownNames.has(name) || known.has(name),
    });
    const seen: { input?: JsonRecord; result?: unknown } = {};
    if (evaluated !== undefined && input !== undefined && evaluated.tooLarge?.includes('input') !== true) {
      seen.input = input instanceof Uint8Array ? (exactJson(UTF8.decode(input)) as JsonRecord) : input;
      masking.apply(seen, 'input', rules);
    }
    if (evaluated !== undefined && 'value' in evaluated) {
      seen.result = evaluated.value;
      if (!isPlainResult(seen.result)) masking.apply(seen, 'result', RESULT_RULES);
    }
    for (const name of evaluated?.tooLarge ?? []) masking.note(`/${name}`, undefined);
    const { nd, missing } = maskNd(answersOf(evaluated), masking, shown.paths);
    const unknown = facts.offloaded?.missing ?? [];
    const unreplayable = few([...[...masking.erased, ...masking.masked].filter(isOfInput), ...missing, ...unknown]);
    const error = errorOf(facts, masking);
    const erased = few(masking.erased);
    return {
      labels,
      decision_id: facts.decisionId,
      ...(facts.request === undefined ? {} : traceContext(facts.request)),
      ...(evaluated === undefined ? {} : { ...bundlesOf(facts), path: evaluated.entrypoint }),
      ...seen,
      ...(error === undefined ? {} : { error: { message: error } }),
      metrics: { timer_server_handler_ns: facts.durationNs },
      ...(nd === undefined ? {} : { nd_builtin_cache: nd }),
      timestamp: timestampOf(facts.at),
      ...(erased.length === 0 ? {} : { erased }),
      ...(masking.masked.length === 0 ? {} : { masked: few(masking.masked) }),
      req_id: facts.requestNumber,
      svidgate: {
        ...contextOf(facts, hashOf),
        ...(seen.input !== undefined && input instanceof Uint8Array ? { input_hash: hashOf(input) } : {}),
        ...(evaluated === undefined ? {} : { recorded: evaluated.recorded }),
        cached: evaluated?.cached === true,
        replayable: evaluated !== undefined && unreplayable.length === 0,
        ...(unreplayable.length === 0 ? {} : { unreplayable }),
      },
    };
  };
}

function contextOf(
  facts: DecisionFacts,
  hashOf: (text: string) => string,
): Omit<RecordedContext, 'cached' | 'replayable'> {
  const { peer, tokens = [], request, envoyPeer } = facts;
  const { principal, method, route } = shadowSubject({
    spiffeId: peer?.spiffeId ?? envoyPeer,
    ...(request ?? { method: '', host: '', path: '', route: '' }),
  });
  return {
    policy: plain(facts.policy),
    ...(facts.digest === undefined ? {} : { policy_digest: facts.digest }),
    outcome: facts.outcome,
    reason: facts.reason,
    http_status: facts.httpStatus,
    principal,
    ...(peer === undefined ? {} : { peer: { spiffe_id: peer.spiffeId, serial: peer.serial } }),
    ...(envoyPeer === undefined ? {} : { principal_verified_by: 'envoy' as const }),
    ...(tokens.length === 0 ? {} : { tokens: tokens.map((token) => tokenOf(token, hashOf)) }),
    caller: facts.caller,
    ...(facts.callerIds === undefined ? {} : { caller_ids: facts.callerIds }),
    listener: facts.listener,
    method,
    route: plain(route),
    ...requestIdOf(request),
    ...offloadedOf(facts),
  };
}

function offloadedOf({ offloaded }: DecisionFacts): Pick<RecordedContext, 'offloaded' | 'offload_rule' | 'rules'> {
  if (offloaded === undefined) return {};
  const { rule, origin } = offloaded;
  return { offloaded: true, ...(rule === undefined ? {} : { offload_rule: rule, rules: origin }) };
}

function tokenOf(token: TokenFacts, hashOf: (text: string) => string): NonNullable<RecordedContext['tokens']>[number] {
  return {
    issuer: plain(token.issuer),
    subject: plain(token.subject),
    token_hash: hashOf(token.text.replace(/^bearer\s+/i, '')),
    verified: token.verified,
  };
}

function requestIdOf(request: RequestFacts | undefined): { readonly request_id?: string } {
  const id = request?.requestId ?? '';
  return id === '' ? {} : { request_id: plain(id) };
}

/** What a stranger may have written. */
function plain(text: string): string {
  return looksSecret(text) ? '' : text.slice(0, MAX_TEXT).toWellFormed();
}

function bundlesOf({ policy, evaluated }: DecisionFacts): Pick<DecisionRecord, 'bundles'> {
  return evaluated?.revision === undefined ? {} : { bundles: { [policy]: { revision: evaluated.revision } } };
}

/** Of builtins. Where the input is not here nobody can tell what of it they repeat: then the time alone. */
function answersOf({ nd = {}, ndLost = [], tooLarge }: Partial<EvaluatedFacts> = {}): Pick<
  EvaluatedFacts,
  'nd' | 'ndLost'
> {
  if (tooLarge?.includes('input') !== true) return { nd, ndLost };
  const { [TIME]: time, ...others } = nd;
  return { nd: time === undefined ? {} : { [TIME]: time }, ndLost: [...ndLost, ...Object.keys(others)] };
}

const TIME = 'time.now_ns';

function errorOf({ outcome, reason, detail, evaluated }: DecisionFacts, masking: Masking): string | undefined {
  if (outcome !== 'failure') return undefined;
  if (evaluated?.tooLarge !== undefined) return reason;
  if (detail === undefined || !WITH_DETAIL.has(reason)) return reason;
  return looksSecret(detail) || masking.removed.isIn(detail) ? reason : `${reason}: ${detail}`;
}

function isOfInput(pointer: string): boolean {
  return pointer === '/input' || pointer.startsWith('/input/');
}

/** The pointers, without repetitions; where there are many, those of what holds them. */
function few(pointers: readonly string[]): readonly string[] {
  let all = [...new Set(pointers)];
  while (all.length > MAX_POINTERS) {
    const deepest = Math.max(...all.map(depthOf));
    all = [...new Set(all.map((pointer) => (depthOf(pointer) < deepest ? pointer : parentOf(pointer))))];
  }
  return all;
}

function depthOf(pointer: string): number {
  return pointer.split('/').length;
}

function parentOf(pointer: string): string {
  return pointer.slice(0, pointer.lastIndexOf('/'));
}

/** The keys in the paths that the policy can look at: they stand in the policy. */
function knownNames(recorded: RecordedPaths | undefined): ReadonlySet<string | number> {
  if (recorded === undefined || recorded === 'all') return NO_NAMES;
  let names = namesOf.get(recorded);
  if (names === undefined) namesOf.set(recorded, (names = new Set(recorded.flat())));
  return names;
}

const NO_NAMES: ReadonlySet<string | number> = new Set();
/** The same array for all decisions of one policy. */
const namesOf = new WeakMap<readonly unknown[], ReadonlySet<string | number>>();

/** Most records are of the same second as the one before. */
function timestampOf(at: number): string {
  const second = Math.floor(at / 1000);
  if (second !== lastSecond.at) lastSecond = { at: second, text: new Date(second * 1000).toISOString().slice(0, -4) };
  return `${lastSecond.text}${String(Math.floor(at - second * 1000)).padStart(3, '0')}000000Z`;
}

let lastSecond = { at: 0, text: '1970-01-01T00:00:00.' };
