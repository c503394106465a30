import {
  noAudit,
  SvidgateError,
  Watchable,
  type AuditCaller,
  type AuditLog,
  type Clock,
  type Logger,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { ForeignBundles, JwtSvid, RegistrationEntry, Selector, SpiffeId, TrustBundle } from '../spiffe/index.ts';
import { foreignBundlesFor, type CallerBundles, type CallerIdentity } from './caller-identity.ts';
import { entriesOf, entriesOfId, type CallerSources } from './caller-watch.ts';
import { CallerWatches } from './caller-watches.ts';
import { JwtSvidFollower } from './jwt-svid-follower.ts';
import { createJwtSvids, type JwtSvidIssuer } from './jwt-svids.ts';
import { SlotTable } from './slot-table.ts';
import type { SvidIssuer } from './svid-slot.ts';

export interface IdentitySourceOptions {
  readonly issuer: SvidIssuer & JwtSvidIssuer;
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly entries: CallerSources['entries'];
  /** Bundles of foreign trust domains; none when left out. */
  readonly foreignBundles?: ReadonlyWatchable<ForeignBundles>;
  readonly revocations?: CallerSources['revocations'];
  /** Ids of X.509 CAs and JWT keys that are not to be used any more. */
  readonly tainted?: ReadonlyWatchable<ReadonlySet<string>>;
  readonly audit?: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1; for the jitter of rotations. */
  readonly random?: () => number;
}

/** A JWT-SVID with what its entry says of it. */
export interface HeldJwtSvid {
  readonly svid: JwtSvid;
  readonly hint?: string;
}

export interface JwtSvidsRequest {
  /** At least one. */
  readonly audience: readonly string[];
  /** All of the caller's IDs when absent. */
  readonly spiffeId?: SpiffeId | undefined;
  readonly caller?: AuditCaller | undefined;
}

export interface FollowedJwtSvidRequest {
  /** The caller's default identity when absent. */
  readonly spiffeId?: SpiffeId | undefined;
  /** At least one. */
  readonly audience: readonly string[];
  readonly caller?: AuditCaller | undefined;
}

export interface FollowedJwtSvid extends Disposable {
  readonly state:
    | { readonly kind: 'ready'; readonly svid: JwtSvid }
    /** An entry gives it, and it cannot be issued at the moment. */
    | { readonly kind: 'pending' }
    /** No entry gives the caller this identity. */
    | { readonly kind: 'unknown' };
}

export interface IdentitySource {
  /**
   * Yields what the caller holds now, then anew after each change of its SVIDs, entries or bundles, until the signal is
   * aborted. `caller` is whom the audit log names.
   */
  watch(
    selectors: ReadonlySet<Selector>,
    signal: AbortSignal,
    caller?: AuditCaller,
  ): AsyncGenerator<CallerIdentity, void, void>;
  /** One for each entry, in their order. Throws `no_identity` when the caller has none, or not the one asked for. */
  fetchJwtSvids(selectors: ReadonlySet<Selector>, request: JwtSvidsRequest): Promise<readonly HeldJwtSvid[]>;
  /** As fetchJwtSvids, for a caller that proved by its certificate that it has this SPIFFE ID. */
  fetchJwtSvidsOf(spiffeId: SpiffeId, request: Omit<JwtSvidsRequest, 'spiffeId'>): Promise<readonly HeldJwtSvid[]>;
  /**
   * Keeps a JWT-SVID of the caller fresh until it is disposed: replaced at half of its life, and as soon as its key is
   * tainted, taken away with its entry or by a revocation. `onChange` is called when `state` may have changed.
   */
  followJwtSvid(
    selectors: ReadonlySet<Selector>,
    request: FollowedJwtSvidRequest,
    onChange: () => void,
  ): FollowedJwtSvid;
  /** What the caller may trust at present, or undefined when no entry matches it. */
  current(selectors: ReadonlySet<Selector>): CallerBundles | undefined;
}

export function createIdentitySource(options: IdentitySourceOptions): IdentitySource {
  const {
    issuer,
    clock,
    audit = noAudit,
    random = Math.random,
    foreignBundles = new Watchable<ForeignBundles>(new Map()),
    revocations = new Watchable({ hasSerial: () => false, hasSpiffeId: () => false }),
    tainted = new Watchable<ReadonlySet<string>>(new Set()),
  } = options;
  const sources: CallerSources = { ...options, foreignBundles, revocations };
  const slots = new SlotTable({ ...options, audit, random, revocations, tainted });
  const watches = new CallerWatches(sources, slots);
  const isKeyTrusted = (keyId: string): boolean =>
    !tainted.value.has(keyId) && options.bundle.value.jwtAuthorities.some((authority) => authority.keyId === keyId);
  const jwtSvids = createJwtSvids({ issuer, isKeyTrusted, audit, clock });
  const follower = {
    sources,
    jwtSvids,
    isKeyTrusted,
    onKeysChanged: (listener: () => void) => {
      const unsubscribe = [tainted.subscribe(listener), options.bundle.subscribe(listener)];
      return () => unsubscribe.forEach((stop) => stop());
    },
    logger: options.logger,
    random,
  };
  const fetchGiven = async (
    given: () => readonly RegistrationEntry[],
    { audience, caller }: Omit<JwtSvidsRequest, 'spiffeId'>,
  ): Promise<readonly HeldJwtSvid[]> => {
    const issued = await Promise.all(
      given().map(async (entry) => ({ entry, svid: await jwtSvids({ entry, audience, caller }) })),
    );
    // What was revoked, deleted or given another SPIFFE ID while a remote key manager was signing is not handed out.
    const still = new Map(given().map(({ entryId, spiffeId: id }) => [entryId, id]));
    const held = issued.filter(({ entry }) => still.get(entry.entryId) === entry.spiffeId);
    if (held.length === 0) throw new SvidgateError('no_identity', 'no identity issued');
    return held.map(({ entry: { hint }, svid }) => (hint === undefined ? { svid } : { svid, hint }));
  };
  return {
    watch: (selectors, signal, caller) => watches.follow(selectors, signal, caller),
    fetchJwtSvids(selectors, { spiffeId, ...request }) {
      const given = (): readonly RegistrationEntry[] =>
        entriesOf(selectors, sources).filter((entry) => spiffeId === undefined || entry.spiffeId === spiffeId);
      return fetchGiven(given, request);
    },
    fetchJwtSvidsOf: (spiffeId, request) => fetchGiven(() => entriesOfId(spiffeId, sources), request),
    followJwtSvid(selectors, request, onChange) {
      return new JwtSvidFollower(follower, { selectors, request }, onChange);
    },
    current(selectors) {
      const entries = entriesOf(selectors, sources);
      if (entries.length === 0) return undefined;
      return { bundle: options.bundle.value, foreignBundles: foreignBundlesFor(entries, foreignBundles.value) };
    },
  };
}
