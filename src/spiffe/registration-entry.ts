import type { Selector } from './selector.ts';
import type { SpiffeId } from './spiffe-id.ts';

/** Gives the SPIFFE ID to callers that have all of the selectors. */
export interface RegistrationEntry {
  /** Stable and unique; at most 255 characters of letters, digits, `.`, `-`, `_`. */
  readonly entryId: string;
  readonly spiffeId: SpiffeId;
  /** At least one, sorted, without duplicates. */
  readonly selectors: readonly Selector[];
  /** Lifetime of its X.509-SVIDs in milliseconds; the authority's own when absent. */
  readonly x509SvidTtlMs?: number;
}
