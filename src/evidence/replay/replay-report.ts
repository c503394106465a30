import type { AnswerChange } from './recorded-answer.ts';

/** What a policy would have answered to recorded requests. */
export interface ReplayReport {
  /** All records that were read; each is counted in one of the next fields. */
  readonly read: number;
  /** Answered again. */
  readonly replayed: number;
  /** Of `replayed`: with another answer than the recorded one. */
  readonly changed: number;
  /** What the policy can look at is not in the record, or there was no answer to compare with. */
  readonly notReplayable: number;
  readonly leftOut: LeftOut;
  /** `replayed` of all that was or should have been replayed; 1 where there was nothing. */
  readonly shareReplayable: number;
  /** Of `replayed`: compared by allow and deny alone, since what was answered is masked. */
  readonly effectsUnknown: number;
  /** Why records were not replayable, the most frequent first: JSON pointers, and words. A record may count several times. */
  readonly reasons: readonly { readonly missing: string; readonly count: number }[];
  /** The most frequent first. */
  readonly changes: readonly ReplayChange[];
  /** Of `changed`: not in `changes`, which has no more room. */
  readonly otherChanges: number;
  /** How often the policy was evaluated; the same question counts once. */
  readonly evaluations: number;
}

/** Records that say nothing about the policy. */
export interface LeftOut {
  /** Whoever asked is not known: see RecordedContext. */
  readonly anonymous: number;
  /** Of other policies. */
  readonly otherPolicies: number;
  /** No policy was asked. */
  readonly undecided: number;
}

/** Requests of one principal to one route whose answer changes in one way. */
export interface ReplayChange {
  readonly principal: string;
  readonly method: string;
  readonly route: string;
  readonly change: AnswerChange;
  readonly before: string;
  readonly after: string;
  readonly count: number;
  /** Decision ids, the first that were met. */
  readonly samples: readonly string[];
}

/** A number for each name, with a bound on names; what does not fit is left out. */
export class Tally {
  readonly #counts = new Map<string, number>();
  readonly #maxNames: number;

  constructor(maxNames: number) {
    this.#maxNames = maxNames;
  }

  add(name: string): void {
    const count = this.#counts.get(name);
    if (count === undefined && this.#counts.size >= this.#maxNames) return;
    this.#counts.set(name, (count ?? 0) + 1);
  }

  /** The most frequent first. */
  sorted(): readonly (readonly [name: string, count: number])[] {
    return [...this.#counts].sort(
      ([oneName, one], [otherName, other]) => other - one || (oneName < otherName ? -1 : 1),
    );
  }
}

export type ChangedRequest = Omit<ReplayChange, 'count' | 'samples'> & { readonly decisionId: string };

/** Groups changed answers, with a bound on groups. */
export class ChangeBook {
  readonly #groups = new Map<
    string,
    { readonly change: Omit<ReplayChange, 'count' | 'samples'>; count: number; samples: string[] }
  >();
  readonly #maxGroups: number;
  readonly #maxSamples: number;
  /** Changes of groups for which there was no room. */
  others = 0;

  constructor({ maxGroups, maxSamples }: { readonly maxGroups: number; readonly maxSamples: number }) {
    this.#maxGroups = maxGroups;
    this.#maxSamples = maxSamples;
  }

  add({ decisionId, ...change }: ChangedRequest): void {
    const { principal, method, route, before, after } = change;
    const key = JSON.stringify([principal, method, route, change.change, before, after]);
    const group = this.#groups.get(key);
    if (group === undefined && this.#groups.size >= this.#maxGroups) {
      this.others += 1;
      return;
    }
    if (group === undefined)
      this.#groups.set(key, { change, count: 1, samples: [decisionId].slice(0, this.#maxSamples) });
    else {
      group.count += 1;
      if (group.samples.length < this.#maxSamples) group.samples.push(decisionId);
    }
  }

  /** The most frequent first. */
  sorted(): readonly ReplayChange[] {
    return [...this.#groups.values()]
      .map(({ change, count, samples }) => ({ ...change, count, samples }))
      .sort((one, other) => other.count - one.count);
  }
}
