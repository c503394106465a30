import { parseDuration } from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import { msToDuration, msToTimestamp, type DurationInit, type svidgate, type TimestampInit } from '../proto/index.ts';
import { wrongUsage } from './command-line.ts';

type EntryFieldsInit = svidgate.admin.v1.EntryFieldsInit;
type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** The fields of an entry as the command line gives them. A flag that is absent is undefined. */
export interface EntryFlags {
  readonly entryId?: string;
  readonly spiffeId?: string;
  readonly parentId?: string;
  readonly selector?: readonly string[];
  readonly x509SvidTtl?: string;
  readonly jwtSvidTtl?: string;
  readonly hint?: string;
  readonly dnsName?: readonly string[];
  readonly federatesWith?: readonly string[];
  readonly expiresAt?: string;
  readonly jwtSvidIncludeJti?: boolean;
  readonly admin?: boolean;
  readonly downstream?: boolean;
  readonly storeSvid?: boolean;
}

/** What each flag sets, by the field's name in entries.yaml. */
const SETTERS: { readonly [Flag in keyof EntryFlags]-?: Setter<NonNullable<EntryFlags[Flag]>> } = {
  entryId: ['entry_id', (fields, value) => (fields.entryId = value)],
  spiffeId: ['spiffe_id', (fields, value) => (fields.spiffeId = value)],
  parentId: ['parent_id', (fields, value) => (fields.parentId = value)],
  selector: ['selectors', (fields, value) => (fields.selectors = value)],
  x509SvidTtl: ['x509_svid_ttl', (fields, value) => (fields.x509SvidTtl = lifetime('--x509-svid-ttl', value))],
  jwtSvidTtl: ['jwt_svid_ttl', (fields, value) => (fields.jwtSvidTtl = lifetime('--jwt-svid-ttl', value))],
  hint: ['hint', (fields, value) => (fields.hint = value)],
  dnsName: ['dns_names', (fields, value) => (fields.dnsNames = value)],
  federatesWith: ['federates_with', (fields, value) => (fields.federatesWith = value)],
  expiresAt: ['expires_at', (fields, value) => (fields.expiresAt = timeOf('--expires-at', value))],
  jwtSvidIncludeJti: ['jwt_svid_include_jti', (fields, value) => (fields.jwtSvidIncludeJti = value)],
  admin: ['admin', (fields, value) => (fields.admin = value)],
  downstream: ['downstream', (fields, value) => (fields.downstream = value)],
  storeSvid: ['store_svid', (fields, value) => (fields.storeSvid = value)],
};

type Setter<Value> = readonly [name: string, set: (fields: Mutable<EntryFieldsInit>, value: Value) => unknown];

/** The fields that can be cleared, by their names in entries.yaml. */
export const CLEARABLE_FIELDS = [
  'parent_id',
  'x509_svid_ttl',
  'jwt_svid_ttl',
  'hint',
  'dns_names',
  'federates_with',
  'expires_at',
] as const;

/** The message that the flags describe, and which of its fields they set. Throws `config_invalid`. */
export function readEntryFlags(flags: EntryFlags): {
  readonly fields: EntryFieldsInit;
  readonly names: readonly string[];
} {
  const fields: Mutable<EntryFieldsInit> = {};
  const names: string[] = [];
  for (const flag of Object.keys(SETTERS) as (keyof EntryFlags)[]) {
    const value = flags[flag];
    if (value === undefined) continue;
    const [name, set] = SETTERS[flag] as Setter<typeof value>;
    set(fields, value);
    names.push(name);
  }
  return { fields, names };
}

/** `30m`, or a number of seconds as SPIRE's flags have it. */
function lifetime(flag: string, text: string): DurationInit {
  try {
    return msToDuration(/^\d{1,9}$/.test(text) ? Number(text) * 1000 : parseDuration(text));
  } catch (error) {
    throw error instanceof SvidgateError ? wrongUsage(`${flag}: ${error.message}`) : error;
  }
}

/** RFC 3339, or seconds since 1970 as SPIRE's flags have it. */
function timeOf(flag: string, text: string): TimestampInit {
  const isTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:Z|[+-]\d{2}:\d{2})$/.test(text);
  const ms = /^\d{1,12}$/.test(text) ? Number(text) * 1000 : isTime ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw wrongUsage(`${flag}: expected a time such as 2027-01-31T12:00:00Z, or seconds since 1970`);
  return msToTimestamp(ms);
}
