import { createHash } from 'node:crypto';
import { describeValue, formatPath, nearestName, type DocumentPath } from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import {
  findDnsNameOverlap,
  trustDomainId,
  trustDomainOf,
  type RegistrationEntry,
  type Selector,
  type SpiffeId,
  type TrustDomain,
} from '../spiffe/index.ts';
import {
  dnsNameField,
  entryIdField,
  flagField,
  foreignDomainField,
  hintField,
  optional,
  ownIdField,
  parentIdField,
  selectorField,
  timeField,
  ttlField,
  type DraftField,
} from './draft-fields.ts';

/** A SPIFFE ID as SPIRE's JSON writes it. */
export interface SpireId {
  readonly trust_domain: string;
  readonly path: string;
}

type Given<T> = T | undefined;

/**
 * An entry as a file, JSON or a call brings it, unchecked. Absent, undefined, 0, false, an empty text and an empty list
 * all mean "not set". docs/reference/entries.md has the limits.
 */
export interface EntryDraft {
  readonly entry_id?: Given<string>;
  readonly spiffe_id?: Given<string | SpireId>;
  readonly parent_id?: Given<string | SpireId>;
  /** `type:value`, or SPIRE's mapping of both. */
  readonly selectors?: Given<readonly (string | { readonly type: string; readonly value: string })[]>;
  /** A duration such as `30m`; a number is seconds. */
  readonly x509_svid_ttl?: Given<string | number | bigint>;
  readonly jwt_svid_ttl?: Given<string | number | bigint>;
  readonly hint?: Given<string>;
  readonly dns_names?: Given<readonly string[]>;
  /** Trust domains, with or without `spiffe://`. */
  readonly federates_with?: Given<readonly string[]>;
  /** RFC 3339; a number is seconds since 1970. */
  readonly expires_at?: Given<string | number | bigint>;
  readonly jwt_svid_include_jti?: Given<boolean>;
  readonly admin?: Given<boolean>;
  readonly downstream?: Given<boolean>;
  readonly store_svid?: Given<boolean>;
}

/** One thing that is wrong in a draft. */
export interface DraftMistake {
  readonly path: DocumentPath;
  /** Whether the key itself or its value is wrong. */
  readonly part: 'key' | 'value';
  readonly message: string;
  readonly remedy: string;
}

export type CheckedDraft =
  | { readonly entry: RegistrationEntry; readonly mistakes?: never }
  | { readonly mistakes: readonly [DraftMistake, ...DraftMistake[]]; readonly entry?: never };

/** What no two entries have in common. */
export type EntryContent = Pick<RegistrationEntry, 'spiffeId' | 'parentId' | 'selectors'>;

export interface DraftContext {
  readonly trustDomain: TrustDomain;
  /** Where the draft stands, for the paths and messages of mistakes; empty when it stands alone. */
  readonly path: DocumentPath;
  /** The id of a draft that names none. */
  readonly newId: (content: EntryContent) => string;
}

const MAX_ELEMENTS = 1000;
const KEYS = [
  'entry_id',
  'spiffe_id',
  'parent_id',
  'selectors',
  'x509_svid_ttl',
  'jwt_svid_ttl',
  'hint',
  'dns_names',
  'federates_with',
  'expires_at',
  'jwt_svid_include_jti',
  'admin',
  'downstream',
  'store_svid',
] as const satisfies readonly (keyof EntryDraft)[];
type Key = (typeof KEYS)[number];

/** SPIRE's other names for the same: `entry show -output json` writes `id`, `entry create -data` reads `entryExpiry`. */
const SPIRE_NAMES: Readonly<Record<string, Key>> = { id: 'entry_id', entryExpiry: 'expires_at' };
/** What a SPIRE server keeps count of for itself. */
const SPIRE_RECORDS: ReadonlySet<string> = new Set(['created_at', 'revision_number']);
const SPIRE_ATTRIBUTES = 'additional_attributes';
/** An agent's choice; svidgate signs only what somebody holds. */
const SPIRE_PREFETCH = 'disable_x509_svid_prefetch';

/**
 * The entry that a draft of any origin describes, or every mistake in it. This is the only check of an entry's fields:
 * files, SPIRE's JSON and the admin API pass through it.
 */
export function checkDraft(draft: unknown, context: DraftContext): CheckedDraft {
  const reader = new DraftReader(context);
  const entry = reader.read(draft);
  const [first, ...others] = reader.mistakes;
  if (first !== undefined) return { mistakes: [first, ...others] };
  if (entry === undefined) throw new Error('a draft without a mistake is an entry');
  return { entry };
}

/** Two entries with the same key give the same SPIFFE ID to the same callers for the same parent. */
export function contentKey(entry: EntryContent): string {
  const { spiffeId, parentId, selectors } = entry;
  // An entry without a parent is the server's own.
  const server = `${trustDomainId(trustDomainOf(spiffeId))}/spire/server`;
  return JSON.stringify(
    parentId === undefined || parentId === server ? [spiffeId, selectors] : [spiffeId, selectors, parentId],
  );
}

/** An entry id that is the same for the same content, in whatever file and order it stands. */
export function derivedEntryId(content: EntryContent): string {
  return createHash('sha256').update(contentKey(content)).digest('hex').slice(0, 32);
}

class DraftReader {
  readonly mistakes: DraftMistake[] = [];
  readonly #context: DraftContext;
  readonly #given = new Map<Key, { readonly value: unknown; readonly path: DocumentPath }>();

  constructor(context: DraftContext) {
    this.#context = context;
  }

  read(draft: unknown): RegistrationEntry | undefined {
    const { trustDomain, path, newId } = this.#context;
    if (typeof draft !== 'object' || draft === null || Array.isArray(draft)) {
      this.#report(path, describe(path, draft), 'expected a mapping with keys such as `entry_id`');
      return undefined;
    }
    this.#collect(draft);
    const entryId = this.#value('entry_id', optional(entryIdField));
    const spiffeId = this.#required('spiffe_id', ownIdField(trustDomain));
    const parentId = this.#value('parent_id', parentIdField(trustDomain));
    const selectors = this.#selectors();
    const dnsNames = this.#list('dns_names', dnsNameField);
    const rest = {
      x509SvidTtlMs: this.#value('x509_svid_ttl', ttlField),
      jwtSvidTtlMs: this.#value('jwt_svid_ttl', ttlField),
      hint: this.#value('hint', optional(hintField)),
      dnsNames: dnsNames.length === 0 ? undefined : dnsNames,
      federatesWith: nonEmpty(this.#list('federates_with', foreignDomainField(trustDomain)).sort()),
      expiresAt: this.#value('expires_at', timeField),
      jwtSvidIncludeJti: this.#value('jwt_svid_include_jti', flagField),
      admin: this.#value('admin', flagField),
      downstream: this.#value('downstream', flagField),
      storeSvid: this.#value('store_svid', flagField),
    };
    this.#checkTogether({ spiffeId, parentId, selectors, dnsNames, storeSvid: rest.storeSvid });
    if (this.mistakes.length > 0 || spiffeId === undefined) return undefined;
    const content = { spiffeId, ...(parentId === undefined ? {} : { parentId }), selectors };
    return { entryId: entryId ?? newId(content), ...content, ...withoutUndefined(rest) };
  }

  /** Sorts the keys by what they mean; SPIRE's own names stand for ours. */
  #collect(draft: object): void {
    const { path } = this.#context;
    for (const [key, value] of Object.entries(draft)) {
      if (value === undefined || SPIRE_RECORDS.has(key)) continue;
      if (key === SPIRE_ATTRIBUTES) this.#collectAttributes(value, [...path, key]);
      else this.#give(SPIRE_NAMES[key] ?? key, value, [...path, key]);
    }
  }

  #collectAttributes(value: unknown, path: DocumentPath): void {
    if (value === null) return;
    if (typeof value !== 'object' || Array.isArray(value)) {
      this.#report(path, describe(path, value), 'expected a mapping with keys such as `jwt_svid_include_jti`');
      return;
    }
    for (const [key, attribute] of Object.entries(value)) {
      if (key === 'jwt_svid_include_jti') this.#give(key, attribute, [...path, key]);
      else if (key !== SPIRE_PREFETCH) this.#reportUnknown([...path, key], ['jwt_svid_include_jti', SPIRE_PREFETCH]);
    }
  }

  #give(name: string, value: unknown, path: DocumentPath): void {
    const key = KEYS.find((known) => known === name);
    if (key === undefined) this.#reportUnknown(path, KEYS);
    else if (this.#given.has(key)) {
      const message = `\`${key}\` is given under two names, of which \`${formatPath(path)}\` is one`;
      this.mistakes.push({ path, part: 'key', message, remedy: 'keep one of them' });
    } else this.#given.set(key, { value, path });
  }

  #required<T>(key: Key, field: DraftField<T>): T | undefined {
    const given = this.#given.get(key);
    if (given !== undefined && given.value !== '') return this.#value(key, field);
    const path = [...this.#context.path, key];
    this.#report(path, `missing key \`${formatPath(path)}\``, `expected ${field.expected}`);
    return undefined;
  }

  #value<T>(key: Key, field: DraftField<T>): T | undefined {
    const given = this.#given.get(key);
    return given === undefined ? undefined : this.#read(given.value, given.path, field);
  }

  #read<T>(value: unknown, path: DocumentPath, field: DraftField<T>): T | undefined {
    try {
      return field.read(value);
    } catch (error) {
      if (!(error instanceof SvidgateError)) throw error;
      this.#report(path, describe(path, value), error.message);
      return undefined;
    }
  }

  #selectors(): readonly Selector[] {
    const expected = 'a list of at least one selector, such as unix:uid:1001';
    const given = this.#given.get('selectors');
    const path = given?.path ?? [...this.#context.path, 'selectors'];
    if (given === undefined) this.#report(path, `missing key \`${formatPath(path)}\``, `expected ${expected}`);
    else if (!Array.isArray(given.value) || given.value.length === 0) {
      this.#report(path, describe(path, given.value), `expected ${expected}`);
    } else return this.#list('selectors', selectorField).sort();
    return [];
  }

  /** Without duplicates, in the order given. */
  #list<T>(key: Key, field: DraftField<T>): T[] {
    const given = this.#given.get(key);
    if (given === undefined) return [];
    const { value, path } = given;
    if (!Array.isArray(value)) {
      this.#report(path, describe(path, value), `expected a list, each ${field.expected}`);
      return [];
    }
    if (value.length > MAX_ELEMENTS) {
      this.#report(path, `\`${formatPath(path)}\` has ${value.length} elements`, `expected at most ${MAX_ELEMENTS}`);
      return [];
    }
    const read = value.map((element: unknown, index) => this.#read(element, [...path, index], field));
    return [...new Set(read.filter((element) => element !== undefined))];
  }

  #checkTogether(entry: {
    readonly spiffeId: SpiffeId | undefined;
    readonly parentId: SpiffeId | undefined;
    readonly selectors: readonly Selector[];
    readonly dnsNames: readonly string[];
    readonly storeSvid: true | undefined;
  }): void {
    const { spiffeId, parentId, selectors, dnsNames, storeSvid } = entry;
    const at = (key: Key): DocumentPath => this.#given.get(key)?.path ?? this.#context.path;
    if (spiffeId !== undefined && spiffeId === parentId) {
      this.#report(
        at('parent_id'),
        `\`${formatPath(at('parent_id'))}\` is its own \`spiffe_id\``,
        'name another parent',
      );
    }
    const overlap = findDnsNameOverlap(dnsNames);
    if (overlap !== undefined) {
      const message = `\`${formatPath(at('dns_names'))}\` has ${overlap.name}, which ${overlap.wildcard} covers`;
      this.#report(at('dns_names'), message, 'keep one of them');
    }
    const types = new Set(selectors.map((selector) => selector.slice(0, selector.indexOf(':'))));
    if (storeSvid === true && types.size > 1) {
      const message = `\`${formatPath(at('selectors'))}\` has the types ${[...types].join(', ')}`;
      this.#report(at('selectors'), message, 'with `store_svid` all selectors are of one type');
    }
  }

  #report(path: DocumentPath, message: string, remedy: string): void {
    this.mistakes.push({ path, part: 'value', message, remedy });
  }

  #reportUnknown(path: DocumentPath, known: readonly string[]): void {
    const near = nearestName(String(path.at(-1)), known);
    const all = `the keys here are ${known.map((name) => `\`${name}\``).join(', ')}`;
    const remedy = near === undefined ? all : `did you mean \`${near}\`?`;
    this.mistakes.push({ path, part: 'key', message: `unknown key \`${formatPath(path)}\``, remedy });
  }
}

function describe(path: DocumentPath, value: unknown): string {
  const what = typeof value === 'bigint' ? `the number ${value}` : describeValue(value);
  return `${path.length === 0 ? 'the entry' : `\`${formatPath(path)}\``} is ${what}`;
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}

type WithoutUndefined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(fields: T): WithoutUndefined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as WithoutUndefined<T>;
}
