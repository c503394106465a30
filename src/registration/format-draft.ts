import type { RegistrationEntry } from '../spiffe/index.ts';
import type { EntryDraft } from './entry-draft.ts';

/** The draft that gives the entry again: snake_case fields, lifetimes and times as whole seconds. */
export function formatDraft(entry: RegistrationEntry): EntryDraft {
  const { x509SvidTtlMs, jwtSvidTtlMs, expiresAt } = entry;
  const fields: EntryDraft = {
    entry_id: entry.entryId,
    spiffe_id: entry.spiffeId,
    parent_id: entry.parentId,
    selectors: entry.selectors,
    x509_svid_ttl: x509SvidTtlMs === undefined ? undefined : x509SvidTtlMs / 1000,
    jwt_svid_ttl: jwtSvidTtlMs === undefined ? undefined : jwtSvidTtlMs / 1000,
    hint: entry.hint,
    dns_names: entry.dnsNames,
    federates_with: entry.federatesWith,
    expires_at: expiresAt === undefined ? undefined : expiresAt / 1000,
    jwt_svid_include_jti: entry.jwtSvidIncludeJti,
    admin: entry.admin,
    downstream: entry.downstream,
    store_svid: entry.storeSvid,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
