/**
 * identity: what each caller holds now, kept fresh: its SVIDs, rotated before they end, and the trust bundle.
 * Promises: callers of one entry share one SVID; a caller hears of its own changes only; an expired SVID is never shown.
 * Must not know sockets, protocols, or where entries come from.
 */
export {
  createIdentitySource,
  type CallerIdentity,
  type IdentitySource,
  type IdentitySourceOptions,
} from './identity-source.ts';
export type { SvidIssuer } from './svid-slot.ts';
