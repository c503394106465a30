import type { RegistrationEntry, SpiffeId } from '../spiffe/index.ts';

type EntriesOf = (id: SpiffeId) => readonly RegistrationEntry[];

/**
 * Those of the entries whose ancestors lead back to themselves: an entry's parents are the entries that give its
 * parent ID. Looks at each ancestor once (Tarjan's strongly connected components, without recursion).
 */
export function entriesInCircles(
  entries: readonly RegistrationEntry[],
  entriesGiving: EntriesOf,
): readonly RegistrationEntry[] {
  const withParent = entries.filter(({ parentId }) => parentId !== undefined);
  if (withParent.length === 0) return [];
  const search = new CircleSearch(entriesGiving);
  for (const { spiffeId } of withParent) search.visit(spiffeId);
  return withParent.filter(({ spiffeId, parentId }) => parentId !== undefined && search.areInOne(spiffeId, parentId));
}

interface Visit {
  readonly id: SpiffeId;
  readonly order: number;
  /** The earliest one on the stack that it leads to. */
  lowest: number;
  readonly parents: Iterator<SpiffeId>;
}

class CircleSearch {
  readonly #entriesGiving: EntriesOf;
  readonly #visits = new Map<SpiffeId, Visit>();
  /** By ID, the number of its group: those that all lead to one another. Absent while on the stack. */
  readonly #groups = new Map<SpiffeId, number>();
  readonly #stack: Visit[] = [];

  constructor(entriesGiving: EntriesOf) {
    this.#entriesGiving = entriesGiving;
  }

  /** Both have been visited, or lead nowhere. */
  areInOne(a: SpiffeId, b: SpiffeId): boolean {
    return a === b || (this.#groups.has(a) && this.#groups.get(a) === this.#groups.get(b));
  }

  visit(start: SpiffeId): void {
    if (this.#visits.has(start)) return;
    const path = [this.#enter(start)];
    for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
      const { value: parent, done } = visit.parents.next() as IteratorResult<SpiffeId, undefined>;
      if (done !== true) {
        const seen = this.#visits.get(parent);
        if (seen === undefined) path.push(this.#enter(parent));
        else if (!this.#groups.has(parent)) visit.lowest = Math.min(visit.lowest, seen.order);
        continue;
      }
      path.pop();
      const child = path.at(-1);
      if (child !== undefined) child.lowest = Math.min(child.lowest, visit.lowest);
      if (visit.lowest === visit.order) this.#close(visit);
    }
  }

  #enter(id: SpiffeId): Visit {
    const order = this.#visits.size;
    const visit = { id, order, lowest: order, parents: this.#parentsOf(id) };
    this.#visits.set(id, visit);
    this.#stack.push(visit);
    return visit;
  }

  *#parentsOf(id: SpiffeId): Generator<SpiffeId, undefined> {
    for (const { parentId } of this.#entriesGiving(id)) if (parentId !== undefined) yield parentId;
    return undefined;
  }

  /** What lies above the visit on the stack is one group with it. */
  #close(visit: Visit): void {
    for (;;) {
      const member = this.#stack.pop();
      if (member === undefined) return;
      this.#groups.set(member.id, visit.order);
      if (member === visit) return;
    }
  }
}
