import { isCredentialName } from '../../core/index.ts';
import { ERASE, KEEP, type MaskRule } from './mask-rules.ts';
import { looksSecret } from './secret-text.ts';

/** What is kept beyond the allow-list. */
export interface ShownParts {
  /** Headers, in lower case. */
  readonly headers: readonly string[];
  /** Parameters of queries. */
  readonly query: readonly string[];
  /** Claims of verified tokens. */
  readonly claims: readonly string[];
  /** JSON pointers into a record: `/input/…`, `/result/…`, `/nd_builtin_cache/…`. */
  readonly paths: readonly string[];
}

const HEADERS: ReadonlySet<string> = new Set([
  ':authority',
  ':method',
  ':scheme',
  'b3',
  'content-length',
  'content-type',
  'host',
  'traceparent',
  'user-agent',
  'x-b3-sampled',
  'x-b3-spanid',
  'x-b3-traceid',
  'x-envoy-auth-partial-body',
  'x-request-id',
]);
const CLAIMS: readonly string[] = ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf'];
const XFCC = 'x-forwarded-client-cert';
const HEADER_NAME = /^:?[a-z][a-z0-9_-]{0,63}$/;
const OWN_EXTENSION = /^svidgate\.[a-z_]+$/;

/** The allow-list of an input document, with what is shown beyond it. */
export function inputRules(shown: ShownParts): MaskRule {
  const query = new Set(shown.query);
  const path: MaskRule = { kind: 'text', shown: shownPath(shown) };
  const svidgate = ownFacts(shown.claims, path);
  return members({
    attributes: members({
      source: members({ address: KEEP, principal: KEEP }),
      destination: members({ address: KEEP, principal: KEEP }),
      request: members({ time: KEEP, http: httpRules(shown, path) }),
      contextExtensions: members({}, (name) => (OWN_EXTENSION.test(name) ? KEEP : ERASE)),
      metadataContext: metadata(),
      routeMetadataContext: metadata(),
      tlsSession: members({ sni: KEEP }),
    }),
    parsed_path: { kind: 'elements', rule: { kind: 'text', shown: withoutParameters } },
    parsed_query: {
      kind: 'members',
      members: {},
      others: (name) => (query.has(name) ? KEEP : ERASE),
      freeNames: 'all',
    },
    truncated_body: KEEP,
    source_principal: KEEP,
    version: KEEP,
    svidgate,
  });
}

/** What is kept of the path of a request. */
export function shownPath({ query }: ShownParts): (text: string) => string {
  const shown = new Set(query);
  return (text) => withoutParameters(withoutQuery(text, shown));
}

/** Of a host: no `user:password@`. */
const HOST: MaskRule = { kind: 'text', shown: (text) => text.slice(text.lastIndexOf('@') + 1) };

/** Of the segments of a path: no `;jsessionid=…`. A query stays. */
function withoutParameters(text: string): string {
  const [path = '', ...query] = text.split(/(?=\?)/);
  return path.replaceAll(/;[^/#]*/g, '') + query.join('');
}

/** Every other member is erased. */
function members(known: Readonly<Record<string, MaskRule>>, others?: (name: string) => MaskRule): MaskRule {
  return { kind: 'members', members: known, freeNames: 'all', ...(others === undefined ? {} : { others }) };
}

function metadata(): MaskRule {
  return members({ filterMetadata: members({}), typedFilterMetadata: members({}) });
}

function httpRules(shown: ShownParts, path: MaskRule): MaskRule {
  const names = new Set([...HEADERS, ...shown.headers.filter((name) => !isCredentialName(name))]);
  const headerRule = (name: string): MaskRule => {
    if (name === ':path') return path;
    if (name === ':authority' || name === 'host') return HOST;
    if (name === XFCC && names.has(name)) return { kind: 'text', shown: withoutCertificates };
    return names.has(name) ? KEEP : ERASE;
  };
  return members({
    id: KEEP,
    method: KEEP,
    headers: { kind: 'members', members: {}, others: headerRule, freeNames: 'odd' },
    path,
    host: HOST,
    scheme: KEEP,
    size: KEEP,
    protocol: KEEP,
    // Of these only that they are there: their values may be in base64.
    headerMap: members({ headers: { kind: 'elements', rule: members({ key: { kind: 'text', shown: headerName } }) } }),
  });
}

function headerName(name: string): string | undefined {
  return HEADER_NAME.test(name.toLowerCase()) ? name : undefined;
}

function ownFacts(moreClaims: readonly string[], path: MaskRule): MaskRule {
  const names = new Set([...CLAIMS, ...moreClaims]);
  const claims = members({}, (name) => (names.has(name) ? KEEP : ERASE));
  const token = { verified: KEEP, header: KEEP, provider: KEEP, reason: KEEP, spiffe_id: KEEP, claims };
  return members({
    caller: members({ kind: KEEP, spiffe_ids: KEEP, listener: KEEP }),
    peer: members({ verified: KEEP, reason: KEEP, spiffe_id: KEEP, serial: KEEP }),
    xfcc: members({
      verified: KEEP,
      reason: KEEP,
      spiffe_id: KEEP,
      elements: {
        kind: 'elements',
        rule: members({
          verified: KEEP,
          reason: KEEP,
          by: KEEP,
          spiffe_id: KEEP,
          hash: KEEP,
          subject: KEEP,
          dns: KEEP,
        }),
      },
    }),
    jwt: members({ ...token, tokens: { kind: 'elements', rule: members(token) } }),
    policy: KEEP,
    raw_path: path,
  });
}

/** With the query where every parameter of it is shown. */
function withoutQuery(text: string, shown: ReadonlySet<string>): string {
  const end = text.search(/[?#]/);
  if (end === -1) return text;
  const names = text
    .slice(end + 1)
    .split(/[&#]/)
    .map((pair) => pair.split('=', 1)[0] ?? '');
  const isShown = text[end] === '?' && !text.includes('#') && names.every((name) => shown.has(name));
  return isShown && !looksSecret(text) ? text : text.slice(0, end);
}

/** Of x-forwarded-client-cert: what says who, without the certificates. */
function withoutCertificates(text: string): string {
  return text.replaceAll(/(^|[;,])\s*(Cert|Chain)=("(?:[^"\\]|\\.)*"|[^;,]*)/gi, '$1$2=');
}
