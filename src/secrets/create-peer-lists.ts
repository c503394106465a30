import { SvidgateError, Watchable, type Logger, type ReadonlyWatchable } from '../core/index.ts';
import { parseSpiffeIdPattern, type SpiffeIdPattern } from '../spiffe/index.ts';
import type { PeerList, PeerLists } from './peer-lists.ts';

/** Where a list comes from. */
export type PeerListSource =
  | { readonly kind: 'static'; readonly peers: readonly SpiffeIdPattern[] }
  /** A list of texts in the data of a policy, at keys with slashes between them. */
  | { readonly kind: 'policy'; readonly policy: string; readonly path: string };

/** The base documents of the policy in force. */
export type PolicyDocuments = { readonly kind: 'pending' } | { readonly kind: 'known'; readonly data: unknown };

export interface PeerListsOptions {
  readonly lists: ReadonlyMap<string, PeerListSource>;
  readonly policyData: (policy: string) => ReadonlyWatchable<PolicyDocuments>;
  readonly logger: Logger;
}

const PENDING: PeerList = { kind: 'pending' };
const NOBODY: PeerList = { kind: 'known', peers: [] };

/** The longest text out of a policy's data that is logged. */
const MAX_QUOTED_LENGTH = 200;

/**
 * All lists by name, for as long as the policies live. A list in a policy's data that is missing, or is not a list of SPIFFE
 * IDs through and through, lets nobody in.
 */
export function createPeerLists(options: PeerListsOptions): ReadonlyWatchable<PeerLists> {
  const readers = new Map([...options.lists].map(([name, source]) => [name, createReader(name, source, options)]));
  const readAll = (): PeerLists => new Map([...readers].map(([name, read]) => [name, read()]));
  const lists = new Watchable(readAll());
  const update = (): void => {
    const next = readAll();
    if ([...next].some(([name, list]) => lists.value.get(name) !== list)) lists.set(next);
  };
  for (const policy of policiesOf(options.lists)) options.policyData(policy).subscribe(update);
  return lists;
}

function policiesOf(lists: ReadonlyMap<string, PeerListSource>): ReadonlySet<string> {
  return new Set([...lists.values()].flatMap((source) => (source.kind === 'policy' ? [source.policy] : [])));
}

/** Gives the same object until the list is another one. */
function createReader(name: string, source: PeerListSource, options: PeerListsOptions): () => PeerList {
  if (source.kind === 'static') {
    const list: PeerList = { kind: 'known', peers: source.peers };
    return () => list;
  }
  const documents = options.policyData(source.policy);
  let seen: PolicyDocuments | undefined;
  let list = PENDING;
  let told: string | undefined;
  return () => {
    const present = documents.value;
    if (present === seen) return list;
    seen = present;
    if (present.kind === 'pending') return list;
    const read = readList(present.data, source.path);
    const fault = read.kind === 'fault' ? read.reason : undefined;
    if (fault !== undefined && fault !== told) {
      const reason = `list ${name} in ${source.path}: ${fault}`;
      options.logger.warn({ policy: source.policy, reason }, 'list of peers is wrong and lets nobody in');
    }
    told = fault;
    const next: PeerList = read.kind === 'fault' ? NOBODY : { kind: 'known', peers: read.peers };
    if (!isSameList(list, next)) list = next;
    return list;
  };
}

type ListReading =
  | { readonly kind: 'list'; readonly peers: readonly SpiffeIdPattern[] }
  | { readonly kind: 'fault'; readonly reason: string };

function readList(data: unknown, path: string): ListReading {
  const found = path.split('/').reduce<unknown>(memberOf, data);
  if (found === undefined) return { kind: 'fault', reason: 'there is no such value' };
  if (!Array.isArray(found)) return { kind: 'fault', reason: 'it is not a list' };
  const peers: SpiffeIdPattern[] = [];
  for (const [index, text] of (found as readonly unknown[]).entries()) {
    if (typeof text !== 'string') return { kind: 'fault', reason: `number ${index + 1} is not a text` };
    try {
      peers.push(parseSpiffeIdPattern(text));
    } catch (error) {
      const { message } = SvidgateError.from(error);
      return { kind: 'fault', reason: `${JSON.stringify(text.slice(0, MAX_QUOTED_LENGTH))}: ${message}` };
    }
  }
  return { kind: 'list', peers };
}

function memberOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key))
    return undefined;
  return (value as Readonly<Record<string, unknown>>)[key];
}

function isSameList(one: PeerList, other: PeerList): boolean {
  if (one.kind === 'pending' || other.kind === 'pending') return one.kind === other.kind;
  return (
    one.peers.length === other.peers.length && one.peers.every((peer, index) => isSamePeer(peer, other.peers[index]))
  );
}

function isSamePeer(one: SpiffeIdPattern, other: SpiffeIdPattern | undefined): boolean {
  if (one.kind === 'exact') return other?.kind === 'exact' && one.spiffeId === other.spiffeId;
  return other?.kind === 'beneath' && one.prefix === other.prefix;
}
