import type { GrantRule } from '../policy/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';
import type { OffloadKey, OffloadSet, PeerMatch } from './offload-rules.ts';

/** What is in force for whom, for those who send it to Envoy or read what Envoy did by it. */
export interface OffloadSource {
  /**
   * What a caller with these SPIFFE IDs is to be sent, now and at each change: `onChange` is called in the same turn of the
   * event loop in which a revocation, an entry, a bundle or a policy took effect. Equal sets are the same object.
   */
  follow(key: OffloadKey, onChange: () => void): FollowedSet;
  /** Whether a caller with these SPIFFE IDs may ask the gate for the policy, on a socket where it is attested. */
  mayHave(policy: string, callerIds: readonly SpiffeId[]): boolean;
  /**
   * What a rule stands for, also where it left a set within the last minutes. Undefined for a name that none has.
   * @param at when a request met it, epoch milliseconds: snapshots share rules. Default: now
   */
  originOf(ruleId: string, at?: number): OffloadOrigin | undefined;
}

/** A followed set; disposed of, it calls back no more. */
export interface FollowedSet extends Disposable {
  /** Undefined: there is no such policy, it is not offloaded, or the caller may not have it. A set without rules is to be sent. */
  readonly set: OffloadSet | undefined;
  /** Where it is one that is offloaded. */
  readonly policy?: string;
}

export interface OffloadOrigin {
  readonly policy: string;
  /** Of the snapshot that the rule was made from; absent where it may have been one or another. */
  readonly policyDigest?: string;
  /** As OffloadRule has it. */
  readonly origin: readonly GrantRule[];
  /** Whom the rule asks for: with `peers` Envoy has verified the certificate of whoever met it. */
  readonly peer: PeerMatch['kind'];
  /** Whether an Envoy with these SPIFFE IDs is given the rule. */
  readonly isFor: (callerIds: readonly SpiffeId[]) => boolean;
}
