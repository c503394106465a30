import type {
  Decision,
  GrantList,
  GrantRule,
  InputNeeds,
  OpenedPolicy,
  PolicyGrants,
  PolicyProblem,
} from '../../policy/index.ts';
import { answerOf, changeOf, type AnswerChange } from '../replay/recorded-answer.ts';
import type { ShadowAnswer } from '../shadow-answer.ts';
import { candidates } from './candidates.ts';
import { recordedPaths } from '../records/recorded-paths.ts';
import type { Path } from './input-path.ts';
import { createRandom } from './random.ts';
import { simplest, tellingParts } from './simplest.ts';
import { wishesOf, type Wish } from './wishes.ts';

/** One of the two policies. */
export interface ComparedPolicy {
  readonly policy: Pick<OpenedPolicy, 'decide' | 'needs'>;
  readonly grants: GrantList;
}

export interface DifferenceOptions {
  /** Requests to begin with, such as recorded ones. Default: none. */
  readonly inputs?: readonly unknown[];
  /** The same seed tries the same requests. Default 1. */
  readonly seed?: number;
  /** How many requests are tried. Default 20000. */
  readonly tries?: number;
  /** Ends the search when so many differ. Default: none does. */
  readonly enough?: number;
  /** Requests shown of each kind of difference. Default 3. */
  readonly samples?: number;
  /** When it is, in nanoseconds since 1970: for policies that ask. */
  readonly nowNs: bigint;
  readonly signal: AbortSignal;
  readonly onTried?: (tried: number) => void;
}

/** What was found: no difference does not mean that there is none. */
export interface DifferenceReport {
  readonly tried: number;
  /** Of them: answered differently. */
  readonly different: number;
  readonly groups: readonly DifferenceGroup[];
  /** Places for which the rules of a policy are not told, and requests by its conditions miss more. */
  readonly misjudged: { readonly before: readonly PolicyProblem[]; readonly after: readonly PolicyProblem[] };
}

/** Differences of one kind, by the rules that allow. */
export interface DifferenceGroup {
  readonly change: AnswerChange;
  /** Of the policy that allows, the new one where both do; empty where no condition tells, or it is not known exactly. */
  readonly rules: readonly GrantRule[];
  readonly count: number;
  readonly samples: readonly DifferentRequest[];
}

export interface DifferentRequest {
  /** What of the request matters. */
  readonly request: unknown;
  readonly before: ShadowAnswer;
  readonly after: ShadowAnswer;
}

const DEFAULT_TRIES = 20_000;
const BATCH = 256;
/** Conjunctions that are looked at of each policy. */
const MAX_CONJUNCTIONS = 400;
/** Differing requests that are looked at closely. */
const MAX_GROUPED = 400;
/** Of a group, for each request that is shown. */
const SIMPLIFIED = 8;

/** Looks for requests that two policies answer differently. */
export async function policyDifference(
  before: ComparedPolicy,
  after: ComparedPolicy,
  options: DifferenceOptions,
): Promise<DifferenceReport> {
  const { seed = 1, tries = DEFAULT_TRIES, enough = Infinity, inputs = [], signal, onTried } = options;
  const random = createRandom(seed);
  const constants = [...new Set([...before.grants.constants, ...after.grants.constants])];
  await using pair = new PolicyPair(before, after, options);
  const found: FoundDifference[] = [];
  const seen = new Set<string>();
  let [tried, different] = [0, 0];
  let batch: string[] = [];
  const flush = async (): Promise<void> => {
    const differences = await Promise.all(batch.map((text) => pair.compare(text)));
    tried += batch.length;
    batch = [];
    for (const difference of differences) {
      if (difference === undefined) continue;
      different += 1;
      if (found.length < MAX_GROUPED) found.push(difference);
    }
    onTried?.(tried);
  };
  // Repeats end a search that has nothing new to try.
  let repeats = 0;
  const conjunctions = conjunctionsOf(before, after);
  const places = [before, after].flatMap(({ policy: { needs } }) => placesIn(needs));
  for (const input of candidates({ conjunctions, places, inputs, constants, random })) {
    signal.throwIfAborted();
    const text = JSON.stringify(input);
    repeats = seen.has(text) ? repeats + 1 : 0;
    if (tried + batch.length >= tries || different >= enough || repeats > 1000) break;
    if (repeats > 0) continue;
    seen.add(text);
    if (batch.push(text) >= BATCH) await flush();
  }
  await flush();
  return {
    tried,
    different,
    groups: await grouped(found, pair, options.samples ?? 3),
    misjudged: { before: before.grants.misjudged, after: after.grants.misjudged },
  };
}

/** What the policy can look at; nothing where it takes all of the input. */
function placesIn(needs: InputNeeds): readonly Path[] {
  const paths = recordedPaths(needs);
  return paths === 'all' ? [] : paths;
}

/** Those that one policy alone has come first. */
function conjunctionsOf(before: ComparedPolicy, after: ComparedPolicy): readonly (readonly Wish[])[] {
  const texts = [before, after].map(
    ({ grants }) => new Set(grants.residuals.flatMap(({ conjunctions }) => conjunctions.map(({ text }) => text))),
  );
  const sides = [before, after].map(({ grants }, side) =>
    grants.residuals.flatMap((residual) =>
      residual.conjunctions.map(({ conditions, text }) => ({
        isCommon: texts[1 - side]?.has(text) === true,
        wishes: () => wishesOf(conditions, residual),
      })),
    ),
  );
  return sides
    .flatMap((side) =>
      side.toSorted((one, other) => Number(one.isCommon) - Number(other.isCommon)).slice(0, MAX_CONJUNCTIONS),
    )
    .sort((one, other) => Number(one.isCommon) - Number(other.isCommon))
    .map(({ wishes }) => wishes());
}

interface FoundDifference extends DifferentRequest {
  readonly change: AnswerChange;
}

class PolicyPair implements AsyncDisposable {
  readonly #opened = new Map<GrantList, Promise<PolicyGrants>>();
  readonly #before: ComparedPolicy;
  readonly #after: ComparedPolicy;
  readonly #ask: {
    readonly nd: Readonly<Record<string, Readonly<Record<string, string>>>>;
    readonly signal: AbortSignal;
  };

  constructor(before: ComparedPolicy, after: ComparedPolicy, { nowNs, signal }: DifferenceOptions) {
    this.#before = before;
    this.#after = after;
    // Whom a policy would ask beside the clock is not known: both then fail alike.
    this.#ask = { nd: { 'time.now_ns': { '[]': String(nowNs) } }, signal };
  }

  async compare(text: string): Promise<FoundDifference | undefined> {
    const ask = async ({ policy }: ComparedPolicy): Promise<Decision> =>
      await policy.decide(new TextEncoder().encode(text), this.#ask);
    const [one, other] = await Promise.all([ask(this.#before), ask(this.#after)]);
    const [before, after] = [answerOf(one), answerOf(other)];
    const change = changeOf({ kind: 'known', answer: before, withEffects: true }, after);
    return change === undefined ? undefined : { change, request: JSON.parse(text) as unknown, before, after };
  }

  /** Of the policy that allows. */
  async rulesOf({ change, request }: FoundDifference): Promise<readonly GrantRule[]> {
    const { grants } = change === 'would_deny' || change === 'would_fail' ? this.#before : this.#after;
    if (grants.misjudged.length > 0) return [];
    const opened = this.#opened.get(grants) ?? grants.open();
    this.#opened.set(grants, opened);
    const matching = await (await opened).matching(new TextEncoder().encode(JSON.stringify(request)), this.#ask);
    const rules = (matching ?? []).map((index) => grants.grants[index]?.rules[0]).filter((rule) => rule !== undefined);
    return [...new Map(rules.map((rule) => [`${rule.file}:${rule.line}`, rule])).values()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opened of this.#opened.values()) await (await opened)[Symbol.asyncDispose]();
  }
}

async function grouped(
  found: readonly FoundDifference[],
  pair: PolicyPair,
  samples: number,
): Promise<readonly DifferenceGroup[]> {
  const groups = new Map<string, { change: AnswerChange; rules: readonly GrantRule[]; all: FoundDifference[] }>();
  for (const difference of found) {
    const rules = await pair.rulesOf(difference);
    const key = JSON.stringify([difference.change, rules]);
    const group = groups.get(key) ?? { change: difference.change, rules, all: [] };
    groups.set(key, group);
    group.all.push(difference);
  }
  const shown: DifferenceGroup[] = [];
  for (const { change, rules, all } of groups.values()) {
    shown.push({ change, rules, count: all.length, samples: await samplesOf(all, pair, samples) });
  }
  return shown;
}

/** The simplest requests of a group, in each of which something else matters. */
async function samplesOf(
  all: readonly FoundDifference[],
  pair: PolicyPair,
  count: number,
): Promise<readonly DifferentRequest[]> {
  const found = new Map<string, DifferentRequest>();
  for (const each of all.slice(0, SIMPLIFIED * count)) {
    if (found.size >= count) break;
    const request = await simplest(each.request, async (smaller) => {
      const still = await pair.compare(JSON.stringify(smaller));
      return still?.change === each.change;
    });
    const { before, after } = (await pair.compare(JSON.stringify(request))) ?? each;
    const parts = Object.keys(tellingParts(request)).join(' ');
    if (!found.has(parts)) found.set(parts, { request, before, after });
  }
  return [...found.values()];
}
