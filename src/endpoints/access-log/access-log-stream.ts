import { randomUUID } from 'node:crypto';
import { SvidgateError, type Metrics } from '../../core/index.ts';
import { MAX_ENTRY_BYTES, type AnsweredCheck, type DecisionRecorder } from '../../evidence/index.ts';
import { OFFLOAD_NAMES, type OffloadOrigin } from '../../offload/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';
import type { LoggingCaller } from './caller.ts';
import { Turn, type FairTurns } from './fair-turns.ts';
import type { PolicyRecordings } from './policy-recordings.ts';
import { scanEntry, type LoggedDecision, type ScannedEntry } from './scan-entry.ts';
import { eachField, Fields } from './wire-fields.ts';

export interface AccessLogContext {
  readonly source: { originOf(ruleId: string, at?: number): OffloadOrigin | undefined };
  readonly hasFastDeny: (policy: string) => boolean;
  readonly whenKnown: (policy: string, signal: AbortSignal) => Promise<void>;
  readonly recordings: PolicyRecordings;
  readonly turns: FairTurns;
  readonly recorder: DecisionRecorder;
  readonly clock: { now(): number };
  readonly metrics: Metrics;
}

// Numbers of fields in service/accesslog/v3 and config/core/v3.
const IDENTIFIER = 1;
const HTTP_LOGS = 2;
const LOG_ENTRY = 1;
const NODE = 1;
const NODE_ID = 1;
const MAX_DECISIONS = 8;

type Range = readonly [number, number];

/** Takes what one message logs. Throws `invalid_request` at bytes that are no such message; what was before them counts. */
export async function takeLogs(message: Uint8Array, caller: LoggingCaller, context: AccessLogContext): Promise<void> {
  const turn = new Turn(context.turns, caller.pid);
  await turn.begin();
  let rights = caller.rights();
  let hasWaited = false;
  for (const range of rangesIn(message, caller)) {
    const [from, to] = range ?? [0, 0];
    if (turn.isOver(to - from)) {
      await turn.begin();
      rights = caller.rights();
    }
    if (range === undefined) continue;
    const bytes = message.subarray(from, to);
    const entry = bytes.length > MAX_ENTRY_BYTES ? undefined : scanEntry(bytes, OFFLOAD_NAMES.metadataNamespace);
    const unknown = hasWaited ? undefined : entry?.decisions.find((each) => isUnknown(each, rights, context));
    if (unknown !== undefined) {
      hasWaited = true;
      await context.whenKnown(unknown.policy, caller.signal);
      rights = caller.rights();
    }
    const result = takeEntry({ bytes, entry }, { ...rights, caller }, context);
    context.metrics.count('svidgate_offload_log_entries_total', { result });
  }
}

/** Entries, as they are asked for; undefined for each other field. */
function* rangesIn(message: Uint8Array, { book }: LoggingCaller): Generator<Range | undefined> {
  const fields = new Fields(message, [0, message.length]);
  let isWhole = true;
  while (isWhole && fields.next()) {
    const { field, from, to } = fields;
    yield undefined;
    if (field === IDENTIFIER) book.name(nodeIdIn(message, [from, to]));
    if (field !== HTTP_LOGS) continue;
    const logs = new Fields(message, [from, to]);
    while (logs.next()) yield logs.field === LOG_ENTRY ? [logs.from, logs.to] : undefined;
    isWhole = logs.isWhole;
  }
  if (!isWhole || !fields.isWhole) throw new SvidgateError('invalid_request', 'not a message of an access log');
}

/** Of an identifier. */
export function nodeIdIn(message: Uint8Array, range: Range): string {
  let id = '';
  eachField(message, range, (field, from, to) => {
    if (field !== NODE) return;
    eachField(message, [from, to], (inner, at, end) => {
      if (inner === NODE_ID) id = Buffer.from(message.subarray(at, end)).toString('utf8').slice(0, 256).toWellFormed();
    });
  });
  return id;
}

interface Logging {
  readonly ids: readonly SpiffeId[];
  readonly mayHave: (policy: string) => boolean;
  readonly caller: LoggingCaller;
}

type Result = 'recorded' | 'ignored' | 'refused';

function isUnknown(
  { policy, rule }: LoggedDecision,
  { mayHave }: Pick<Logging, 'mayHave'>,
  { source }: AccessLogContext,
): boolean {
  return rule !== undefined && mayHave(policy) && source.originOf(rule) === undefined;
}

function takeEntry(
  { bytes, entry }: { readonly bytes: Uint8Array; readonly entry: ScannedEntry | undefined },
  logging: Logging,
  context: AccessLogContext,
): Result {
  if (entry === undefined || entry.decisions.length > MAX_DECISIONS) return 'refused';
  if (entry.decisions.length === 0 || !entry.isLast) return 'ignored';
  let result: Result = 'recorded';
  for (const decision of entry.decisions) {
    const check = logging.mayHave(decision.policy)
      ? checkOf(decision, { bytes, startedAt: entry.startedAt, logging }, context)
      : undefined;
    if (check === undefined) {
      result = 'refused';
      continue;
    }
    logging.caller.book.receive(decision.policy, decision.outcome, entry.startedAt);
    context.recorder.record(check);
  }
  return result;
}

/** As the recorder takes it; undefined where no set of this caller had the rule, or none has it refuse anything. */
function checkOf(
  { policy, outcome, rule }: LoggedDecision,
  { bytes, startedAt, logging }: { readonly bytes: Uint8Array; readonly startedAt: number; readonly logging: Logging },
  { source, hasFastDeny, recordings, clock }: AccessLogContext,
): AnsweredCheck | undefined {
  const { ids, caller } = logging;
  const at = clock.now();
  const origin = rule === undefined ? undefined : source.originOf(rule, startedAt === 0 ? at : startedAt);
  if (outcome === 'allow' && (origin?.policy !== policy || !origin.isFor(ids))) return undefined;
  if (outcome === 'deny' && !hasFastDeny(policy)) return undefined;
  const facts: AnsweredCheck['facts'] = () => {
    const digest = origin?.policyDigest;
    const recording = digest === undefined ? undefined : recordings.of(policy, digest);
    const { needs = NOTHING, entrypoint = '', revision } = recording ?? {};
    // Of what is not known to be by another policy, the one in force says whether it is recorded.
    const { logRules } = recording ?? recordings.inForce(policy) ?? {};
    const more = {
      ...(revision === undefined ? {} : { revision }),
      ...(logRules === undefined ? {} : { logRules }),
    };
    return {
      at,
      durationNs: 0,
      reason: outcome === 'allow' ? '' : 'policy_denied',
      httpStatus: outcome === 'allow' ? 0 : 403,
      caller: 'attested',
      callerIds: ids,
      listener: '',
      ...(digest === undefined ? {} : { digest }),
      offloaded: {
        ...(rule === undefined ? {} : { rule }),
        origin: origin?.origin ?? [],
        verifiesPeer: origin?.peer === 'peers',
        knowsPolicy: recording !== undefined,
      },
      evaluated: { input: bytes, needs, value: true, cached: false, entrypoint, ...more },
    };
  };
  return { decisionId: randomUUID(), policy, outcome, offloadedBy: caller.pid, inputBytes: bytes.length, facts };
}

const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();
