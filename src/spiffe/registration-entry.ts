import type { Selector } from './selector.ts';
import type { SpiffeId, TrustDomain } from './spiffe-id.ts';

/**
 * Gives the SPIFFE ID to callers that have all of the selectors. The fields are those of a SPIRE registration entry;
 * a field that is absent was not set. docs/reference/entries.md lists their limits.
 */
export interface RegistrationEntry {
  /** Stable and unique; at most 255 characters of letters, digits, `.`, `-`, `_`. */
  readonly entryId: string;
  readonly spiffeId: SpiffeId;
  /** Who may hand the identity out; absent: this server. Its ancestors never lead back to the entry itself. */
  readonly parentId?: SpiffeId;
  /** At least one, sorted, without duplicates. */
  readonly selectors: readonly Selector[];
  /** Lifetime of its X.509-SVIDs in milliseconds; the authority's own when absent. */
  readonly x509SvidTtlMs?: number;
  /** Lifetime of its JWT-SVIDs in milliseconds; the authority's own when absent. */
  readonly jwtSvidTtlMs?: number;
  /** Tells several SVIDs of one caller apart (Workload API §5.2.1); 1 to 1024 bytes. */
  readonly hint?: string;
  /** DNS SANs, lower case, at most one leading `*.`; the first is the subject's common name too. Never empty. */
  readonly dnsNames?: readonly string[];
  /** Foreign trust domains whose bundles its holders receive, sorted, without duplicates. Never empty. */
  readonly federatesWith?: readonly TrustDomain[];
  /** Epoch milliseconds from which on it matches nobody. */
  readonly expiresAt?: number;
  /** Its JWT-SVIDs carry a random `jti`, and are not cached. */
  readonly jwtSvidIncludeJti?: boolean;
  /** Kept for SPIRE: may its holders call a SPIRE server's admin API. svidgate gives nothing for it. */
  readonly admin?: boolean;
  /** Kept for SPIRE: is the holder a downstream server. svidgate gives nothing for it. */
  readonly downstream?: boolean;
  /** Kept for SPIRE: is the SVID put into a secret store. Such an entry matches no caller. */
  readonly storeSvid?: boolean;
}

/** What owns an entry. A file never changes or deletes an entry of the API, and the API none of a file. */
export type EntrySource = 'file' | 'api';

/** An entry as the registry keeps it. */
export interface RegisteredEntry {
  readonly entry: RegistrationEntry;
  readonly source: EntrySource;
  /** Grows by one with each change, from 0. */
  readonly revision: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
