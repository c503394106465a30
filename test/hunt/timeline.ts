import type { PolicyName } from './policies.ts';

/** What is the case in the world at one moment. */
export interface Moment {
  /** By policy, the versions that may be in force: two while one takes the place of the other. */
  readonly versions: Readonly<Partial<Record<PolicyName, readonly number[]>>>;
  /** Names of the roots that are in the bundles. */
  readonly roots: readonly string[];
  /** Names of the keys that the issuer of tokens publishes. */
  readonly tokenKeys: readonly string[];
  readonly revokedIds: readonly string[];
  /** Names of certificates. */
  readonly revokedCertificates: readonly string[];
  /** The SPIFFE IDs in these. */
  readonly revokedHolders: readonly string[];
  /** Whether an entry gives the caller an identity. */
  readonly hasCaller: boolean;
  /** SPIFFE IDs that no entry gives. */
  readonly unregistered: readonly string[];
  /** How far the clock is ahead of the right time. */
  readonly clockMs: number;
  /** Whether something of this is on its way: then only what is denied is sure. */
  readonly isChanging: boolean;
  /** As isChanging, of a policy. */
  readonly isSwapping: boolean;
}

/** What one change of the world is about. */
export type Change = Partial<Omit<Moment, 'versions' | 'revokedHolders' | 'isChanging' | 'isSwapping'>>;

/** What leads to the moment, but for versions of policies. */
export function changeTo(moment: Moment): Change {
  const { versions: _, revokedHolders: __, isChanging: ___, isSwapping: ____, ...change } = moment;
  return change;
}

export const FIRST_MOMENT: Moment = {
  versions: {},
  roots: ['first', 'partner'],
  tokenKeys: ['issuer'],
  revokedIds: [],
  revokedCertificates: [],
  revokedHolders: [],
  hasCaller: true,
  unregistered: [],
  clockMs: 0,
  isChanging: false,
  isSwapping: false,
};

/**
 * All that was the case, in its order. A check may be answered by any moment between its beginning and its end, and for
 * who asks by another one than for its policy.
 */
export class Timeline {
  readonly #moments: Moment[] = [FIRST_MOMENT];

  get now(): Moment {
    return this.#moments.at(-1) ?? FIRST_MOMENT;
  }

  /** For `since`. */
  get mark(): number {
    return this.#moments.length - 1;
  }

  set(change: Partial<Moment>): void {
    this.#moments.push({ ...this.now, ...change });
  }

  since(mark: number): readonly Moment[] {
    return this.#moments.slice(mark);
  }
}
