import { SvidgateError } from '../core/index.ts';
import type { AllowEffects, DenyEffects, HeaderField } from '../policy/index.ts';
import { jsonToStruct } from '../proto/index.ts';
import { metadataHeader } from './metadata-header.ts';

/** What policies may do to a request or a response that is refused otherwise. */
export interface ReplyRules {
  /** Guarded headers in lower case: exact names, or beginnings with a `*` at the end. */
  readonly allowedHeaders: readonly string[];
  /** Whether a deny may have a status below 300, which clients take for a success. */
  readonly allowsSuccessOnDeny: boolean;
  /** Set where replies are HTTP responses, which carry less. What they cannot carry is never left out in silence. */
  readonly http?: HttpReplyLimits;
}

export interface HttpReplyLimits {
  /** Whether who asks takes headers out of the request when it is told. */
  readonly removesHeaders: boolean;
}

/** RFC 9110 §5.1, and a colon before it for pseudo headers. */
const HEADER_NAME = /^:?[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9110 §5.5: no control characters but tabs. */
// oxlint-disable-next-line no-control-regex
const BAD_VALUE = /[\u0000-\u0008\u000a-\u001f\u007f]/;
/** They move the request elsewhere, or break the message apart. */
const GUARDED = new Set(['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'te', 'trailer']);

/** What of an allow Envoy must not be told; undefined when all of it is right. */
export function refusedInAllow(effects: AllowEffects, rules: ReplyRules): string | undefined {
  return (
    refusedHeader([...headersFor(effects), ...effects.responseHeadersToAdd], rules) ??
    refusedRemoval(effects.requestHeadersToRemove, rules) ??
    refusedMetadata(effects) ??
    (rules.http === undefined ? undefined : refusedOverHttp(effects, rules.http))
  );
}

/** Of the request on its way on, with the one of a JWT-SVID that is still to come. */
function headersFor({ headers, jwtSvid }: AllowEffects): readonly HeaderField[] {
  return jwtSvid === undefined ? headers : [...headers, { name: jwtSvid.header, value: '' }];
}

/** As refusedInAllow, for a deny. */
export function refusedInDeny(effects: DenyEffects, rules: ReplyRules): string | undefined {
  const { httpStatus = 403 } = effects;
  if (httpStatus < 300 && !rules.allowsSuccessOnDeny) return `http_status ${httpStatus} of a deny`;
  const refused = refusedHeader(effects.headers, rules) ?? refusedMetadata(effects);
  return refused ?? (rules.http === undefined ? undefined : reservedHeader(effects.headers));
}

/** The response has one list of headers, for the request on its way on and for the client. */
function refusedOverHttp(effects: AllowEffects, { removesHeaders }: HttpReplyLimits): string | undefined {
  const { responseHeadersToAdd, queryParametersToSet, queryParametersToRemove } = effects;
  const headers = headersFor(effects);
  if (queryParametersToSet.length + queryParametersToRemove.length > 0) {
    return 'a change of the query, which HTTP replies cannot carry';
  }
  if (effects.requestHeadersToRemove.length > 0 && !removesHeaders) {
    return 'the removal of headers, which this kind of caller does not do';
  }
  if (effects.dynamicMetadata !== undefined && metadataHeader(effects.dynamicMetadata) === undefined) {
    return 'metadata that is too large for a header';
  }
  const forRequest = new Set(headers.map(({ name }) => name.toLowerCase()));
  const both = responseHeadersToAdd.find(({ name }) => forRequest.has(name.toLowerCase()));
  if (both !== undefined) return `${shown(both.name)} for the request and for the response, which HTTP replies mix`;
  return reservedHeader([...headers, ...responseHeadersToAdd]);
}

/** They are of the reply itself, whatever `allow_headers` says. */
const OF_THE_REPLY = new Set([...GUARDED, 'keep-alive', 'proxy-connection', 'x-envoy-auth-headers-to-remove']);

function reservedHeader(headers: readonly HeaderField[]): string | undefined {
  const reserved = headers.find(({ name }) => {
    const lower = name.toLowerCase();
    return lower.startsWith(':') || lower.startsWith('x-svidgate-') || OF_THE_REPLY.has(lower);
  });
  return reserved === undefined ? undefined : `the header ${shown(reserved.name)}, which HTTP replies cannot carry`;
}

function refusedHeader(headers: readonly HeaderField[], rules: ReplyRules): string | undefined {
  for (const { name, value } of headers) {
    if (!HEADER_NAME.test(name)) return 'a header whose name is none';
    if (isGuarded(name.toLowerCase()) && !isAllowed(name.toLowerCase(), rules)) return `the header ${shown(name)}`;
    if (BAD_VALUE.test(value)) return `a control character in the value of ${shown(name)}`;
  }
  return undefined;
}

/** Envoy does not remove `host` and pseudo headers, whatever it is told; without x-envoy-* headers it has its defaults. */
function refusedRemoval(names: readonly string[], rules: ReplyRules): string | undefined {
  for (const name of names) {
    if (!HEADER_NAME.test(name)) return 'the removal of a header whose name is none';
    const lower = name.toLowerCase();
    if (lower.startsWith('x-envoy-') || !isGuarded(lower) || isAllowed(lower, rules)) continue;
    return `the removal of ${shown(name)}`;
  }
  return undefined;
}

function isGuarded(name: string): boolean {
  return name.startsWith(':') || name.startsWith('x-envoy-') || GUARDED.has(name);
}

function isAllowed(name: string, { allowedHeaders }: ReplyRules): boolean {
  return allowedHeaders.some((allowed) =>
    allowed.endsWith('*') ? name.startsWith(allowed.slice(0, -1)) : name === allowed,
  );
}

/** Envoy refuses a whole reply that is nested too deep, which counts as a failure and not as a deny. */
function refusedMetadata({ dynamicMetadata }: AllowEffects | DenyEffects): string | undefined {
  if (dynamicMetadata === undefined) return undefined;
  try {
    jsonToStruct(dynamicMetadata);
    return undefined;
  } catch (error) {
    return `dynamic_metadata: ${SvidgateError.from(error).message}`;
  }
}

/** Names may come from the request. */
function shown(name: string): string {
  return name.slice(0, 100);
}
