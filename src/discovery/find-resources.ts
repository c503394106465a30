import type { EncodedResource, ResourceView } from './resource-view.ts';

/** What is asked for at once. */
export interface ResourceQuery {
  /** Each once. */
  readonly names: readonly string[];
  /** Whether everything is asked for beside the names. */
  readonly wildcard: boolean;
  /** Whether the Envoy holds something under a name. */
  readonly held: ReadonlySet<string>;
}

export interface FoundResources {
  /** In an order that does not depend on the order asked: own bundle, foreign bundles, SVIDs, as spire-agent has it, then the rest. */
  readonly resources: readonly EncodedResource[];
  /** Names that the caller has no right to. */
  readonly unknown: readonly string[];
  /** Names of what is to come. */
  readonly pending: ReadonlySet<string>;
  /** Names that are held by the wildcard and mean nothing any more. */
  readonly gone: readonly string[];
  /** Whether anything is to come; with a wildcard also what has no name yet. */
  readonly isPending: boolean;
}

/** What a query stands for now. */
export function findResources(view: ResourceView, query: ResourceQuery): FoundResources {
  const unknown: string[] = [];
  const pending = new Set<string>();
  const resources: EncodedResource[] = [];
  const all = query.wildcard ? view.all() : [];
  const taken = new Set(all.map(({ name }) => name));
  const find = (name: string, isHeld: boolean): boolean => {
    const state = view.lookup(name, isHeld);
    if (state.kind === 'ready') resources.push(state.resource);
    else if (state.kind === 'pending') pending.add(name);
    return state.kind !== 'unknown';
  };
  for (const name of query.names) if (!taken.has(name) && !find(name, query.held.has(name))) unknown.push(name);
  const gone: string[] = [];
  if (query.wildcard) {
    // What it was given before by the wildcard may be closed now, or be issued anew.
    const asked = new Set(query.names);
    for (const name of query.held) if (!taken.has(name) && !asked.has(name) && !find(name, true)) gone.push(name);
  }
  return {
    resources: resources.length > 1 || all.length > 0 ? [...all, ...inOrder(resources)] : resources,
    unknown,
    pending,
    gone,
    isPending: pending.size > 0 || (query.wildcard && view.isPending),
  };
}

function inOrder(resources: readonly EncodedResource[]): readonly EncodedResource[] {
  const ranks: EncodedResource[][] = [[], [], [], []];
  for (const resource of resources) ranks[rankOf(resource)]?.push(resource);
  return ranks.flat();
}

function rankOf({ facts }: EncodedResource): number {
  if (facts.kind === 'bundle') return facts.bundleSequence === undefined ? 1 : 0;
  return facts.kind === 'x509_svid' ? 2 : 3;
}
