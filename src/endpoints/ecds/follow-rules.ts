import { SvidgateError, type Logger, type ReadonlyWatchable } from '../../core/index.ts';
import {
  isSaidToBeSince,
  type EncodedResource,
  type EnvoyNode,
  type FollowedResources,
  type ResourceState,
  type ResourceVersion,
  type ResourceView,
} from '../../discovery/index.ts';
import {
  encodeNoRules,
  encodeRules,
  policyOfResource,
  type EncodedRules,
  type FollowedSet,
  type OffloadSet,
  type OffloadSource,
} from '../../offload/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';

export interface FollowRulesOptions {
  readonly source: Pick<OffloadSource, 'follow'>;
  /** How long an Envoy may go by rules after it heard of us last. */
  readonly leaseMs: number;
  readonly logger: Logger;
  readonly trust: RulesTrust;
}

/** Whether an Envoy verifies its peers so that a foreign authority cannot sign for our SPIFFE IDs. */
export interface RulesTrust {
  /** Whether there are bundles of foreign trust domains. */
  readonly hasForeign: ReadonlyWatchable<boolean>;
  /** Whether the node keeps trust domains apart, by the SPIFFE certificate validator. */
  readonly usesValidator: (node: EnvoyNode) => boolean;
}

/** The oldest Envoy that the leases and matchers were tried with: a minor version of Envoy 1. */
const OLDEST_MINOR = 36;

/** What Envoy keeps of a name, and a policy's name in it. */
const MAX_POLICY_LENGTH = 256;

const UNKNOWN: ResourceState = { kind: 'unknown' };

/** What one stream asks for. */
export class FollowedRules implements FollowedResources<readonly SpiffeId[]> {
  readonly #options: FollowRulesOptions;
  readonly #onChange: () => void;
  /** By resource name. */
  readonly #sets = new Map<string, FollowedSet>();
  /** What the Envoy has refused last, by resource name: nothing is offloaded until that changes. */
  readonly #refused = new Map<string, string>();
  readonly #unsubscribe: () => void;
  #names: ReadonlySet<string> = new Set();
  #callerIds: readonly SpiffeId[] = [];

  constructor(options: FollowRulesOptions, onChange: () => void) {
    this.#options = options;
    this.#onChange = onChange;
    this.#unsubscribe = options.trust.hasForeign.subscribe(onChange);
  }

  ask(names: ReadonlySet<string>): void {
    this.#names = names;
    for (const [name, followed] of this.#sets) {
      if (names.has(name)) continue;
      followed[Symbol.dispose]();
      this.#sets.delete(name);
      this.#refused.delete(name);
    }
  }

  view(callerIds: readonly SpiffeId[], node: EnvoyNode): ResourceView {
    if (callerIds !== this.#callerIds) this.#letGo();
    this.#callerIds = callerIds;
    return {
      isRegistered: true,
      lookup: (name, isHeld) => this.#lookup(name, isHeld, node),
      // There is no asking for everything: each filter asks for its own.
      all: () => [],
      isPending: false,
    };
  }

  refused(resources: readonly ResourceVersion[]): void {
    for (const { name, version } of resources) {
      // There is nothing less: what was refused before it is not sent again.
      if (version !== encodeNoRules(policyOfResource(name) ?? '').version) this.#refused.set(name, version);
    }
    this.#onChange();
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    this.#letGo();
  }

  #lookup(name: string, isHeld: boolean, node: EnvoyNode): ResourceState {
    const policy = policyOfResource(name);
    if (policy === undefined || policy.length > MAX_POLICY_LENGTH) return UNKNOWN;
    // Who is not registered gets nothing, and keeps nothing.
    if (this.#callerIds.length === 0 && !isHeld) return UNKNOWN;
    const followed = this.#follow(name, policy);
    const set = followed?.set;
    const { leaseMs } = this.#options;
    const known = followed?.policy === undefined ? {} : { policy: followed.policy };
    const rules = set === undefined || !takesLeases(node) || !this.#keepsApart(node) ? undefined : this.#encode(set);
    const resource = resourceOf(name, rules ?? encodeNoRules(policy), {
      ...known,
      leaseMs,
      policyDigest: rules === undefined ? '' : (set?.policyDigest ?? ''),
    });
    if (rules === undefined || this.#refused.get(name) !== resource.version) {
      return { kind: 'ready', resource };
    }
    const none = resourceOf(name, encodeNoRules(policy), { ...known, leaseMs, policyDigest: '' });
    return { kind: 'ready', resource: none };
  }

  #keepsApart(node: EnvoyNode): boolean {
    const { hasForeign, usesValidator } = this.#options.trust;
    return !hasForeign.value || usesValidator(node);
  }

  /** Of what is not asked for nothing is followed. */
  #follow(name: string, policy: string): FollowedSet | undefined {
    if (this.#callerIds.length === 0 || !this.#names.has(name)) return undefined;
    let followed = this.#sets.get(name);
    if (followed === undefined) {
      followed = this.#options.source.follow({ policy, callerIds: this.#callerIds }, this.#onChange);
      this.#sets.set(name, followed);
    }
    return followed;
  }

  /** Rules that cannot be encoded are none: everything is asked about. */
  #encode(set: OffloadSet): EncodedRules | undefined {
    try {
      return encodeRules(set);
    } catch (error) {
      const reason = SvidgateError.from(error).message;
      this.#options.logger.error({ policy: set.policy, reason }, 'offload rules cannot be encoded');
      return undefined;
    }
  }

  #letGo(): void {
    for (const followed of this.#sets.values()) followed[Symbol.dispose]();
    this.#sets.clear();
  }
}

/** A node that does not say what it is may be a client that knows no leases. */
function takesLeases(node: EnvoyNode): boolean {
  return isSaidToBeSince(node, OLDEST_MINOR);
}

/** No rules need no lease. */
function resourceOf(
  name: string,
  { bytes, version, isEmpty }: EncodedRules,
  { leaseMs, ...of }: { readonly leaseMs: number; readonly policyDigest: string; readonly policy?: string },
): EncodedResource {
  const facts = { kind: 'offload', ...of } as const;
  return { name, version, bytes, facts, ...(isEmpty ? {} : { ttlMs: leaseMs }) };
}
