/**
 * identity: what each caller holds now, kept fresh: its SVIDs, rotated before they end, and the bundles it may trust.
 * Promises: callers of one entry share one SVID; a caller hears of its own changes only; an expired or revoked SVID is
 * never shown; nothing is issued for a revoked SPIFFE ID. Must not know sockets, protocols, or where entries come from.
 */
export type { CallerBundles, CallerIdentity, HeldSvid, PendingSvid } from './caller-identity.ts';
export { withUniqueHints } from './hints.ts';
export {
  createIdentitySource,
  type FollowedJwtSvid,
  type FollowedJwtSvidRequest,
  type HeldJwtSvid,
  type IdentitySource,
  type IdentitySourceOptions,
  type JwtSvidsRequest,
} from './identity-source.ts';
export type { JwtSvidIssuer } from './jwt-svids.ts';
export type { SvidIssuer } from './svid-slot.ts';
export { createOwnSvid, type OwnSvid, type OwnSvidOptions } from './own-svid.ts';
export { WorkloadExits, type WatchedProcess, type WorkloadExitsOptions } from './workload-exits.ts';
