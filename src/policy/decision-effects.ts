/** A header by name; several of one name are several values. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** What an allow does to the request on its way on, and to the response on its way back. */
export interface AllowEffects {
  /** For the request. */
  readonly headers: readonly HeaderField[];
  readonly requestHeadersToRemove: readonly string[];
  readonly queryParametersToSet: readonly HeaderField[];
  readonly queryParametersToRemove: readonly string[];
  /** For the response. */
  readonly responseHeadersToAdd: readonly HeaderField[];
  readonly jwtSvid?: JwtSvidWish;
  readonly dynamicMetadata?: JsonObject;
}

/** `svidgate.jwt_svid`: a JWT-SVID of whoever asks, for the request on its way on. */
export interface JwtSvidWish {
  readonly audience: string;
  /** Default `authorization`. */
  readonly header: string;
  /** Which of the caller's; may be left out where it has one. */
  readonly spiffeId?: string;
}

/** What a deny tells the client. */
export interface DenyEffects {
  readonly headers: readonly HeaderField[];
  readonly httpStatus?: number;
  readonly body?: string;
  readonly dynamicMetadata?: JsonObject;
}

/** A decision as a policy may give it: a boolean, or an object with the boolean `allowed`. */
export type PolicyAnswer =
  | { readonly kind: 'allow'; readonly effects?: AllowEffects }
  | { readonly kind: 'deny'; readonly effects?: DenyEffects }
  /** Nothing that opa-envoy-plugin takes. */
  | { readonly kind: 'wrong_type'; readonly message: string };

type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** The statuses that opa-envoy-plugin takes: those that Go has a name for and Envoy has an enum value for. */
const HTTP_STATUSES = new Set([
  100, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308, 400, 401, 402, 403,
  404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424, 426, 428, 429, 431, 500,
  501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
]);

const MAX_METADATA_DEPTH = 100;

class WrongType extends Error {}

/**
 * Reads what a policy answered, with the checks of opa-envoy-plugin: only the fields of the branch that is taken are
 * looked at, and keys that it does not know are ignored. Lists are in the order of names, whatever the policy's was.
 */
export function readAnswer(value: unknown): PolicyAnswer {
  if (value === true) return { kind: 'allow' };
  if (value === false) return { kind: 'deny' };
  if (!isObject(value)) return { kind: 'wrong_type', message: `the decision is ${nameType(value)}` };
  const allowed = field(value, 'allowed');
  if (allowed === undefined) return { kind: 'wrong_type', message: 'the decision has no `allowed`' };
  try {
    if (allowed === true) return { kind: 'allow', effects: readAllow(value) };
    if (allowed === false) return { kind: 'deny', effects: readDeny(value) };
    return { kind: 'wrong_type', message: `\`allowed\` is ${nameType(allowed)}, not a boolean` };
  } catch (error) {
    if (!(error instanceof WrongType)) throw error;
    return { kind: 'wrong_type', message: error.message };
  }
}

function readAllow(answer: object): AllowEffects {
  return {
    headers: headersOf(answer, 'headers'),
    requestHeadersToRemove: namesOf(answer, 'request_headers_to_remove'),
    queryParametersToSet: parametersOf(answer),
    queryParametersToRemove: namesOf(answer, 'query_parameters_to_remove'),
    responseHeadersToAdd: headersOf(answer, 'response_headers_to_add'),
    ...jwtSvidOf(answer),
    ...metadataOf(answer),
  };
}

function readDeny(answer: object): DenyEffects {
  const body = field(answer, 'body');
  if (body !== undefined && typeof body !== 'string') throw wrong('body', 'a string', body);
  const status = field(answer, 'http_status');
  if (status !== undefined && (typeof status !== 'number' || !HTTP_STATUSES.has(status))) {
    if (typeof status !== 'number') throw wrong('http_status', 'a number', status);
    throw new WrongType(`\`http_status\` is ${status}, which is no status that Envoy can send`);
  }
  return {
    headers: headersOf(answer, 'headers'),
    ...(status === undefined ? {} : { httpStatus: status }),
    ...(body === undefined ? {} : { body }),
    ...metadataOf(answer),
  };
}

/** Keys that only svidgate knows: opa-envoy-plugin passes over them. A misspelt one must not mean something else here. */
function jwtSvidOf(answer: object): { readonly jwtSvid?: JwtSvidWish } {
  const own = objectOf(answer, 'svidgate', ['jwt_svid']);
  const wish = own === undefined ? undefined : objectOf(own, 'jwt_svid', ['audience', 'header', 'spiffe_id']);
  if (wish === undefined) return {};
  const [audience, header, spiffeId] = ['audience', 'header', 'spiffe_id'].map((key) => textOf(wish, key));
  if (audience === undefined) throw new WrongType('`jwt_svid` has no `audience`');
  return {
    jwtSvid: { audience, header: header ?? 'authorization', ...(spiffeId === undefined ? {} : { spiffeId }) },
  };
}

function objectOf(object: object, key: string, keys: readonly string[]): object | undefined {
  const value = field(object, key);
  if (value === undefined) return undefined;
  if (!isObject(value)) throw wrong(key, 'an object', value);
  const unknown = Object.keys(value).find((each) => !keys.includes(each));
  if (unknown !== undefined) throw new WrongType(`\`${key}\` has an unknown key`);
  return value;
}

function textOf(object: object, key: string): string | undefined {
  const value = field(object, key);
  if (value === undefined || (typeof value === 'string' && value !== '')) return value;
  throw wrong(key, 'a text that is not empty', value);
}

function metadataOf(answer: object): { readonly dynamicMetadata?: JsonObject } {
  const metadata = field(answer, 'dynamic_metadata');
  if (metadata === undefined) return {};
  if (!isObject(metadata)) throw wrong('dynamic_metadata', 'an object', metadata);
  if (hasInfinity(metadata, 0)) throw new WrongType('`dynamic_metadata` has a number beyond 64-bit floating point');
  return { dynamicMetadata: metadata as JsonObject };
}

/** What JSON as large as `1e400` becomes. What is nested deeper is refused where it is encoded. */
function hasInfinity(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  if (typeof value !== 'object' || value === null || depth > MAX_METADATA_DEPTH) return false;
  return Object.values(value).some((each) => hasInfinity(each, depth + 1));
}

/** An object from names to a text or a list of texts, or a list of such objects. Sorted by lower-case name. */
function headersOf(answer: object, key: string): readonly HeaderField[] {
  const given = field(answer, key);
  if (given === undefined) return [];
  const objects: readonly unknown[] = Array.isArray(given) ? given : [given];
  const fields = objects.flatMap((each) => {
    if (!isObject(each)) throw wrong(key, 'an object or a list of objects', each);
    return sortedEntries(each).flatMap(([name, value]) => fieldsOf(key, name, value));
  });
  // Stable, so that the values of one name keep their order.
  return fields.sort((a, b) => compare(a.name.toLowerCase(), b.name.toLowerCase()));
}

function parametersOf(answer: object): readonly HeaderField[] {
  const key = 'query_parameters_to_set';
  const given = field(answer, key);
  if (given === undefined) return [];
  if (!isObject(given)) throw wrong(key, 'an object', given);
  return sortedEntries(given).flatMap(([name, value]) => fieldsOf(key, name, value));
}

function fieldsOf(key: string, name: string, value: unknown): readonly HeaderField[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.map((each) => {
    if (typeof each !== 'string') throw wrong(`${key}["${name}"]`, 'a string or a list of strings', each);
    return { name, value: each };
  });
}

function namesOf(answer: object, key: string): readonly string[] {
  const given = field(answer, key);
  if (given === undefined) return [];
  if (!Array.isArray(given)) throw wrong(key, 'a list of strings', given);
  return given.map((name: unknown) => {
    if (typeof name !== 'string') throw wrong(key, 'a list of strings', name);
    return name;
  });
}

function sortedEntries(object: object): readonly (readonly [string, unknown])[] {
  return Object.entries(object).sort(([a], [b]) => compare(a, b));
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function wrong(key: string, expected: string, found: unknown): WrongType {
  return new WrongType(`\`${key.slice(0, 100)}\` has ${nameType(found)} where ${expected} is expected`);
}

/** The value of a key of its own: what comes from the prototype is no answer of the policy. */
function field(object: object, key: string): unknown {
  return Object.hasOwn(object, key) ? (object as Readonly<Record<string, unknown>>)[key] : undefined;
}

function isObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function nameType(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
