import { formatDuration, parseDuration } from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import {
  parseDnsName,
  parseHint,
  parseSelector,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  trustDomainOf,
  type Selector,
  type SpiffeId,
  type TrustDomain,
} from '../spiffe/index.ts';

/**
 * One field of a draft: what it expects, and how a value of any type becomes a T. `read` throws a SvidgateError whose
 * message says what would be right; undefined stands for a value that means "not set".
 */
export interface DraftField<T> {
  /** Completes "expected …". */
  readonly expected: string;
  readonly read: (value: unknown) => T | undefined;
}

const ENTRY_ID = /^[A-Za-z0-9._-]{1,255}$/;
const MIN_TTL_MS = 1000;
const MAX_TTL_MS = 87_600 * 3_600_000;
/** The last second of the year 9999, the end of what certificates can say (RFC 5280 §4.1.2.5). */
const MAX_TIME_S = 253_402_300_799;
const RFC_3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.0+)?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;
const SPIRE_RESERVED = /^\/spire(?:\/|$)/;

const ttlExpected = `a duration from ${formatDuration(MIN_TTL_MS)} to ${formatDuration(MAX_TTL_MS)}, such as 1h30m`;

/** `true` or `false`; false is the same as not set. */
export const flagField: DraftField<true> = {
  expected: 'true or false',
  read(value) {
    if (typeof value !== 'boolean') throw refused(`expected ${this.expected}`);
    return value ? true : undefined;
  },
};

export const entryIdField = textField('an entry id', (text) => {
  if (!ENTRY_ID.test(text)) throw refused('an entry id has 1 to 255 letters, digits, `.`, `-` or `_`');
  return text;
});

export const hintField = textField('a hint', parseHint);

export const dnsNameField = textField('a DNS name such as orders.acme.test', parseDnsName);

/** Milliseconds. A number is seconds, as in SPIRE's JSON; 0 stands for the authority's own. */
export const ttlField: DraftField<number> = {
  expected: ttlExpected,
  read(value) {
    const seconds = wholeNumber(value);
    if (seconds === 0) return undefined;
    if (seconds === undefined && typeof value !== 'string') throw refused(`expected ${ttlExpected}`);
    const ms = seconds === undefined ? parseDuration(String(value)) : seconds * 1000;
    if (ms < MIN_TTL_MS || ms > MAX_TTL_MS) throw refused(`expected ${ttlExpected}`);
    if (ms % 1000 !== 0) throw refused('a lifetime is whole seconds');
    return ms;
  },
};

/** Epoch milliseconds. A number is seconds since 1970, as in SPIRE's JSON; 0 stands for never. */
export const timeField: DraftField<number> = {
  expected: 'a time such as 2027-01-31T12:00:00Z, or whole seconds since 1970',
  read(value) {
    const seconds = wholeNumber(value) ?? (typeof value === 'string' ? secondsOf(value) : undefined);
    if (seconds === 0) return undefined;
    if (seconds === undefined || seconds < 0 || seconds > MAX_TIME_S) throw refused(`expected ${this.expected}`);
    return seconds * 1000;
  },
};

/** `type:value`, or SPIRE's mapping of both. */
export const selectorField: DraftField<Selector> = {
  expected: 'a selector such as unix:uid:1001',
  read(value) {
    if (typeof value === 'string') return parseSelector(wellFormed(value));
    const { type, value: rest } = partsOf(value, ['type', 'value'], this.expected);
    if (type.includes(':')) throw refused('the type of a selector has no colon');
    return parseSelector(wellFormed(`${type}:${rest}`));
  },
};

/** What an entry gives: an ID of the own trust domain with a path that is not reserved for SPIRE's own parts. */
export function ownIdField(trustDomain: TrustDomain): DraftField<SpiffeId> {
  const member = memberField(trustDomain, `a SPIFFE ID such as spiffe://${trustDomain}/orders`);
  return {
    expected: member.expected,
    read(value) {
      const id = member.read(value);
      if (id !== undefined && SPIRE_RESERVED.test(pathOf(id))) {
        throw refused('expected another path: /spire is reserved for SPIRE servers and agents');
      }
      return id;
    },
  };
}

/** Whose child an entry is: any ID of the own trust domain with a path. */
export function parentIdField(trustDomain: TrustDomain): DraftField<SpiffeId> {
  return optional(memberField(trustDomain, `a SPIFFE ID such as spiffe://${trustDomain}/spire/server`));
}

/** A trust domain other than the own one, with or without `spiffe://`. */
export function foreignDomainField(own: TrustDomain): DraftField<TrustDomain> {
  return textField('a trust domain such as partner.test', (text) => {
    const name = parseTrustDomain(text.startsWith('spiffe://') ? text.slice('spiffe://'.length) : text);
    if (name === own) throw refused('expected another trust domain than the own one');
    return name;
  });
}

/** An empty text is the same as not set. */
export function optional<T>(field: DraftField<T>): DraftField<T> {
  return { expected: field.expected, read: (value) => (value === '' ? undefined : field.read(value)) };
}

function memberField(trustDomain: TrustDomain, expected: string): DraftField<SpiffeId> {
  return {
    expected,
    read(value) {
      const id = parseSpiffeId(typeof value === 'string' ? value : idOfParts(value, expected));
      if (trustDomainOf(id) !== trustDomain) throw refused(`expected an ID of the trust domain ${trustDomain}`);
      if (pathOf(id) === '') throw refused("expected a path: without one it is the trust domain's own ID");
      return id;
    },
  };
}

function idOfParts(value: unknown, expected: string): string {
  const parts = partsOf(value, ['trust_domain', 'path'], expected);
  // Else the two could share a trust domain's name between them.
  if (parts.path !== '' && !parts.path.startsWith('/')) throw refused('expected a path that starts with a slash');
  return `spiffe://${parseTrustDomain(parts.trust_domain)}${parts.path}`;
}

function textField<T>(expected: string, parse: (text: string) => T): DraftField<T> {
  return {
    expected,
    read(value) {
      if (typeof value !== 'string') throw refused(`expected ${expected}`);
      return parse(wellFormed(value));
    },
  };
}

/** A mapping of exactly these texts. */
function partsOf<K extends string>(value: unknown, keys: readonly K[], expected: string): Readonly<Record<K, string>> {
  const isRight =
    typeof value === 'object' &&
    value !== null &&
    Object.keys(value).length === keys.length &&
    keys.every((key) => Object.hasOwn(value, key) && typeof (value as Record<string, unknown>)[key] === 'string');
  if (!isRight) throw refused(`expected ${expected}`);
  return value as Readonly<Record<K, string>>;
}

/** JSON writes 64-bit numbers as texts. */
function wholeNumber(value: unknown): number | undefined {
  const number = typeof value === 'string' && !/^-?\d{1,16}$/.test(value) ? Number.NaN : value;
  if (typeof number !== 'string' && typeof number !== 'number' && typeof number !== 'bigint') return undefined;
  const whole = Number(number);
  return Number.isSafeInteger(whole) ? whole : undefined;
}

function secondsOf(text: string): number | undefined {
  const match = RFC_3339.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const [offsetHours, offsetMinutes] = [Number(match[8] ?? 0), Number(match[9] ?? 0)];
  const local = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  // Date moves the 30th of February on to March.
  const isReal = local.toISOString().startsWith(text.slice(0, 10)) && local.getUTCHours() === hour;
  if (!isReal || minute > 59 || second > 59 || offsetHours > 23 || offsetMinutes > 59) return undefined;
  const offset = (match[7] === '-' ? -1 : 1) * (offsetHours * 3600 + offsetMinutes * 60);
  return local.getTime() / 1000 - offset;
}

/** A lone surrogate would be another text once it is stored. */
function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw refused('expected text that UTF-8 can hold');
  return text;
}

function refused(message: string): SvidgateError {
  return new SvidgateError('invalid_request', message);
}
