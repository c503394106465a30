import type { SpiffeIdPattern } from '../spiffe/index.ts';

/** A list of peers as it is now. The object stays the same until the list changes. */
export type PeerList =
  /** An empty list lets nobody in. */
  | { readonly kind: 'known'; readonly peers: readonly SpiffeIdPattern[] }
  /** It comes from a policy that has not been loaded since the start. */
  | { readonly kind: 'pending' };

/** Lists of peers by name. A name that is not in the map lets nobody in. */
export type PeerLists = ReadonlyMap<string, PeerList>;
