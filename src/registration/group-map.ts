import { BucketMap } from './bucket-map.ts';

/** Lists of values by a text; never changes. Groups are copied when they change, however many changes there are. */
export class GroupMap<V> {
  readonly #groups: BucketMap<readonly V[]>;

  constructor(groups: BucketMap<readonly V[]> = new BucketMap()) {
    this.#groups = groups;
  }

  get(key: string): readonly V[] {
    return this.#groups.get(key) ?? [];
  }

  edit(): GroupEdit<V> {
    return new GroupEdit(this.#groups);
  }
}

interface PendingGroup<V> {
  readonly added: V[];
  readonly removed: Set<V>;
}

/** Changes on the way to another GroupMap. A value is removed before it is added again. */
class GroupEdit<V> {
  readonly #groups: BucketMap<readonly V[]>;
  readonly #pending = new Map<string, PendingGroup<V>>();

  constructor(groups: BucketMap<readonly V[]>) {
    this.#groups = groups;
  }

  /** How many values the group will have. */
  sizeOf(key: string): number {
    const pending = this.#pending.get(key);
    return (this.#groups.get(key)?.length ?? 0) + (pending?.added.length ?? 0) - (pending?.removed.size ?? 0);
  }

  add(key: string, value: V): void {
    this.#pendingFor(key).added.push(value);
  }

  /** Of a value that is there. */
  remove(key: string, value: V): void {
    this.#pendingFor(key).removed.add(value);
  }

  done(): GroupMap<V> {
    const changes = new Map<string, readonly V[] | undefined>();
    for (const [key, { added, removed }] of this.#pending) {
      const kept = (this.#groups.get(key) ?? []).filter((value) => !removed.has(value));
      const group = [...kept, ...added];
      changes.set(key, group.length === 0 ? undefined : group);
    }
    return new GroupMap(this.#groups.with(changes));
  }

  #pendingFor(key: string): PendingGroup<V> {
    const pending = this.#pending.get(key) ?? { added: [], removed: new Set() };
    this.#pending.set(key, pending);
    return pending;
  }
}
