import type { Clock } from '../core/index.ts';
import type { Revocation, SpiffeId } from '../spiffe/index.ts';
import type { RevocationSnapshot } from './revocations.ts';

/** What a revocation is about, as text: there is at most one for each. */
export function revocationKey({ target }: Pick<Revocation, 'target'>): string {
  return target.kind === 'serial' ? `serial:${target.serial}` : `id:${target.spiffeId}`;
}

/** Answers of 100,000 revocations, so that a snapshot takes the changes since they were counted and not all anew. */
interface Counted {
  readonly keys: ReadonlyMap<string, Revocation>;
  /** Revocations by serial of each SPIFFE ID that we know to hold one. */
  readonly holders: ReadonlyMap<SpiffeId, readonly Revocation[]>;
}

/** Changes that a snapshot carries before all is counted anew, which takes about 50 ms for 100,000. */
const MAX_CHANGES = 256;

/** One state of the revocations. It never changes; `with` and `without` give the next one. */
export class RevocationsAt implements RevocationSnapshot {
  readonly all: readonly Revocation[];
  readonly #clock: Clock;
  readonly #counted: Counted;
  /** By key; undefined for one that was undone since. */
  readonly #changes: ReadonlyMap<string, Revocation | undefined>;

  private constructor(
    clock: Clock,
    all: readonly Revocation[],
    since?: { readonly counted: Counted; readonly changes: ReadonlyMap<string, Revocation | undefined> },
  ) {
    this.#clock = clock;
    this.all = all;
    const isSmall = since !== undefined && since.changes.size <= MAX_CHANGES;
    this.#counted = isSmall ? since.counted : count(all);
    this.#changes = isSmall ? since.changes : new Map();
  }

  /** Oldest first. */
  static of(all: readonly Revocation[], clock: Clock): RevocationsAt {
    return new RevocationsAt(clock, all);
  }

  hasSerial(serial: string): boolean {
    return this.find(`serial:${serial}`) !== undefined;
  }

  hasSpiffeId(id: SpiffeId): boolean {
    return this.find(`id:${id}`) !== undefined;
  }

  hasSerialOf(id: SpiffeId): boolean {
    const now = this.#clock.now();
    const counts = ({ target }: Revocation): boolean =>
      target.kind === 'serial' && target.spiffeId === id && now <= (target.notAfter ?? Infinity);
    const counted = this.#counted.holders.get(id) ?? [];
    return (
      counted.some((revocation) => counts(revocation) && !this.#changes.has(revocationKey(revocation))) ||
      [...this.#changes.values()].some((revocation) => revocation !== undefined && counts(revocation))
    );
  }

  /** By its key. */
  find(key: string): Revocation | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#counted.keys.get(key);
  }

  with(revocation: Revocation): RevocationsAt {
    return this.#changed([...this.all, revocation], revocationKey(revocation), revocation);
  }

  without(revocation: Revocation): RevocationsAt {
    const all = this.all.filter((other) => other !== revocation);
    return this.#changed(all, revocationKey(revocation), undefined);
  }

  #changed(all: readonly Revocation[], ...[key, value]: readonly [string, Revocation | undefined]): RevocationsAt {
    const changes = new Map(this.#changes).set(key, value);
    return new RevocationsAt(this.#clock, all, { counted: this.#counted, changes });
  }
}

function count(all: readonly Revocation[]): Counted {
  const holders = new Map<SpiffeId, Revocation[]>();
  for (const revocation of all) {
    const { target } = revocation;
    if (target.kind !== 'serial' || target.spiffeId === undefined) continue;
    const held = holders.get(target.spiffeId);
    if (held === undefined) holders.set(target.spiffeId, [revocation]);
    else held.push(revocation);
  }
  return { keys: new Map(all.map((revocation) => [revocationKey(revocation), revocation])), holders };
}

/** Where nothing can be revoked. */
export const NO_REVOCATIONS: RevocationSnapshot = {
  all: [],
  hasSerial: () => false,
  hasSpiffeId: () => false,
  hasSerialOf: () => false,
};
