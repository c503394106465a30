import type {
  ForeignBundles,
  RegistrationEntry,
  SpiffeId,
  TrustBundle,
  TrustDomain,
  X509Svid,
} from '../spiffe/index.ts';

/** An SVID with what its entry says of it. */
export interface HeldSvid {
  readonly svid: X509Svid;
  readonly entryId: string;
  /** Tells several SVIDs of one caller apart. */
  readonly hint?: string;
}

/** What one caller may trust at a moment. */
export interface CallerBundles {
  /** The trust domain's own bundle. */
  readonly bundle: TrustBundle;
  /** Bundles of the trust domains that its entries federate with, as far as we hold them, by name. */
  readonly foreignBundles: readonly TrustBundle[];
}

/** What one caller holds at a moment. Without SVIDs, held or pending, it is not registered. */
export interface CallerIdentity extends CallerBundles {
  /** One for each entry, in the order in which they match; the first of these and the pending ones is the default. */
  readonly svids: readonly HeldSvid[];
  /** Entries whose SVID cannot be issued at the moment, in the same order. */
  readonly pending: readonly PendingSvid[];
}

/** An SVID that is to come. */
export interface PendingSvid {
  readonly spiffeId: SpiffeId;
  readonly isDefault: boolean;
  /** Of its entry, when no entry before that has the same. */
  readonly hint?: string;
}

/** The foreign bundles for the holders of these entries. */
export function foreignBundlesFor(entries: readonly RegistrationEntry[], all: ForeignBundles): readonly TrustBundle[] {
  const wanted = new Set<TrustDomain>(entries.flatMap(({ federatesWith = [] }) => federatesWith));
  return [...wanted].sort().flatMap((trustDomain) => all.get(trustDomain) ?? []);
}

export function sameIdentity(one: CallerIdentity, other: CallerIdentity): boolean {
  return (
    one.bundle === other.bundle &&
    sameItems(one.pending, other.pending, samePending) &&
    sameItems(one.foreignBundles, other.foreignBundles, Object.is) &&
    sameItems(one.svids, other.svids, (a, b) => a.svid === b.svid && a.hint === b.hint && a.entryId === b.entryId)
  );
}

function samePending(one: PendingSvid, other: PendingSvid): boolean {
  return one.spiffeId === other.spiffeId && one.isDefault === other.isDefault && one.hint === other.hint;
}

function sameItems<T>(one: readonly T[], other: readonly T[], same: (a: T, b: T) => boolean): boolean {
  return one.length === other.length && one.every((item, index) => same(item, other[index] as T));
}
