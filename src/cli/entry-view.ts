import { formatDuration } from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import { durationToMs, int64ToBigInt, timestampToMs, type Duration, type svidgate } from '../proto/index.ts';
import { parseSelector, parseSpiffeId, parseTrustDomain, type RegisteredEntry } from '../spiffe/index.ts';
import { formatFields, formatTable } from './table.ts';
import { formatAge, formatWhen, isoTime } from './when.ts';

type Entry = svidgate.admin.v1.Entry;
type EntryFields = svidgate.admin.v1.EntryFields;

const LABELS: Readonly<Record<string, string>> = {
  entry_id: 'Entry ID',
  spiffe_id: 'SPIFFE ID',
  parent_id: 'Parent ID',
  selectors: 'Selectors',
  x509_svid_ttl: 'X.509-SVID TTL',
  jwt_svid_ttl: 'JWT-SVID TTL',
  hint: 'Hint',
  dns_names: 'DNS names',
  federates_with: 'Federates with',
  expires_at: 'Expires at',
  jwt_svid_include_jti: 'JWT-SVID jti',
  admin: 'Admin',
  downstream: 'Downstream',
  store_svid: 'Store SVID',
};

/** In the order of the proto's enum, from 0. */
const SOURCES = ['unknown', 'file', 'api'] as const;

export function formatEntryTable(entries: readonly Entry[], now: number): string {
  const rows = entries.map(({ fields, source, createdAt }) => [
    fields?.entryId ?? '',
    fields?.spiffeId ?? '',
    (fields?.selectors ?? []).join(','),
    formatDurationOf(fields?.x509SvidTtl) ?? '',
    SOURCES[source] ?? 'unknown',
    formatAge(createdAt, now),
  ]);
  return formatTable(['ENTRY ID', 'SPIFFE ID', 'SELECTORS', 'X509 TTL', 'SOURCE', 'AGE'], rows, 'no entries');
}

/** One entry, a line for each field that is set. */
export function formatEntry({ fields, source, revision, createdAt }: Entry, now: number): string {
  const texts = Object.entries(fields === null ? {} : entryJson(fields)).map(([name, value]) => [
    LABELS[name] ?? name,
    Array.isArray(value) ? value.map(String) : String(value),
  ]);
  return formatFields({
    ...(Object.fromEntries(texts) as Readonly<Record<string, string | readonly string[]>>),
    Ends: formatWhen(fields?.expiresAt ?? null, now),
    Source: SOURCES[source] ?? 'unknown',
    Revision: int64ToBigInt(revision).toString(),
    Created: formatWhen(createdAt, now),
  });
}

/** An entry as --output json shows it: the keys of entries.yaml, then what the server keeps count of. */
export function registeredJson({ fields, source, revision, createdAt }: Entry): Readonly<Record<string, unknown>> {
  return {
    ...(fields === null ? {} : entryJson(fields)),
    source: SOURCES[source] ?? 'unknown',
    revision: Number(int64ToBigInt(revision)),
    created_at: isoTime(createdAt),
  };
}

/** An entry as entries.yaml has it. What is not set is left out. */
export function entryJson(fields: EntryFields): Readonly<Record<string, unknown>> {
  const all = {
    entry_id: fields.entryId,
    spiffe_id: fields.spiffeId,
    parent_id: fields.parentId,
    selectors: fields.selectors,
    x509_svid_ttl: formatDurationOf(fields.x509SvidTtl),
    jwt_svid_ttl: formatDurationOf(fields.jwtSvidTtl),
    hint: fields.hint,
    dns_names: fields.dnsNames,
    federates_with: fields.federatesWith,
    // Whole seconds, as it was given.
    expires_at: isoTime(fields.expiresAt)?.replace('.000Z', 'Z'),
    jwt_svid_include_jti: fields.jwtSvidIncludeJti,
    admin: fields.admin,
    downstream: fields.downstream,
    store_svid: fields.storeSvid,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => isSet(value)));
}

/** The entry again as the server has it, which has checked all of it. */
export function toRegisteredEntry({ fields, source, revision, createdAt }: Entry): RegisteredEntry {
  if (fields === null) throw new SvidgateError('internal', 'the server sent an entry without fields');
  const entry = {
    entryId: fields.entryId,
    spiffeId: parseSpiffeId(fields.spiffeId),
    selectors: fields.selectors.map(parseSelector),
    ...(fields.parentId === '' ? {} : { parentId: parseSpiffeId(fields.parentId) }),
    ...(fields.x509SvidTtl === null ? {} : { x509SvidTtlMs: durationToMs(fields.x509SvidTtl) }),
    ...(fields.jwtSvidTtl === null ? {} : { jwtSvidTtlMs: durationToMs(fields.jwtSvidTtl) }),
    ...(fields.hint === '' ? {} : { hint: fields.hint }),
    ...(fields.dnsNames.length === 0 ? {} : { dnsNames: fields.dnsNames }),
    ...(fields.federatesWith.length === 0 ? {} : { federatesWith: fields.federatesWith.map(parseTrustDomain) }),
    ...(fields.expiresAt === null ? {} : { expiresAt: timestampToMs(fields.expiresAt) }),
    ...(fields.jwtSvidIncludeJti ? { jwtSvidIncludeJti: true } : {}),
    ...(fields.admin ? { admin: true } : {}),
    ...(fields.downstream ? { downstream: true } : {}),
    ...(fields.storeSvid ? { storeSvid: true } : {}),
  };
  return {
    entry,
    source: SOURCES[source] === 'file' ? 'file' : 'api',
    revision: Number(int64ToBigInt(revision)),
    createdAt: createdAt === null ? 0 : timestampToMs(createdAt),
  };
}

function isSet(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return value !== undefined && value !== '' && value !== false;
}

function formatDurationOf(duration: Duration | null | undefined): string | undefined {
  return duration === null || duration === undefined ? undefined : formatDuration(durationToMs(duration));
}
