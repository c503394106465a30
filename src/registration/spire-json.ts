import { pathOf, trustDomainOf, type RegisteredEntry, type SpiffeId } from '../spiffe/index.ts';
import type { SpireId } from './entry-draft.ts';

/**
 * The entries as `spire-server entry show -output json` writes them. parseEntries reads them again without loss. An
 * entry without a parent gets the server's own ID, since SPIRE wants one.
 */
export function formatSpireEntries(entries: readonly RegisteredEntry[]): string {
  return `${JSON.stringify({ entries: entries.map(toSpire), next_page_token: '' }, undefined, 2)}\n`;
}

function toSpire({ entry, revision, createdAt }: RegisteredEntry): object {
  return {
    id: entry.entryId,
    spiffe_id: idParts(entry.spiffeId),
    parent_id: entry.parentId === undefined ? serverParts(entry.spiffeId) : idParts(entry.parentId),
    selectors: entry.selectors.map((selector) => {
      const colon = selector.indexOf(':');
      return { type: selector.slice(0, colon), value: selector.slice(colon + 1) };
    }),
    x509_svid_ttl: (entry.x509SvidTtlMs ?? 0) / 1000,
    federates_with: entry.federatesWith ?? [],
    hint: entry.hint ?? '',
    admin: entry.admin ?? false,
    created_at: secondsText(createdAt),
    downstream: entry.downstream ?? false,
    expires_at: secondsText(entry.expiresAt ?? 0),
    dns_names: entry.dnsNames ?? [],
    revision_number: String(revision),
    store_svid: entry.storeSvid ?? false,
    jwt_svid_ttl: (entry.jwtSvidTtlMs ?? 0) / 1000,
    // Absent where it says nothing: older SPIRE servers do not know it.
    ...(entry.jwtSvidIncludeJti === true ? { additional_attributes: { jwt_svid_include_jti: true } } : {}),
  };
}

function idParts(id: SpiffeId): SpireId {
  return { trust_domain: trustDomainOf(id), path: pathOf(id) };
}

function serverParts(id: SpiffeId): SpireId {
  return { trust_domain: trustDomainOf(id), path: '/spire/server' };
}

/** JSON writes 64-bit numbers as texts. */
function secondsText(ms: number): string {
  return String(Math.floor(ms / 1000));
}
