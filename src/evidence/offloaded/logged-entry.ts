import {
  Address,
  decodeMessage,
  Fields,
  HeaderValue,
  HttpAccessLogEntry,
  HttpRequestProperties,
  LENGTH_DELIMITED,
  MAX_FIELDS,
  Metadata,
  readVarint,
  Timestamp,
  TlsProperties,
  VARINT,
  type Codec,
} from '../../proto/index.ts';

type Common = NonNullable<HttpAccessLogEntry['commonProperties']>;

/** What records need of the properties of a request; of the whole, that is little. */
export type LoggedCommon = Pick<
  Common,
  | 'startTime'
  | 'metadata'
  | 'customTags'
  | 'tlsProperties'
  | 'downstreamLocalAddress'
  | 'downstreamRemoteAddress'
  | 'downstreamDirectRemoteAddress'
>;

/** An entry of the access log. */
export interface LoggedEntry extends Pick<HttpAccessLogEntry, 'protocolVersion' | 'request'> {
  readonly commonProperties: LoggedCommon | null;
}

/** Of one entry: what is longer was cut by whoever sent it, or is no evidence but a load. */
export const MAX_ENTRY_BYTES = 64 * 1024;

/** Where a filter before the rules keeps what routes and later filters may rewrite: metadata that no client can write. */
export const KEPT = 'svidgate.request';

// Numbers of fields in data/accesslog/v3 and config/core/v3.
const COMMON = 1;
const PROTOCOL = 2;
const REQUEST = 3;
const REMOTE_ADDRESS = 2;
const LOCAL_ADDRESS = 3;
const TLS = 4;
const START_TIME = 5;
const METADATA = 17;
const DIRECT_ADDRESS = 20;
const CUSTOM_TAGS = 22;
const FILTER_METADATA = 1;
const KEY = 1;

/** What is read of a message: the wire types, by the numbers of fields. */
type WantedFields = ReadonlyMap<number, number>;
const OF_ENTRY: WantedFields = new Map([
  [COMMON, LENGTH_DELIMITED],
  [PROTOCOL, VARINT],
  [REQUEST, LENGTH_DELIMITED],
]);
const OF_COMMON: WantedFields = new Map(
  [REMOTE_ADDRESS, LOCAL_ADDRESS, TLS, START_TIME, METADATA, DIRECT_ADDRESS, CUSTOM_TAGS].map((field) => [
    field,
    LENGTH_DELIMITED,
  ]),
);

const MAX_INT_32 = 2 ** 31 - 1;

/** Throws `invalid_request` or `too_large` for bytes that are no entry; what is read later may throw `invalid_request` then. */
export function decodeEntry(bytes: Uint8Array): LoggedEntry {
  const known = bytes.length > MAX_ENTRY_BYTES ? undefined : readEntry(bytes);
  // What is not as Envoys write it is left to what decodes all of it.
  return known ?? decodeMessage(HttpAccessLogEntry, bytes, MAX_ENTRY_BYTES);
}

function readEntry(bytes: Uint8Array): LoggedEntry | undefined {
  const parts = partsOf(bytes, [0, bytes.length], OF_ENTRY);
  const common = parts?.[COMMON];
  const commonParts = common === undefined ? [] : partsOf(bytes, common, OF_COMMON);
  if (parts === undefined || commonParts === undefined) return undefined;
  const protocol = parts[PROTOCOL];
  const protocolVersion = protocol === undefined ? 0 : readVarint(bytes, { at: protocol[0] });
  if (protocolVersion > MAX_INT_32) return undefined;
  return {
    commonProperties: common === undefined ? null : new LazyCommon(bytes, commonParts),
    protocolVersion,
    request: decodeAt(HttpRequestProperties, bytes, parts[REQUEST]),
  };
}

type Range = readonly [from: number, to: number];
/** By the numbers of fields. */
type Parts = readonly (Range | undefined)[];

/** Undefined for bytes that are no message, and where a field stands in it twice or is not what it should be. */
function partsOf(bytes: Uint8Array, [from, to]: Range, wanted: WantedFields): Parts | undefined {
  const parts: (Range | undefined)[] = [];
  const fields = new Fields(bytes, from, to);
  for (let count = 0; fields.next(); count += 1) {
    const { field } = fields;
    if (field === 0 || count === MAX_FIELDS) return undefined;
    const wireType = wanted.get(field);
    if (wireType === undefined) continue;
    if (wireType !== fields.wireType || parts[field] !== undefined) return undefined;
    parts[field] = [fields.from, fields.to];
  }
  return fields.isWhole ? parts : undefined;
}

function decodeAt<Decoded>(codec: Codec<Decoded, never>, bytes: Uint8Array, range: Range | undefined): Decoded | null {
  return range === undefined ? null : decodeMessage(codec, bytes.subarray(range[0], range[1]), MAX_ENTRY_BYTES);
}

/** Decodes what is asked for, when it is first: parts of a made-up entry may be large. */
class LazyCommon implements LoggedCommon {
  readonly #bytes: Uint8Array;
  readonly #parts: Parts;
  readonly #decoded = new Map<number, unknown>();

  constructor(bytes: Uint8Array, parts: Parts) {
    this.#bytes = bytes;
    this.#parts = parts;
  }

  get startTime(): LoggedCommon['startTime'] {
    return this.#once(START_TIME, (range) => decodeAt(Timestamp, this.#bytes, range));
  }

  /** Only where a filter of ours has kept something in it. */
  get metadata(): LoggedCommon['metadata'] {
    return this.#once(METADATA, (range) =>
      range !== undefined && hasKept(this.#bytes, range) ? decodeAt(Metadata, this.#bytes, range) : null,
    );
  }

  get customTags(): LoggedCommon['customTags'] {
    const tag = this.#once(CUSTOM_TAGS, (range) => decodeAt(HeaderValue, this.#bytes, range));
    return tag === null ? {} : { [tag.key]: tag.value };
  }

  get tlsProperties(): LoggedCommon['tlsProperties'] {
    return this.#once(TLS, (range) => TLS_PROPERTIES.at(this.#bytes, range));
  }

  get downstreamLocalAddress(): LoggedCommon['downstreamLocalAddress'] {
    return this.#addressAt(LOCAL_ADDRESS);
  }

  get downstreamRemoteAddress(): LoggedCommon['downstreamRemoteAddress'] {
    return this.#addressAt(REMOTE_ADDRESS);
  }

  get downstreamDirectRemoteAddress(): LoggedCommon['downstreamDirectRemoteAddress'] {
    return this.#addressAt(DIRECT_ADDRESS);
  }

  #addressAt(field: number): LoggedCommon['downstreamLocalAddress'] {
    return this.#once(field, (range) => ADDRESSES.at(this.#bytes, range));
  }

  #once<Decoded>(field: number, decode: (range: Range | undefined) => Decoded): Decoded {
    if (!this.#decoded.has(field)) this.#decoded.set(field, decode(this.#parts[field]));
    return this.#decoded.get(field) as Decoded;
  }
}

/** Whether metadata may have what the filter kept; where it cannot be told, it may. */
function hasKept(bytes: Uint8Array, [from, to]: Range): boolean {
  const fields = new Fields(bytes, from, to);
  while (fields.next()) {
    if (fields.field !== FILTER_METADATA || fields.wireType !== LENGTH_DELIMITED) continue;
    const pair = new Fields(bytes, fields.from, fields.to);
    while (pair.next()) {
      if (pair.field === KEY && pair.to - pair.from === KEPT.length && isKept(bytes, pair.from)) return true;
    }
    if (!pair.isWhole) return true;
  }
  return !fields.isWhole;
}

function isKept(bytes: Uint8Array, from: number): boolean {
  for (let index = 0; index < KEPT.length; index += 1) {
    if (bytes[from + index] !== KEPT.charCodeAt(index)) return false;
  }
  return true;
}

const MAX_KNOWN = 500;
const MAX_KNOWN_BYTES = 1024;

/** Messages that are the same for all requests of a connection; whoever has many of those costs speed alone. */
class Repeated<Decoded> {
  readonly #codec: Codec<Decoded, never>;
  readonly #known = new Map<string, Decoded>();

  constructor(codec: Codec<Decoded, never>) {
    this.#codec = codec;
  }

  at(bytes: Uint8Array, range: Range | undefined): Decoded | null {
    if (range === undefined) return null;
    const [from, to] = range;
    if (to - from > MAX_KNOWN_BYTES) return decodeAt(this.#codec, bytes, range);
    const key = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const decoded = decodeMessage(this.#codec, bytes.subarray(from, to), MAX_KNOWN_BYTES);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(key, decoded);
    return decoded;
  }
}

const ADDRESSES = new Repeated(Address);
const TLS_PROPERTIES = new Repeated(TlsProperties);
