import type { SpiffeIdPattern } from '../spiffe/index.ts';

/** Named lists of peers. A name that is not in the map, or an empty list, lets nobody in. The arrays stay the same until they change. */
export type PeerLists = ReadonlyMap<string, readonly SpiffeIdPattern[]>;
