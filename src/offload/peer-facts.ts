import { hash } from 'node:crypto';
import { Watchable, type Clock, type ReadonlyWatchable } from '../core/index.ts';
import { parseCertificate } from '../pki/index.ts';
import type { ForeignBundles, Revocation, SpiffeId, TrustBundle, TrustDomain } from '../spiffe/index.ts';
import { KnownPeers } from './known-peers.ts';
import type { PeerFacts } from './restrict.ts';

export interface PeerFactsOptions {
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
  readonly revocations: ReadonlyWatchable<{ readonly all: readonly Revocation[] }>;
  /** Where `deny_unregistered` is on. */
  readonly entries?: ReadonlyWatchable<{ hasSpiffeId(id: SpiffeId): boolean }> | undefined;
  /** Of whom peers are told one by one that rules match by a part of their SPIFFE ID. Default: of nobody. */
  readonly known?: ReadonlyWatchable<KnownEntries>;
  /** Trust domains of which a root was taken out before it ended, before all this began. */
  readonly shaken?: Iterable<TrustDomain>;
  readonly clock: Clock;
}

interface KnownEntries {
  readonly entries: readonly { readonly spiffeId: SpiffeId }[];
}

/**
 * How long a trust domain stays out after one of its roots was taken out of its bundle: connections that were made by it
 * live on, and Envoy's rules cannot tell by which root. The longest life of an SVID here; a day for those of others.
 */
const ROOT_GONE_MS = 24 * 60 * 60_000;

/** Between two readings of all entries, of which each may be new rules for each Envoy. */
const ENTRIES_REST_MS = 500;

/** Told in the same turn of the event loop as what it is made of, but for who is known: at most twice a second. */
export interface PeerFactsSource extends Disposable {
  readonly facts: ReadonlyWatchable<PeerFacts>;
  /** Why a trust domain is left to the call although there is a bundle, in words. */
  readonly notes: () => readonly string[];
}

export function followPeerFacts(options: PeerFactsOptions): PeerFactsSource {
  const { bundle, foreignBundles, revocations, entries, known, clock } = options;
  const roots = new RootBook(clock, options.shaken ?? []);
  const timers = new AbortController();
  let knownNow = known && { of: known.value, peers: peersOf(known.value) };
  const gather = (): PeerFacts => {
    const bundles = [bundle.value, ...foreignBundles.value.values()];
    const wait = roots.look(bundles);
    if (wait !== undefined) wakeAfter(wait);
    return {
      ...revokedPeers(revocations.value.all),
      trustDomains: new Set(
        bundles
          .filter(({ trustDomain, x509Authorities }) => x509Authorities.length > 0 && !roots.isShaken(trustDomain))
          .map(({ trustDomain }) => trustDomain),
      ),
      ...(knownNow === undefined ? {} : { known: knownNow.peers }),
      ...(entries === undefined
        ? {}
        : {
            registered: {
              trustDomain: bundle.value.trustDomain,
              has: (id: SpiffeId): boolean => entries.value.hasSpiffeId(id),
            },
          }),
    };
  };
  const wakeAfter = (ms: number): void => {
    clock.sleep(ms, timers.signal).then(refresh, () => undefined);
  };
  const refresh = (): void => facts.set(gather());
  const facts = new Watchable<PeerFacts>(gather());
  const sources = [bundle, foreignBundles, revocations, ...(entries === undefined ? [] : [entries])];
  const ends = sources.map((source) => source.subscribe(refresh));
  let isResting = false;
  const rested = (): void => {
    isResting = false;
    if (known !== undefined) onEntries(known.value);
  };
  // Who comes only saves calls, and whom the gate denies without an entry goes by `registered`, in the same turn: anybody else who
  // has lost one is allowed by the gate as before.
  const onEntries = (of: KnownEntries): void => {
    if (isResting || knownNow?.of === of) return;
    isResting = true;
    clock.sleep(ENTRIES_REST_MS, timers.signal).then(rested, () => undefined);
    knownNow = { of, peers: peersOf(of) };
    // The rest stays the same objects: most policies name their peers, and have nothing to do then.
    facts.set({ ...facts.value, known: knownNow.peers });
  };
  if (known !== undefined) ends.push(known.subscribe(onEntries));
  return {
    facts,
    notes: () => roots.notes(),
    [Symbol.dispose]() {
      timers.abort();
      for (const end of ends) end();
    },
  };
}

function peersOf({ entries }: KnownEntries): KnownPeers {
  return new KnownPeers(() => entries.map(({ spiffeId }) => spiffeId));
}

/** Serials are not seen by Envoy's rules: whose it is, is left to the call, with all its SVIDs. */
function revokedPeers(all: readonly Revocation[]): Pick<PeerFacts, 'revokedIds' | 'revokedCallerIds' | 'obstacle'> {
  const revokedIds = new Set<string>();
  const revokedCallerIds = new Set<string>();
  let unknown = 0;
  for (const { target } of all) {
    if (target.spiffeId === undefined) unknown += 1;
    else revokedIds.add(target.spiffeId);
    if (target.kind === 'spiffe_id') revokedCallerIds.add(target.spiffeId);
  }
  if (unknown === 0) return { revokedIds, revokedCallerIds };
  const obstacle = `whose SVIDs ${unknown} of the revoked serials are is not known`;
  return { revokedIds, revokedCallerIds, obstacle };
}

/** Which roots there were, to tell one that was taken out before its end. */
class RootBook {
  readonly #clock: Clock;
  #roots = new Map<TrustDomain, ReadonlyMap<string, number>>();
  readonly #shakenUntil = new Map<TrustDomain, number>();

  constructor(clock: Clock, shaken: Iterable<TrustDomain>) {
    this.#clock = clock;
    for (const trustDomain of shaken) this.#shakenUntil.set(trustDomain, clock.now() + ROOT_GONE_MS);
  }

  isShaken(trustDomain: TrustDomain): boolean {
    return (this.#shakenUntil.get(trustDomain) ?? -Infinity) > this.#clock.now();
  }

  /** Gives when to look again, in milliseconds, where a root has gone. */
  look(bundles: readonly TrustBundle[]): number | undefined {
    const now = this.#clock.now();
    const roots = new Map(bundles.map((each) => [each.trustDomain, rootsOf(each)]));
    let isNews = this.#roots.size === 0 && this.#shakenUntil.size > 0;
    for (const [trustDomain, before] of this.#roots) {
      const after = roots.get(trustDomain);
      if ([...before].every(([root, notAfter]) => after?.has(root) === true || notAfter < now)) continue;
      this.#shakenUntil.set(trustDomain, now + ROOT_GONE_MS);
      isNews = true;
    }
    for (const [trustDomain, until] of this.#shakenUntil) if (until <= now) this.#shakenUntil.delete(trustDomain);
    this.#roots = roots;
    return isNews ? ROOT_GONE_MS : undefined;
  }

  notes(): readonly string[] {
    return [...this.#shakenUntil]
      .filter(([trustDomain]) => this.isShaken(trustDomain))
      .map(
        ([name, until]) => `${name} lost a root: its peers are left to the call until ${new Date(until).toISOString()}`,
      );
  }
}

type Root = readonly [digest: string, notAfter: number];

/** Bundles change with each revocation list, and their roots hardly ever. */
const known = new WeakMap<Uint8Array, Root>();

/** Each with its end. */
function rootsOf({ x509Authorities }: TrustBundle): ReadonlyMap<string, number> {
  return new Map(x509Authorities.map(rootOf));
}

function rootOf(der: Uint8Array): Root {
  const root = known.get(der) ?? [hash('sha256', der, 'base64'), endOf(der)];
  known.set(der, root);
  return root;
}

/** What cannot be read never ends. */
function endOf(der: Uint8Array): number {
  try {
    return parseCertificate(der).notAfter;
  } catch {
    return Infinity;
  }
}
