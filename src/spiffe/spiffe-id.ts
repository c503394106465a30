import { SvidgateError } from '../core/index.ts';

declare const trustDomainBrand: unique symbol;
declare const spiffeIdBrand: unique symbol;

/** A checked trust domain name without scheme, such as `prod.acme.test` (SPIFFE-ID §2.1). */
export type TrustDomain = string & { readonly [trustDomainBrand]: true };

/** A checked SPIFFE ID, such as `spiffe://prod.acme.test/orders`; without a path it names the trust domain (SPIFFE-ID §2). */
export type SpiffeId = string & { readonly [spiffeIdBrand]: true };

/** SPIFFE-ID §2.3: implementations support 2048 bytes and should not generate more. */
const MAX_ID_LENGTH = 2048;
const MAX_TRUST_DOMAIN_LENGTH = 255;
const SCHEME = 'spiffe://';

/** Throws `spiffe_id_invalid` unless the text is a trust domain name. */
export function parseTrustDomain(text: string): TrustDomain {
  if (text === '') throw invalid('trust domain is missing');
  if (text.length > MAX_TRUST_DOMAIN_LENGTH)
    throw invalid(`trust domain is longer than ${MAX_TRUST_DOMAIN_LENGTH} bytes`);
  if (!/^[a-z0-9._-]+$/.test(text)) {
    throw invalid('trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores');
  }
  return text as TrustDomain;
}

/**
 * Throws `spiffe_id_invalid` unless the text is a SPIFFE ID in the one form we issue: lower-case scheme and trust
 * domain, no port, user, query or fragment, path segments of letters, digits, `.`, `-`, `_`, neither empty nor a dot segment.
 */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length > MAX_ID_LENGTH) throw invalid(`SPIFFE ID is longer than ${MAX_ID_LENGTH} bytes`);
  if (!text.startsWith(SCHEME)) throw invalid('scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"');
  const rest = text.slice(SCHEME.length);
  const slash = rest.indexOf('/');
  parseTrustDomain(slash === -1 ? rest : rest.slice(0, slash));
  if (slash !== -1) checkPath(rest.slice(slash + 1));
  return text as SpiffeId;
}

/** Whether parseSpiffeId would take it. */
export function isSpiffeId(text: string): text is SpiffeId {
  try {
    parseSpiffeId(text);
    return true;
  } catch {
    return false;
  }
}

export function trustDomainOf(id: SpiffeId): TrustDomain {
  const end = id.indexOf('/', SCHEME.length);
  return id.slice(SCHEME.length, end === -1 ? undefined : end) as TrustDomain;
}

/** The path with its leading slash, or the empty string for a trust domain's own ID. */
export function pathOf(id: SpiffeId): string {
  const start = id.indexOf('/', SCHEME.length);
  return start === -1 ? '' : id.slice(start);
}

/** The SPIFFE ID that names the trust domain itself. */
export function trustDomainId(trustDomain: TrustDomain): SpiffeId {
  return `${SCHEME}${trustDomain}` as SpiffeId;
}

function checkPath(path: string): void {
  for (const segment of path.split('/')) {
    if (segment === '') throw invalid('path cannot contain empty segments or end with a slash');
    if (segment === '.' || segment === '..') throw invalid('path cannot contain dot segments');
    if (!/^[A-Za-z0-9._-]+$/.test(segment)) {
      throw invalid('path segment characters are limited to letters, numbers, dots, dashes, and underscores');
    }
  }
}

function invalid(message: string): SvidgateError {
  return new SvidgateError('spiffe_id_invalid', message);
}
