import { describeError, type Clock, type Logger, type Metrics, type ReadonlyWatchable } from '../core/index.ts';
import type { LiveSnapshots, PolicySnapshot } from '../policy/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';
import { encodeRules, type EncodedRules } from './encode-rules.ts';
import { OFFLOAD_NAMES, type OffloadKey, type OffloadSet } from './offload-rules.ts';
import type { FollowedSet, OffloadSource } from './offload-source.ts';
import { restrict, sameSet, setFor, setOf, type PeerFacts, type RestrictedPolicy } from './restrict.ts';
import { RuleOrigins } from './rule-origins.ts';
import type { TranslatedPolicy } from './translated-policy.ts';
import { Translation, type TranslationState } from './translation.ts';

/** A policy with `offload: on`. */
export interface OffloadedPolicy {
  readonly name: string;
  readonly fastDeny: boolean;
  /** Why all of it is left to the call whatever it says, in words. */
  readonly obstacle?: string;
}

export interface LiveOffloadOptions {
  readonly policies: readonly OffloadedPolicy[];
  /** What is in force, of one of them. */
  readonly snapshots: (policy: string) => ReadonlyWatchable<LiveSnapshots>;
  readonly translate: (
    policy: OffloadedPolicy,
    snapshot: PolicySnapshot,
    signal: AbortSignal,
  ) => Promise<TranslatedPolicy>;
  readonly facts: ReadonlyWatchable<PeerFacts>;
  /** Default: none. */
  readonly notes?: () => readonly string[];
  readonly mayHave: OffloadSource['mayHave'];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** How it stands with one policy. */
export interface OffloadReport {
  /** `nothing`: there are no rules, for `reason`. */
  readonly state: 'on' | 'nothing' | 'translating';
  readonly reason?: string;
  /** Of the policy in force. */
  readonly digest?: string;
  /** In the sets, before what single callers may not have is left out. */
  readonly rules: number;
  /** Left out because of what is revoked or not registered. */
  readonly withheld: number;
  /** Parts of the policy that take a call. */
  readonly left: number;
  /** How long the translation took. */
  readonly tookMs?: number;
  readonly fastDeny: boolean;
  /** The name under which Envoys ask for it. */
  readonly resource: string;
  /** How many streams follow it. */
  readonly followers: number;
}

/** The sets in force. */
export interface LiveOffload extends OffloadSource, Disposable {
  /** Translations wait for this: at the start policies have the processor. */
  begin(): void;
  /** Undefined for a policy that is not offloaded. */
  report(policy: string): OffloadReport | undefined;
  /** Whether Envoys are told to refuse what nobody may have. */
  hasFastDeny(policy: string): boolean;
  /** What leaves requests of some peers to the call for a while, in words. */
  notes(): readonly string[];
}

/** From the policies in force to what each caller is sent; disposed of, there are no rules any more. */
export function createLiveOffload(options: LiveOffloadOptions): LiveOffload {
  const origins = new RuleOrigins(options.clock);
  const turns = new Turns();
  const policies = new Map(
    options.policies.map((policy) => [policy.name, new PolicyOffload(policy, { ...options, origins, turns })] as const),
  );
  const unsubscribe = options.facts.subscribe(() => {
    const startedAt = performance.now();
    for (const policy of policies.values()) policy.refresh();
    options.metrics.observe('svidgate_offload_recompute_seconds', {}, (performance.now() - startedAt) / 1000);
  });
  return {
    follow: (key, onChange) => policies.get(key.policy)?.follow(key, onChange) ?? NOTHING,
    mayHave: options.mayHave,
    begin: () => turns.begin(),
    originOf: (ruleId, at) => origins.of(ruleId, at),
    report: (policy) => policies.get(policy)?.report(),
    hasFastDeny: (policy) => options.policies.some(({ name, fastDeny }) => fastDeny && name === policy),
    notes: () => [...(options.notes?.() ?? []), ...[...policies.values()].flatMap((policy) => policy.notes())],
    [Symbol.dispose]() {
      unsubscribe();
      for (const policy of policies.values()) policy.close();
    },
  };
}

const NOTHING: FollowedSet = { set: undefined, [Symbol.dispose]: () => undefined };

/** One thing at a time, from `begin` on. */
class Turns {
  readonly #begun = Promise.withResolvers<void>();
  #last: Promise<unknown> = this.#begun.promise;

  begin(): void {
    this.#begun.resolve();
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return await turn;
  }
}

interface Follower {
  readonly callerIds: readonly SpiffeId[];
  readonly onChange: () => void;
  set: OffloadSet | undefined;
}

type PolicyOffloadOptions = LiveOffloadOptions & { readonly origins: RuleOrigins; readonly turns: Turns };

class PolicyOffload {
  readonly #policy: OffloadedPolicy;
  readonly #options: PolicyOffloadOptions;
  readonly #translation: Translation;
  readonly #followers = new Set<Follower>();
  readonly #unsubscribe: () => void;
  #restricted: RestrictedPolicy | undefined;
  /** Those that some caller was given, so that equal ones are one. */
  #sets: OffloadSet[] = [];
  /** For a caller that has all rules, for the report. */
  #whole: OffloadSet | undefined;

  constructor(policy: OffloadedPolicy, options: PolicyOffloadOptions) {
    this.#policy = policy;
    this.#options = options;
    this.#translation = new Translation({
      ...options,
      policy: policy.name,
      translate: (snapshot, signal) => options.translate(policy, snapshot, signal),
      onChange: () => this.refresh(),
    });
    const snapshots = options.snapshots(policy.name);
    const follow = (now: LiveSnapshots): void => this.#translation.follow(now);
    // What is not sent need not be known.
    if (policy.obstacle !== undefined) this.#unsubscribe = () => undefined;
    else {
      this.#unsubscribe = snapshots.subscribe(follow);
      follow(snapshots.value);
    }
  }

  /** From the translation and the facts as they are now; whoever has another set from now on is told. */
  refresh(): void {
    const { metrics, origins } = this.#options;
    const { name: policy } = this.#policy;
    const translated = this.#translation.current;
    origins.inForce(policy, translated);
    const restricted = translated && this.#restrict(translated);
    if (restricted !== undefined && restricted === this.#restricted) return;
    this.#restricted = restricted;
    metrics.gauge('svidgate_offload_rules', { policy }, this.#restricted?.rules.length ?? 0);
    metrics.gauge('svidgate_offload_withheld_rules', { policy }, this.#restricted?.withheld ?? 0);
    const before = [...this.#followers].map((follower) => [follower, follower.set] as const);
    this.#sets = [];
    // All before any is told: who is told may ask for another one's.
    for (const [follower, set] of before) follower.set = this.#setOf(follower.callerIds, set);
    for (const [follower, set] of before) if (follower.set !== set) follower.onChange();
  }

  follow({ callerIds }: OffloadKey, onChange: () => void): FollowedSet {
    const follower: Follower = { callerIds, onChange, set: this.#setOf(callerIds, undefined) };
    this.#followers.add(follower);
    this.#count();
    return {
      policy: this.#policy.name,
      get set() {
        return follower.set;
      },
      [Symbol.dispose]: () => {
        this.#followers.delete(follower);
        this.#count();
      },
    };
  }

  report(): OffloadReport {
    const { obstacle, fastDeny } = this.#policy;
    const said = this.#said();
    const numbers = {
      rules: said?.allowCount ?? 0,
      withheld: this.#restricted?.withheld ?? 0,
      left: (this.#translation.current?.left.length ?? 0) + (said?.left.length ?? 0),
      fastDeny,
      resource: OFFLOAD_NAMES.resource(this.#policy.name),
      followers: this.#followers.size,
    };
    if (obstacle !== undefined) return { state: 'nothing', reason: obstacle, ...numbers };
    return { ...numbers, ...this.#state(this.#translation.state, said) };
  }

  notes(): readonly string[] {
    const { crowded = 0, costly = 0 } = this.#restricted ?? {};
    const told = (count: number, what: string): readonly string[] =>
      count === 0
        ? []
        : [`policy ${this.#policy.name}: ${count} of its rules ${what}: their peers are left to the call`];
    return [
      ...told(crowded, 'match more registered SPIFFE IDs than Envoys are told of'),
      ...told(costly, 'match SPIFFE IDs by what is too costly to look for among all that are registered'),
    ];
  }

  close(): void {
    this.#unsubscribe();
    this.#translation.close();
    this.refresh();
  }

  /** What Envoy can be told of all rules. */
  #said(): EncodedRules | undefined {
    if (this.#restricted === undefined) return undefined;
    const { fastDeny } = this.#policy;
    try {
      this.#whole = setOf(this.#restricted, { fastDeny, before: this.#whole });
      return encodeRules(this.#whole);
    } catch {
      return undefined; // told where they are sent
    }
  }

  #state(
    state: TranslationState,
    said: EncodedRules | undefined,
  ): Pick<OffloadReport, 'state' | 'reason' | 'digest' | 'tookMs'> {
    switch (state.kind) {
      case 'no_policy':
        return { state: 'nothing', reason: 'no policy is in force' };
      case 'translating':
        return { state: 'translating', digest: state.digest };
      case 'failed':
        return { state: 'nothing', digest: state.digest, reason: state.reason };
      case 'translated': {
        const { digest, tookMs } = state;
        const { withheld = 0 } = this.#restricted ?? {};
        if (said?.isEmpty === false) return { state: 'on', digest, tookMs };
        const { obstacle = 'peers of its rules are revoked, not registered, or of no trust domain that is known' } =
          this.#options.facts.value;
        const reason = withheld > 0 ? obstacle : 'no rule of it can be said in the words of Envoy';
        return { state: 'nothing', digest, tookMs, reason };
      }
    }
  }

  /** Whatever happens here, a revocation goes on: then all is left to the call. */
  #restrict(translated: TranslatedPolicy): RestrictedPolicy | undefined {
    const { facts, logger } = this.#options;
    try {
      return restrict(translated, facts.value, this.#restricted);
    } catch (error) {
      logger.error({ policy: this.#policy.name, reason: describeError(error) }, 'offload rules cannot be restricted');
      return undefined;
    }
  }

  /** Undefined for who may not ask. */
  #setOf(callerIds: readonly SpiffeId[], before: OffloadSet | undefined): OffloadSet | undefined {
    const { facts, mayHave } = this.#options;
    const { name, fastDeny } = this.#policy;
    const ids = callerIds.filter((id) => !facts.value.revokedCallerIds.has(id));
    if (this.#restricted === undefined || ids.length === 0 || !mayHave(name, ids)) return undefined;
    const set = setFor(this.#restricted, ids, { fastDeny, before });
    const same = this.#sets.find((other) => sameSet(other, set));
    if (same === undefined) this.#sets.push(set);
    return same ?? set;
  }

  #count(): void {
    this.#options.metrics.gauge('svidgate_offload_sets', { policy: this.#policy.name }, this.#followers.size);
  }
}
