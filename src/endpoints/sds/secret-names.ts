import { isSpiffeId, parseHint, pathOf, trustDomainOf, type SpiffeId, type TrustDomain } from '../../spiffe/index.ts';

/** The names that stand for something else (spire-agent's `sds` section). */
export interface SdsAliases {
  readonly defaultSvidName: string;
  readonly defaultBundleName: string;
  readonly defaultAllBundlesName: string;
}

/** What a resource name means, whoever asks. `peers` narrows a validation context to the list of this name. */
export type SecretName =
  | { readonly kind: 'svid'; readonly spiffeId: SpiffeId }
  | { readonly kind: 'default_svid' }
  | { readonly kind: 'hint'; readonly hint: string }
  | { readonly kind: 'own_bundle'; readonly peers?: string }
  | { readonly kind: 'bundle'; readonly trustDomain: TrustDomain; readonly peers?: string }
  | { readonly kind: 'all_bundles'; readonly peers?: string }
  | JwtSecretName
  /** The configuration or a file may have it. */
  | { readonly kind: 'stored'; readonly name: string; readonly peers?: string }
  /** Nothing. */
  | { readonly kind: 'unknown' };

export interface JwtSecretName {
  readonly kind: 'jwt_svid';
  /** The caller's default identity when absent. */
  readonly spiffeId?: SpiffeId;
  readonly audience: readonly string[];
  /** Stands before the token: Envoy below 1.37 cannot put `Bearer ` there itself. */
  readonly prefix: string;
}

const UNKNOWN: SecretName = { kind: 'unknown' };
const HINT = 'hint:';
const JWT = 'jwt:';
/** As lists of peers are named in the configuration; nothing in it needs an encoding. */
const PEERS = /^peers=([A-Za-z0-9][A-Za-z0-9._-]{0,63})$/;

/**
 * Reads a resource name; never throws. First the aliases as they are, then `hint:HINT`, `jwt:SPIFFE_ID?aud=AUDIENCE`,
 * SPIFFE IDs; what is left may be a secret of the configuration or a file. `?peers=LIST` may follow each validation context.
 */
export function parseSecretName(text: string, aliases: SdsAliases): SecretName {
  if (text === aliases.defaultSvidName) return { kind: 'default_svid' };
  if (text === aliases.defaultBundleName) return { kind: 'own_bundle' };
  if (text === aliases.defaultAllBundlesName) return { kind: 'all_bundles' };
  if (text.startsWith(HINT)) return parseHintName(text.slice(HINT.length));
  if (text.startsWith(JWT)) return parseJwtName(text.slice(JWT.length), aliases.defaultSvidName);
  if (text.startsWith(`${aliases.defaultSvidName}?`)) return UNKNOWN;
  for (const [alias, kind] of [
    [aliases.defaultBundleName, 'own_bundle'],
    [aliases.defaultAllBundlesName, 'all_bundles'],
  ] as const) {
    if (text.startsWith(`${alias}?`)) return narrowed({ kind }, text.slice(alias.length + 1));
  }
  const [name, query] = splitQuery(text);
  return narrowed(parsePlainName(name), query);
}

function parsePlainName(name: string): SecretName {
  if (!name.startsWith('spiffe://')) return name === '' ? UNKNOWN : { kind: 'stored', name };
  if (!isSpiffeId(name)) return UNKNOWN;
  return pathOf(name) === '' ? { kind: 'bundle', trustDomain: trustDomainOf(name) } : { kind: 'svid', spiffeId: name };
}

/** Only what can be a validation context has a query. */
function narrowed(name: SecretName, query: string | undefined): SecretName {
  if (query === undefined) return name;
  const peers = PEERS.exec(query)?.[1];
  const isContext = name.kind === 'own_bundle' || name.kind === 'bundle' || name.kind === 'all_bundles';
  return peers !== undefined && (isContext || name.kind === 'stored') ? { ...name, peers } : UNKNOWN;
}

/** A hint stands as it is: it may have any character. */
function parseHintName(hint: string): SecretName {
  try {
    return { kind: 'hint', hint: parseHint(hint) };
  } catch {
    return UNKNOWN;
  }
}

/** As many and as long as the Workload API takes. */
const MAX_AUDIENCES = 100;
const MAX_AUDIENCE_LENGTH = 2048;
/** Visible ASCII and spaces: what a header may have. */
const PREFIX = /^[\u0020-\u007e]{0,64}$/;

function parseJwtName(text: string, defaultSvidName: string): SecretName {
  const isDefault = text.startsWith(`${defaultSvidName}?`);
  const [id, query] = isDefault ? [undefined, text.slice(defaultSvidName.length + 1)] : splitQuery(text);
  if (query === undefined || (id !== undefined && (!isSpiffeId(id) || pathOf(id) === ''))) return UNKNOWN;
  const values = parseQuery(query, ['aud', 'prefix']);
  const audience = values?.get('aud') ?? [];
  const [prefix = '', ...more] = values?.get('prefix') ?? [];
  if (audience.length === 0 || audience.length > MAX_AUDIENCES || more.length > 0 || !PREFIX.test(prefix))
    return UNKNOWN;
  if (audience.some((one) => one === '' || one.length > MAX_AUDIENCE_LENGTH)) return UNKNOWN;
  return { kind: 'jwt_svid', ...(id === undefined ? {} : { spiffeId: id }), audience, prefix };
}

/** Characters that stand for themselves in a value (RFC 3986 §3.4), without `&` and `+`, which is a space to some. */
const VALUE = /^(?:[A-Za-z0-9\-._~!$'()*,;:@/?=]|%[0-9A-Fa-f]{2})*$/;

/** The values by key, decoded; undefined when something is odd: another key, no value, a wrong encoding. */
function parseQuery(query: string, keys: readonly string[]): ReadonlyMap<string, readonly string[]> | undefined {
  const values = new Map<string, string[]>();
  for (const pair of query.split('&')) {
    const end = pair.indexOf('=');
    const key = pair.slice(0, Math.max(0, end));
    const value = decode(pair.slice(end + 1));
    if (!keys.includes(key) || value === undefined) return undefined;
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  return values;
}

function decode(text: string): string | undefined {
  if (!VALUE.test(text)) return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined; // not UTF-8
  }
}

function splitQuery(text: string): readonly [string, string | undefined] {
  const end = text.indexOf('?');
  return end === -1 ? [text, undefined] : [text.slice(0, end), text.slice(end + 1)];
}
