/** What became of a policy at one moment. */
export interface PolicyEvent {
  /** Name of the policy. */
  readonly policy: string;
  /**
   * `activated`: what the source offered came into force. `refused`: it did not. `rolled_back`: an earlier state came back
   * into force, and stays until the source offers something else. `released`: it stays no longer than any other.
   */
  readonly kind: 'activated' | 'refused' | 'rolled_back' | 'released';
  /** Epoch milliseconds. */
  readonly at: number;
  /** Where it comes from: a path, or an address without credentials. */
  readonly source: string;
  readonly entrypoint: string;
  /** Who did it: `source`, or `uid:` and the user that called the admin API. */
  readonly by: string;
  /** Of what came into force, stays in force or was refused; absent when nothing could be read. */
  readonly digest?: string;
  readonly revision?: string;
  readonly signedBy?: string;
  /** The GateName of what refused it. */
  readonly gate?: string;
  /** Why it was refused, or what the operator said. */
  readonly reason?: string;
  /** With `rolled_back`: what does not come into force any more, though the source may offer it. */
  readonly heldFrom?: readonly string[];
  /** With `rolled_back`: recorded decisions were not tried. */
  readonly forced?: boolean;
}

/** The newest 100 refusals and 100 other events of each policy, over restarts. */
export interface PolicyHistory {
  /** Oldest first. */
  list(policy: string): Promise<readonly PolicyEvent[]>;
  /** It is on disk when it returns. */
  append(event: PolicyEvent): Promise<void>;
}

/** A state that an operator brought back, and what it keeps out. */
export interface PolicyHold {
  /** Epoch milliseconds. */
  readonly since: number;
  /** As in PolicyEvent. */
  readonly by: string;
  /** Digest of what is held in force. */
  readonly digest: string;
  /** Digests that do not come into force while it lasts. */
  readonly from: readonly string[];
  readonly reason?: string;
}

/** The hold that the last event before leaves behind. */
export function holdOf(event: PolicyEvent | undefined): PolicyHold | undefined {
  if (event?.kind !== 'rolled_back' || event.digest === undefined) return undefined;
  const { at: since, by, digest, heldFrom: from = [], reason } = event;
  return { since, by, digest, from, ...(reason === undefined ? {} : { reason }) };
}
