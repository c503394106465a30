import { msToDuration, msToTimestamp, type svidgate } from '../../proto/index.ts';
import type { EntryDraft } from '../../registration/index.ts';
import type { RegisteredEntry, RegistrationEntry } from '../../spiffe/index.ts';
import { durationField, invalidField, timestampField } from './request-fields.ts';

type EntryFields = svidgate.admin.v1.EntryFields;
type EntryFieldsInit = svidgate.admin.v1.EntryFieldsInit;

/** In the order of the proto's enum, from 1. */
export const ENTRY_SOURCES = ['file', 'api'] as const;

/** How each field of a message becomes one of a draft. What is not set comes as the draft's own "not set". */
const DRAFT_FIELDS = {
  entry_id: (fields) => fields.entryId,
  spiffe_id: (fields) => fields.spiffeId,
  parent_id: (fields) => fields.parentId,
  selectors: (fields) => fields.selectors,
  x509_svid_ttl: (fields) => lifetime(durationField('x509_svid_ttl', fields.x509SvidTtl)),
  jwt_svid_ttl: (fields) => lifetime(durationField('jwt_svid_ttl', fields.jwtSvidTtl)),
  hint: (fields) => fields.hint,
  dns_names: (fields) => fields.dnsNames,
  federates_with: (fields) => fields.federatesWith,
  expires_at: (fields) => wholeSeconds(timestampField('expires_at', fields.expiresAt)),
  jwt_svid_include_jti: (fields) => fields.jwtSvidIncludeJti,
  admin: (fields) => fields.admin,
  downstream: (fields) => fields.downstream,
  store_svid: (fields) => fields.storeSvid,
} satisfies { readonly [Name in keyof EntryDraft]-?: (fields: EntryFields) => EntryDraft[Name] };

type DraftFieldName = keyof typeof DRAFT_FIELDS;

/** An EntryDraft as a message brings it. */
export type MessageDraft = { readonly [Name in DraftFieldName]?: ReturnType<(typeof DRAFT_FIELDS)[Name]> | undefined };

/** All fields. Throws `invalid_request` for times that are out of all range; registration checks the rest. */
export function toDraft(fields: EntryFields): MessageDraft {
  return draftOf(fields, Object.keys(DRAFT_FIELDS) as DraftFieldName[]);
}

/** The named fields only. Throws `invalid_request` when a name is no field, comes twice, or none is there. */
export function toPatch(fields: EntryFields, names: readonly string[]): MessageDraft {
  if (names.length === 0) throw invalidField('update_fields', 'missing: name the fields to change');
  const known = names.map((name) => {
    if (!Object.hasOwn(DRAFT_FIELDS, name) || name === 'entry_id') {
      throw invalidField('update_fields', `${JSON.stringify(name.slice(0, 100))} is no field that can be changed`);
    }
    return name as DraftFieldName;
  });
  if (new Set(known).size < known.length) throw invalidField('update_fields', 'a field is named twice');
  return draftOf(fields, known);
}

function draftOf(fields: EntryFields, names: readonly DraftFieldName[]): MessageDraft {
  return Object.fromEntries(names.map((name) => [name, DRAFT_FIELDS[name](fields)])) as MessageDraft;
}

/** As drafts have it: whole seconds as a number, all else as a text, which is refused where it is checked. */
function lifetime(ms: number | undefined): number | string {
  if (ms === undefined) return 0;
  return ms % 1000 === 0 ? ms / 1000 : `${ms}ms`;
}

function wholeSeconds(ms: number | undefined): number {
  if (ms === undefined) return 0;
  if (ms % 1000 !== 0) throw invalidField('expires_at', 'expected whole seconds');
  // 0 would be "never".
  if (ms === 0) throw invalidField('expires_at', 'the epoch itself cannot be the end of an entry');
  return ms / 1000;
}

export function toEntry({ entry, source, revision, createdAt }: RegisteredEntry): svidgate.admin.v1.EntryInit {
  return {
    fields: toEntryFields(entry),
    source: ENTRY_SOURCES.indexOf(source) + 1,
    revision,
    createdAt: msToTimestamp(createdAt),
  };
}

/** The message of an entry that was checked. */
export function toEntryFields(entry: RegistrationEntry): EntryFieldsInit {
  return {
    entryId: entry.entryId,
    spiffeId: entry.spiffeId,
    parentId: entry.parentId ?? '',
    selectors: entry.selectors,
    ...(entry.x509SvidTtlMs === undefined ? {} : { x509SvidTtl: msToDuration(entry.x509SvidTtlMs) }),
    ...(entry.jwtSvidTtlMs === undefined ? {} : { jwtSvidTtl: msToDuration(entry.jwtSvidTtlMs) }),
    hint: entry.hint ?? '',
    dnsNames: entry.dnsNames ?? [],
    federatesWith: entry.federatesWith ?? [],
    ...(entry.expiresAt === undefined ? {} : { expiresAt: msToTimestamp(entry.expiresAt) }),
    jwtSvidIncludeJti: entry.jwtSvidIncludeJti ?? false,
    admin: entry.admin ?? false,
    downstream: entry.downstream ?? false,
    storeSvid: entry.storeSvid ?? false,
  };
}
