import type { Decision, InputNeeds, OpenedPolicy } from '../../policy/index.ts';
import type { DecisionRecord } from '../records/decision-record.ts';
import { answerOf, changeOf, recordedAnswer } from './recorded-answer.ts';
import { recordedNd } from './recorded-nd.ts';
import { recordedQuestion } from './recorded-question.ts';
import { ChangeBook, Tally, type LeftOut, type ReplayReport } from './replay-report.ts';

/** The policy that is asked. */
export type ReplayPolicy = Pick<OpenedPolicy, 'decide' | 'needs'>;

export interface ReplayOptions {
  /** Records of the policy with this name; default: of all. */
  readonly policy?: string;
  /** Decision ids that each kind of change shows. Default 5. */
  readonly samples?: number;
  /** Kinds of changes that are told apart. Default 1000. */
  readonly maxChanges?: number;
  readonly signal: AbortSignal;
  /** Called for every record that was read. */
  readonly onRead?: (read: number) => void;
}

/** Questions that may be open at once: the evaluator works them off in order. */
const MAX_OPEN = 512;
/** Texts of questions whose answer is kept, in characters; then they are forgotten. */
const MAX_KEPT_LENGTH = 64 * 2 ** 20;
const MAX_REASONS = 1000;
/** What an evaluation says that asks for an answer that was not recorded: see NdBook. */
const NOT_RECORDED = /^no answer of (\S+) to this call was recorded$/;

/**
 * Asks a policy what it would have answered to recorded requests. Each record that holds all that the policy can look at is
 * evaluated with what builtins answered then; others are counted and never guessed. Rejects with what reading records throws,
 * or the signal's reason.
 */
export async function replay(
  records: AsyncIterable<DecisionRecord>,
  policy: ReplayPolicy,
  options: ReplayOptions,
): Promise<ReplayReport> {
  const run = new ReplayRun(policy, options);
  for await (const record of records) {
    options.signal.throwIfAborted();
    await run.take(record);
  }
  return await run.end();
}

class ReplayRun {
  readonly #policy: ReplayPolicy;
  readonly #options: ReplayOptions;
  readonly #needs: InputNeeds;
  readonly #answers = new Map<string, Promise<Decision>>();
  readonly #leftOut = { anonymous: 0, otherPolicies: 0, undecided: 0 };
  readonly #reasons = new Tally(MAX_REASONS);
  readonly #changes: ChangeBook;
  #open = 0;
  #wantedOpen = 0;
  #whenRoom: (() => void) | undefined;
  #failure: unknown;
  #keptLength = 0;
  #read = 0;
  #replayed = 0;
  #changed = 0;
  #notReplayable = 0;
  #effectsUnknown = 0;
  #evaluations = 0;

  constructor(policy: ReplayPolicy, options: ReplayOptions) {
    this.#policy = policy;
    this.#options = options;
    this.#needs = policy.needs;
    this.#changes = new ChangeBook({ maxGroups: options.maxChanges ?? 1000, maxSamples: options.samples ?? 5 });
  }

  /** Resolves when there is room for another one. */
  async take(record: DecisionRecord): Promise<void> {
    this.#read += 1;
    this.#options.onRead?.(this.#read);
    const why = this.#leaveOut(record);
    if (why !== undefined) {
      this.#leftOut[why] += 1;
      return;
    }
    const before = recordedAnswer(record);
    if (before.kind === 'undecided') {
      this.#leftOut.undecided += 1;
      return;
    }
    if (before.kind === 'unanswered') return this.#cut([`no answer was made: ${before.reason}`]);
    const question = recordedQuestion(record, this.#needs);
    if (question.kind === 'cut') return this.#cut(question.missing);
    this.#open += 1;
    void this.#settle(record, before, question.input);
    // Half, so that the reader wakes up for many at once.
    if (this.#open >= MAX_OPEN) await this.#until(MAX_OPEN / 2);
  }

  async end(): Promise<ReplayReport> {
    await this.#until(0);
    this.#options.signal.throwIfAborted();
    const asked = this.#replayed + this.#notReplayable;
    return {
      read: this.#read,
      replayed: this.#replayed,
      changed: this.#changed,
      notReplayable: this.#notReplayable,
      leftOut: this.#leftOut,
      shareReplayable: asked === 0 ? 1 : this.#replayed / asked,
      effectsUnknown: this.#effectsUnknown,
      reasons: this.#reasons.sorted().map(([missing, count]) => ({ missing, count })),
      changes: this.#changes.sorted(),
      otherChanges: this.#changes.others,
      evaluations: this.#evaluations,
    };
  }

  #leaveOut({ svidgate }: DecisionRecord): keyof LeftOut | undefined {
    const { policy } = this.#options;
    if (policy !== undefined && svidgate.policy !== policy) return 'otherPolicies';
    return svidgate.caller === 'anonymous' ? 'anonymous' : undefined;
  }

  async #settle(record: DecisionRecord, before: Known, input: string): Promise<void> {
    try {
      this.#count(record, before, await this.#ask(record, input));
    } catch (error) {
      this.#failure ??= error;
    }
    this.#open -= 1;
    if (this.#open <= this.#wantedOpen) this.#whenRoom?.();
  }

  /** Waits until no more than this many questions are open. Throws what went wrong with one of them. */
  async #until(open: number): Promise<void> {
    this.#wantedOpen = open;
    if (this.#open > open) await new Promise<void>((resolve) => (this.#whenRoom = resolve));
    this.#whenRoom = undefined;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #ask(record: DecisionRecord, input: string): Promise<Decision> {
    const nd = recordedNd(record);
    const key = `${input}\n${JSON.stringify(nd)}`;
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    this.#evaluations += 1;
    const answer = this.#policy.decide(new TextEncoder().encode(input), { nd, signal: this.#options.signal });
    this.#keptLength += key.length;
    if (this.#keptLength > MAX_KEPT_LENGTH) {
      this.#answers.clear();
      this.#keptLength = key.length;
    }
    this.#answers.set(key, answer);
    return answer;
  }

  #count(record: DecisionRecord, before: Known, decision: Decision): void {
    const notRecorded = decision.effect === 'deny' ? NOT_RECORDED.exec(decision.detail ?? '')?.[1] : undefined;
    if (notRecorded !== undefined) return this.#cut([`the answer of ${notRecorded}`]);
    this.#replayed += 1;
    if (!before.withEffects) this.#effectsUnknown += 1;
    const after = answerOf(decision);
    const change = changeOf(before, after);
    if (change === undefined) return;
    this.#changed += 1;
    const { principal, method, route } = record.svidgate;
    this.#changes.add({
      principal,
      method,
      route,
      change,
      before: answerText(before.answer),
      after: answerText(after),
      decisionId: record.decision_id,
    });
  }

  #cut(missing: readonly string[]): void {
    this.#notReplayable += 1;
    for (const each of missing) this.#reasons.add(each);
  }
}

type Known = Extract<ReturnType<typeof recordedAnswer>, { kind: 'known' }>;

/** `allow`, `deny 404`, `failure undefined_decision` */
function answerText(answer: Known['answer']): string {
  if (answer.kind === 'failure') return `failure ${answer.reason}`;
  const status = answer.kind === 'deny' ? answer.effects?.httpStatus : undefined;
  return status === undefined ? answer.kind : `${answer.kind} ${status}`;
}
