import type { EncodedSecret, SecretView } from './secret-view.ts';

/** What is asked for at once. */
export interface SecretQuery {
  /** Each once. */
  readonly names: readonly string[];
  /** Whether everything is asked for beside the names. */
  readonly wildcard: boolean;
  /** Whether the Envoy holds something under a name. */
  readonly held: ReadonlySet<string>;
}

export interface FoundSecrets {
  /** In an order that does not depend on the order asked: own bundle, foreign bundles, SVIDs, as spire-agent has it, then the rest. */
  readonly secrets: readonly EncodedSecret[];
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
export function findSecrets(view: SecretView, query: SecretQuery): FoundSecrets {
  const unknown: string[] = [];
  const pending = new Set<string>();
  const secrets: EncodedSecret[] = [];
  const all = query.wildcard ? view.all() : [];
  const taken = new Set(all.map(({ name }) => name));
  const find = (name: string, isHeld: boolean): boolean => {
    const state = view.lookup(name, isHeld);
    if (state.kind === 'ready') secrets.push(state.secret);
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
    secrets: secrets.length > 1 || all.length > 0 ? [...all, ...inOrder(secrets)] : secrets,
    unknown,
    pending,
    gone,
    isPending: pending.size > 0 || (query.wildcard && view.isPending),
  };
}

function inOrder(secrets: readonly EncodedSecret[]): readonly EncodedSecret[] {
  const ranks: EncodedSecret[][] = [[], [], [], []];
  for (const secret of secrets) ranks[rankOf(secret)]?.push(secret);
  return ranks.flat();
}

function rankOf({ facts }: EncodedSecret): number {
  if (facts.kind === 'bundle') return facts.bundleSequence === undefined ? 1 : 0;
  return facts.kind === 'x509_svid' ? 2 : 3;
}
