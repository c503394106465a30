import { randomUUID } from 'node:crypto';
import { SvidgateError, type Metrics } from '../../core/index.ts';
import { MAX_ENTRY_BYTES, type LoggedAnswerRecorder } from '../../evidence/index.ts';
import { OFFLOAD_NAMES, type OffloadOrigin } from '../../offload/index.ts';
import { eachField, Fields } from '../../proto/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';
import type { LoggingCaller } from './caller.ts';
import type { CommonAnswers } from './common-answers.ts';
import { Turn, type FairTurns } from './fair-turns.ts';
import { scanEntry, type LoggedDecision, type ScannedEntry } from './scan-entry.ts';

export interface AccessLogContext {
  readonly source: { originOf(ruleId: string, at?: number): OffloadOrigin | undefined };
  readonly hasFastDeny: (policy: string) => boolean;
  readonly whenKnown: (policy: string, signal: AbortSignal) => Promise<void>;
  readonly common: CommonAnswers;
  readonly turns: FairTurns;
  readonly recorder: LoggedAnswerRecorder;
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
  using results = new Results(context.metrics);
  for (const range of rangesIn(message, caller)) {
    const [from, to] = range ?? [0, 0];
    if (turn.isOver(to - from)) {
      results.tell();
      await turn.begin();
      rights = caller.rights();
    }
    if (range === undefined) continue;
    const bytes = message.subarray(from, to);
    const entry = bytes.length > MAX_ENTRY_BYTES ? undefined : scanEntry(bytes, OFFLOAD_NAMES.metadataNamespace);
    let answers = answersIn(entry, rights, context);
    const unknown = hasWaited ? undefined : answers.find(({ isUnknown }) => isUnknown);
    if (unknown !== undefined) {
      hasWaited = true;
      results.tell();
      await context.whenKnown(unknown.decision.policy, caller.signal);
      rights = caller.rights();
      answers = answersIn(entry, rights, context);
    }
    results.count(takeEntry({ bytes, entry, answers }, { ids: rights.ids, caller }, context));
  }
}

/** Entries, as they are asked for; undefined for each other field. */
function* rangesIn(message: Uint8Array, { book }: LoggingCaller): Generator<Range | undefined> {
  const fields = new Fields(message, 0, message.length);
  let isWhole = true;
  while (isWhole && fields.next()) {
    const { field, from, to } = fields;
    yield undefined;
    if (field === IDENTIFIER) book.name(nodeIdIn(message, [from, to]));
    if (field !== HTTP_LOGS) continue;
    const logs = new Fields(message, from, to);
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

type Result = 'recorded' | 'ignored' | 'refused';

/** What became of entries, added up while nobody else has a turn. */
class Results implements Disposable {
  readonly #metrics: Metrics;
  readonly #counts: Record<Result, number> = { recorded: 0, ignored: 0, refused: 0 };

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  count(result: Result): void {
    this.#counts[result] += 1;
  }

  tell(): void {
    for (const result of RESULTS) {
      const count = this.#counts[result];
      if (count > 0) this.#metrics.count('svidgate_offload_log_entries_total', { result }, count);
      this.#counts[result] = 0;
    }
  }

  [Symbol.dispose](): void {
    this.tell();
  }
}

const RESULTS: readonly Result[] = ['recorded', 'ignored', 'refused'];

interface Answer {
  readonly decision: LoggedDecision;
  /** Of the rule that allowed it. */
  readonly origin: OffloadOrigin | undefined;
  readonly mayHave: boolean;
  /** Whether nobody knows the rule, yet. */
  readonly isUnknown: boolean;
}

/** What our filters said, by rules as they are known now; nothing of an entry that is not taken. */
function answersIn(
  entry: ScannedEntry | undefined,
  { mayHave: isAllowed }: { readonly mayHave: (policy: string) => boolean },
  { source, clock }: AccessLogContext,
): readonly Answer[] {
  if (entry === undefined || !entry.isLast || entry.decisions.length > MAX_DECISIONS) return [];
  return entry.decisions.map((decision) => {
    const { policy, rule } = decision;
    const mayHave = isAllowed(policy);
    if (!mayHave || rule === undefined) return { decision, origin: undefined, mayHave, isUnknown: false };
    const origin = source.originOf(rule, entry.startedAt === 0 ? clock.now() : entry.startedAt);
    return { decision, origin, mayHave, isUnknown: origin === undefined };
  });
}

interface TakenEntry {
  readonly bytes: Uint8Array;
  readonly entry: ScannedEntry | undefined;
  readonly answers: readonly Answer[];
}

interface Logging {
  readonly ids: readonly SpiffeId[];
  readonly caller: LoggingCaller;
}

function takeEntry({ bytes, entry, answers }: TakenEntry, logging: Logging, context: AccessLogContext): Result {
  if (entry === undefined || entry.decisions.length > MAX_DECISIONS) return 'refused';
  if (answers.length === 0) return 'ignored';
  const { ids, caller } = logging;
  let result: Result = 'recorded';
  for (const answer of answers) {
    if (!isCredible(answer, ids, context)) {
      result = 'refused';
      continue;
    }
    const { decision, origin } = answer;
    caller.book.receive(decision.policy, decision.outcome, entry.startedAt);
    context.recorder.recordLogged({
      decisionId: randomUUID(),
      at: context.clock.now(),
      entry: bytes,
      offloadedBy: caller.pid,
      common: context.common.of(decision, ids, origin),
    });
  }
  return result;
}

/** Not where no set of this caller had the rule, or none has it refuse anything. */
function isCredible(
  { decision: { policy, outcome }, origin, mayHave }: Answer,
  ids: readonly SpiffeId[],
  { hasFastDeny }: AccessLogContext,
): boolean {
  if (!mayHave) return false;
  return outcome === 'allow' ? origin?.policy === policy && origin.isFor(ids) : hasFastDeny(policy);
}
