import type { Condition, Grant, NdBuiltinCache, PolicyGrants, GrantRule } from '../../policy/index.ts';
import type { DecisionRecord } from '../records/decision-record.ts';
import { recordedNd } from '../replay/recorded-nd.ts';
import { recordedQuestion } from '../replay/recorded-question.ts';
import { Tally } from '../replay/replay-report.ts';

/** What of a policy's grants recorded allows used. */
export interface UsageReport {
  /** All records that were read. */
  readonly read: number;
  /** Allows of the policy that could be told by which grant they were allowed. */
  readonly explained: number;
  /** Allows of the policy that no grant of this version of it explains. */
  readonly unexplained: number;
  /** Allows of the policy whose record lacks what the policy looks at: they may have used anything. */
  readonly notReplayable: number;
  readonly reasons: readonly { readonly missing: string; readonly count: number }[];
  readonly leftOut: { readonly anonymous: number; readonly otherPolicies: number; readonly notAllowed: number };
  readonly grants: readonly GrantUsage[];
  /** Rules that allow, in the order of their files and lines. */
  readonly rules: readonly RuleUsage[];
}

export interface GrantUsage {
  /** Who may use it; undefined: the conditions name nobody. */
  readonly principal?: string;
  readonly conditions: readonly string[];
  readonly rules: readonly GrantRule[];
  /** How many allows used it. */
  readonly count: number;
  /** When it was used last, as the record says. */
  readonly lastUsed?: string;
  /** Who did, the most frequent first. */
  readonly usedBy: readonly { readonly principal: string; readonly count: number }[];
}

export interface RuleUsage extends GrantRule {
  readonly grants: number;
  /** Grants that were used: at least one where Envoy allowed by the rule, and which one cannot be told. */
  readonly used: number;
}

export interface UsageOptions {
  /** Records of the policy with this name; default: of all. */
  readonly policy?: string;
  /** Of the policy: then the rules that a record names are these. */
  readonly digest?: string;
  readonly signal: AbortSignal;
}

const MAX_PRINCIPALS = 1000;
const MAX_REASONS = 1000;
const MAX_OPEN = 256;
const MAX_KEPT_LENGTH = 64 * 2 ** 20;

/**
 * Which ways to allow were taken by recorded allows. What is not known to have been used is not known to be unused where
 * records are missing: the report counts those. Rejects with what reading records throws, or the signal's reason.
 */
export async function grantUsage(
  records: AsyncIterable<DecisionRecord>,
  policy: PolicyGrants,
  { policy: name, digest, signal }: UsageOptions,
): Promise<UsageReport> {
  const book = new UsageBook(policy, digest);
  const leftOut = { anonymous: 0, otherPolicies: 0, notAllowed: 0 };
  let read = 0;
  for await (const record of records) {
    signal.throwIfAborted();
    read += 1;
    if (name !== undefined && record.svidgate.policy !== name) leftOut.otherPolicies += 1;
    else if (record.svidgate.caller === 'anonymous') leftOut.anonymous += 1;
    else if (record.svidgate.outcome !== 'allow') leftOut.notAllowed += 1;
    else await book.take(record);
  }
  return { read, leftOut, ...(await book.end()) };
}

interface Usage {
  count: number;
  lastUsed: string;
  readonly by: Tally;
}

class UsageBook {
  readonly #policy: PolicyGrants;
  readonly #digest: string | undefined;
  /** By place: those that Envoy allowed by, where the log does not say by which grant. */
  readonly #offloaded = new Set<string>();
  readonly #usage = new Map<number, Usage>();
  readonly #known = new Map<string, Promise<readonly number[] | undefined>>();
  readonly #reasons = new Tally(MAX_REASONS);
  #open: Promise<void>[] = [];
  #keptLength = 0;
  #explained = 0;
  #unexplained = 0;
  #notReplayable = 0;

  constructor(policy: PolicyGrants, digest: string | undefined) {
    this.#policy = policy;
    this.#digest = digest;
  }

  async take(record: DecisionRecord): Promise<void> {
    const question = recordedQuestion(record, this.#policy.needs);
    if (question.kind === 'cut') {
      this.#notReplayable += 1;
      this.#noteOffloaded(record);
      for (const missing of question.missing) this.#reasons.add(missing);
      return;
    }
    this.#open.push(this.#note(record, this.#ask(question.input, recordedNd(record))));
    if (this.#open.length < MAX_OPEN) return;
    const open = this.#open;
    this.#open = [];
    await Promise.all(open);
  }

  async end(): Promise<Omit<UsageReport, 'read' | 'leftOut'>> {
    await Promise.all(this.#open);
    const { grants } = this.#policy;
    return {
      explained: this.#explained,
      unexplained: this.#unexplained,
      notReplayable: this.#notReplayable,
      reasons: this.#reasons.sorted().map(([missing, count]) => ({ missing, count })),
      grants: grants.map((grant, index) => usageOf(grant, this.#usage.get(index))),
      rules: rulesOf(grants, (index) => this.#usage.has(index), this.#offloaded),
    };
  }

  #noteOffloaded({ svidgate: { policy_digest: digest, rules = [] } }: DecisionRecord): void {
    if (digest === undefined || digest !== this.#digest) return;
    for (const rule of rules) this.#offloaded.add(placeOf(rule));
  }

  #ask(input: string, nd: NdBuiltinCache): Promise<readonly number[] | undefined> {
    const key = `${input}\n${JSON.stringify(nd)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#keptLength += key.length;
    if (this.#keptLength > MAX_KEPT_LENGTH) {
      this.#known.clear();
      this.#keptLength = key.length;
    }
    const found = this.#policy.matching(new TextEncoder().encode(input), { nd });
    this.#known.set(key, found);
    return found;
  }

  async #note(record: DecisionRecord, asked: Promise<readonly number[] | undefined>): Promise<void> {
    const matching = await asked;
    if (matching === undefined || matching.length === 0) {
      this.#unexplained += 1;
      return;
    }
    this.#explained += 1;
    for (const index of matching) {
      const usage = this.#usage.get(index) ?? { count: 0, lastUsed: '', by: new Tally(MAX_PRINCIPALS) };
      this.#usage.set(index, usage);
      usage.count += 1;
      if (record.timestamp > usage.lastUsed) usage.lastUsed = record.timestamp;
      usage.by.add(record.svidgate.principal);
    }
  }
}

function usageOf(grant: Grant, usage: Usage | undefined): GrantUsage {
  const principal = grant.conditions.map(principalIn).find((found) => found !== undefined);
  return {
    ...(principal === undefined ? {} : { principal }),
    conditions: grant.conditions.map(({ text }) => text),
    rules: grant.rules,
    count: usage?.count ?? 0,
    ...(usage === undefined ? {} : { lastUsed: usage.lastUsed }),
    usedBy: (usage?.by.sorted() ?? []).map(([who, count]) => ({ principal: who, count })),
  };
}

/** Where a policy reads who asks. */
const PRINCIPALS: ReadonlySet<string> = new Set([
  'svidgate/peer/spiffe_id',
  'attributes/source/principal',
  'source_principal',
]);

/** The principal that a condition asks for. */
export function principalIn({ operator, negated, args = [] }: Condition): string | undefined {
  if ((operator !== 'eq' && operator !== 'equal') || negated === true) return undefined;
  const [one, other] = args;
  for (const [term, constant] of [
    [one, other],
    [other, one],
  ]) {
    const [head, ...keys] = term?.ref ?? [];
    const path = keys.map(({ value }) => String(value)).join('/');
    if (head?.var === 'input' && PRINCIPALS.has(path) && typeof constant?.value === 'string') return constant.value;
  }
  return undefined;
}

function rulesOf(
  grants: readonly Grant[],
  isUsed: (index: number) => boolean,
  offloaded: ReadonlySet<string>,
): readonly RuleUsage[] {
  const rules = new Map<string, { place: GrantRule; grants: number; used: number }>();
  grants.forEach((grant, index) => {
    for (const place of grant.rules) {
      const key = placeOf(place);
      const rule = rules.get(key) ?? { place, grants: 0, used: 0 };
      rules.set(key, rule);
      rule.grants += 1;
      if (isUsed(index)) rule.used += 1;
    }
  });
  return [...rules.values()]
    .map(({ place, grants: count, used }) => {
      return { ...place, grants: count, used: Math.max(used, offloaded.has(placeOf(place)) ? 1 : 0) };
    })
    .sort((one, other) => (one.file === other.file ? one.line - other.line : one.file < other.file ? -1 : 1));
}

function placeOf({ file, line }: GrantRule): string {
  return `${file}:${line}`;
}
