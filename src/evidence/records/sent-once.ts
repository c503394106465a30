import type { EvaluatedDecision, LogRules } from '../../policy/index.ts';
import type { CommonFacts } from './answered-check.ts';
import type { RecordedPaths } from './decision-record.ts';
import { MAX_COMMON, type SentCommon } from './record-protocol.ts';
import { recordedPaths } from './recorded-paths.ts';

/** Of all paths that were ever in force. */
const MAX_PATHS = 1000;
const MAX_RULES = 1000;

/** What goes to the recording thread once, and then by its number. */
export class SentOnce {
  readonly #paths = new Map<EvaluatedDecision['needs'], number>();
  #newPaths: [number, RecordedPaths][] = [];
  #pathNumber = 0;
  readonly #common = new Map<CommonFacts, number>();
  #newCommon: [number, SentCommon][] = [];
  #commonNumber = 0;
  readonly #rules = new Map<number, LogRules>();
  readonly #ruleNumbers = new WeakMap<LogRules, number>();
  #ruleNumber = 0;

  /** A new thread knows nothing. */
  clear(): void {
    this.#paths.clear();
    this.#newPaths = [];
    this.#common.clear();
    this.#newCommon = [];
  }

  /** What the thread has not got; it is on its way now. */
  take(): {
    readonly paths: readonly (readonly [number, RecordedPaths])[];
    readonly common: readonly (readonly [number, SentCommon])[];
  } {
    return { paths: this.#newPaths.splice(0), common: this.#newCommon.splice(0) };
  }

  pathsOf(needs: EvaluatedDecision['needs']): number {
    const known = this.#paths.get(needs);
    if (known !== undefined) return known;
    if (this.#paths.size >= MAX_PATHS) this.#paths.clear();
    this.#pathNumber += 1;
    this.#paths.set(needs, this.#pathNumber);
    this.#newPaths.push([this.#pathNumber, recordedPaths(needs)]);
    return this.#pathNumber;
  }

  commonOf(common: CommonFacts): number {
    const known = this.#common.get(common);
    if (known !== undefined) return known;
    if (this.#common.size >= MAX_COMMON) this.#common.clear();
    this.#commonNumber += 1;
    this.#common.set(common, this.#commonNumber);
    const { evaluated, ...facts } = common;
    this.#newCommon.push([this.#commonNumber, { ...facts, evaluated: this.evaluated(evaluated) }]);
    return this.#commonNumber;
  }

  /** With numbers in place of what is sent once. */
  evaluated({ needs, logRules, ...more }: Omit<EvaluatedDecision, 'input'>): SentCommon['evaluated'] {
    const rules = logRules === undefined ? {} : { rules: this.#rulesOf(logRules) };
    return { ...more, recorded: this.pathsOf(needs), ...rules };
  }

  /** Log rules; undefined where those are long out of force. */
  rules(number: number): LogRules | undefined {
    return this.#rules.get(number);
  }

  #rulesOf(rules: LogRules): number {
    const known = this.#ruleNumbers.get(rules);
    if (known !== undefined) return known;
    this.#ruleNumber += 1;
    this.#ruleNumbers.set(rules, this.#ruleNumber);
    this.#rules.set(this.#ruleNumber, rules);
    // Those of policies that are long out of force.
    this.#rules.delete(this.#ruleNumber - MAX_RULES);
    return this.#ruleNumber;
  }
}
