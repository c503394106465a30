/**
 * What the policies give, read a second time in plain TypeScript from what a case says. Shares no code with the gate: where
 * both are wrong in the same way, it is because two people would have understood the same thing wrongly.
 */
import type { Case } from './case.ts';
import type { HopHeader } from './hops.ts';
import { pem, type Credential, type People, type Token } from './people.ts';
import type { PolicyName, RuleName } from './policies.ts';
import type { Moment } from './timeline.ts';

/** A request as somebody sees it who knows everybody in it. */
export interface Seen {
  /** As it was asked for. */
  readonly policy: string;
  /** In the policy of many rules, the one that was asked for. */
  readonly rule: string;
  readonly method: string;
  readonly path: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  readonly certificate: Credential | undefined;
  /** Whether there is one that is nobody's: what is in it is not known. */
  readonly isUnknown: boolean;
  readonly principal: string;
  readonly token: Token | undefined;
  readonly hops: HopHeader | undefined;
  readonly caller: Case['caller'];
}

export interface Cast {
  readonly people: People;
  readonly hops: ReadonlyMap<string, HopHeader>;
}

const XFCC = 'x-forwarded-client-cert';

/** The headers of a case with those that its token and its hops stand in, which are last and so count. */
export function headersOf(drawn: Case, { people, hops }: Cast): readonly (readonly [string, string])[] {
  const token = people.tokens.get(drawn.token);
  const hop = hops.get(drawn.xfcc);
  return [
    ...drawn.headers,
    ...(token === undefined ? [] : [['authorization', `Bearer ${token.text}`] as const]),
    ...(hop === undefined ? [] : [[XFCC, hop.text] as const]),
  ];
}

export function principalOf(drawn: Case, { people }: Cast): string {
  if (drawn.principal === 'none') return '';
  return drawn.principal === 'match' ? (people.credentials.get(drawn.certificate)?.uris[0] ?? '') : drawn.principal;
}

/** What a case says; undefined when it is no message. */
export function see(drawn: Case, cast: Cast): Seen | undefined {
  const { wire, extensions, rawHeaders, body } = drawn;
  const missing = wire.kind === 'broken' ? wire.field : '';
  const isThere =
    missing === 'certificate' ? cast.people.credentials.get(drawn.certificate)?.text : drawn[missing || 'path'];
  if (wire.kind === 'broken' && wire.how === 'utf8' && isThere !== undefined && isThere !== '') return undefined;
  const last = (key: string): string | undefined => extensions.filter(([name]) => name === key).at(-1)?.[1];
  return {
    policy: last('svidgate.policy') ?? 'default',
    rule: last('rule') ?? '',
    method: missing === 'method' ? '' : drawn.method,
    path: missing === 'path' ? '' : drawn.path,
    headers: new Map(rawHeaders ? [] : headersOf(drawn, cast)),
    body: Buffer.from(body),
    certificate: missing === 'certificate' ? undefined : cast.people.credentials.get(drawn.certificate),
    isUnknown: false,
    principal: principalOf(drawn, cast),
    token: cast.people.tokens.get(drawn.token),
    hops: cast.hops.get(drawn.xfcc),
    caller: drawn.caller,
  };
}

/** Whether some policy that may be in force gives an allow, to whom this may be. */
export function mayAllow(seen: Seen, moments: readonly Moment[], now: number): boolean {
  return moments.some((identity) => moments.some((policy) => isAllowed(seen, { identity, policy, now })));
}

/** Whether every policy that may be in force gives an allow, whoever this may be. */
export function mustAllow(seen: Seen, moments: readonly Moment[], now: number): boolean {
  if (moments.some(({ isChanging, isSwapping }) => isChanging || isSwapping)) return false;
  return moments.every((identity) => moments.every((policy) => isAllowed(seen, { identity, policy, now })));
}

interface At {
  readonly identity: Moment;
  readonly policy: Moment;
  readonly now: number;
}

/** What is known of who asks, once it is verified. */
interface Known {
  readonly peer: string | undefined;
  readonly token: Token | undefined;
  readonly client: string | undefined;
}

function isAllowed(seen: Seen, at: At): boolean {
  const { identity, policy } = at;
  if (seen.caller === 'attested' && !identity.hasCaller) return false;
  if (seen.caller === 'anonymous' && seen.policy !== 'default') return false;
  const now = at.now + identity.clockMs;
  const peer = verifiedPeer(seen, identity, now);
  if (isRevoked(seen, identity, peer)) return false;
  if (peer !== undefined && identity.unregistered.includes(peer)) return false;
  const target = readTarget(seen.path);
  const body = readBody(seen);
  if (target === undefined || body === undefined) return false;
  const name = (seen.policy === 'rules' ? seen.rule : seen.policy) as keyof typeof READINGS;
  if (!Object.hasOwn(READINGS, name) || (seen.policy === 'rules') === POLICIES_THEMSELVES.includes(name)) return false;
  const known = {
    peer,
    token: isTokenGood(seen.token, identity, now) ? seen.token : undefined,
    client: peer === 'spiffe://example.test/gateway' ? seen.hops?.client : undefined,
  };
  const versions = policy.versions[seen.policy as PolicyName] ?? [0];
  return versions.some((version) => READINGS[name]({ ...seen, known, target, json: body.json, version }));
}

function verifiedPeer(seen: Seen, { roots }: Moment, now: number): string | undefined {
  const { certificate, principal, caller } = seen;
  if (caller === 'anonymous' || certificate?.root === undefined || !roots.includes(certificate.root)) return undefined;
  if (now < certificate.notBefore || now > certificate.notAfter) return undefined;
  return principal === '' || principal === certificate.spiffeId ? certificate.spiffeId : undefined;
}

/** Who is revoked is denied, verified or not. */
function isRevoked(seen: Seen, moment: Moment, peer: string | undefined): boolean {
  const { certificate, principal, hops, token } = seen;
  const isOut = (uri: string): boolean => moment.revokedIds.includes(uri);
  if ([principal, ...(certificate?.uris ?? [])].some(isOut)) return true;
  if (certificate !== undefined && moment.revokedCertificates.includes(certificate.name)) return true;
  // Where nobody can see what is in the certificate, or that there is one, it may be the one that is revoked.
  const isAnyRevoked = moment.revokedIds.length + moment.revokedCertificates.length > 0;
  if (certificate?.isUnreadable === true && isAnyRevoked) return true;
  if (certificate === undefined && !seen.isUnknown && principal !== '' && moment.revokedHolders.includes(principal))
    return true;
  if (peer === 'spiffe://example.test/gateway' && hops?.client !== undefined && isOut(hops.client)) return true;
  return token?.key !== undefined && token.spiffeId !== undefined && isOut(token.spiffeId);
}

function isTokenGood(token: Token | undefined, { tokenKeys }: Moment, now: number): boolean {
  if (token?.key === undefined || now >= token.expiresAt) return false;
  return token.key === 'svids' || tokenKeys.includes(token.key);
}

interface Target {
  readonly path: readonly string[];
  readonly names: readonly string[];
}

/** Undefined where Go cannot read it. */
function readTarget(text: string): Target | undefined {
  const [, path = '', query] = /^([^?]*)(?:\?(.*))?$/s.exec(text) ?? [];
  if (isBadEscape(path) || (query !== undefined && (query.includes(';') || isBadEscape(query)))) return undefined;
  const names = (query ?? '').split('&').map((pair) => unescape((pair.split('=')[0] ?? '').replaceAll('+', ' ')));
  return { path: unescape(path).replace(/^\/*/, '').split('/'), names };
}

function isBadEscape(text: string): boolean {
  return text.split('%').some((part, index) => index > 0 && !/^[0-9a-f]{2}/i.test(part));
}

function unescape(text: string): string {
  const bytes = Buffer.from(text).toString('latin1');
  const plain = bytes.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(plain, 'latin1').toString();
}

/** `json` is undefined where there is none; undefined as a whole where the body is not what its type says. */
function readBody({ headers, body }: Seen): { readonly json?: unknown } | undefined {
  const type = headers.get('content-type') ?? '';
  const isJson = type.includes('application/json');
  const isForm = !isJson && !type.includes('application/grpc') && type.includes('application/x-www-form-urlencoded');
  if (headers.get('x-envoy-auth-partial-body') === 'true' || (!isJson && !isForm) || body.length === 0) return {};
  const length = headers.get('content-length');
  if (length !== undefined) {
    if (!/^[+-]?\d+$/.test(length)) return undefined;
    if (Number(length) > body.length) return {};
  }
  try {
    if (isJson) return { json: JSON.parse(body.toString()) as unknown };
  } catch {
    return undefined;
  }
  const text = body.toString();
  if (text.includes(';') || isBadEscape(text)) return undefined;
  const lists = new Map<string, string[]>();
  for (const pair of text.split('&')) {
    const [name = '', ...rest] = pair.split('=');
    if (pair !== '') lists.set(name, [...(lists.get(name) ?? []), unescape(rest.join('=').replaceAll('+', ' '))]);
  }
  return { json: Object.fromEntries(lists) };
}

type Facts = Seen & {
  readonly known: Known;
  readonly target: Target;
  readonly json: unknown;
  readonly version: number;
};

type Row = readonly [peer: string, methods: readonly string[], ...prefix: string[]];

const TABLES: readonly (readonly Row[])[] = [
  [
    ['spiffe://example.test/alice', ['GET', 'POST'], 'orders'],
    ['spiffe://example.test/bob', ['GET'], 'orders', 'public'],
    ['spiffe://partner.test/shop', ['GET'], 'catalog'],
  ],
  [
    ['spiffe://example.test/alice', ['GET'], 'bills'],
    ['spiffe://example.test/carol', ['PUT'], 'orders'],
  ],
];
const BLOCKED = [['mallory'], ['mallory', 'bob']];

/** Header values by the numbers of Rego's order of types: null, boolean, number; others come after all numbers. */
function isAtMost100(value: unknown): boolean {
  if (value === null || typeof value === 'boolean') return true;
  return typeof value === 'number' && value <= 100;
}

function fieldOf(value: unknown, name: string): unknown {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && Object.hasOwn(value, name) ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

const POLICIES_THEMSELVES: readonly string[] = ['default', 'denylist', 'faulty', 'broken'];

const READINGS: Readonly<Record<Exclude<PolicyName, 'rules'> | RuleName, (facts: Facts) => boolean>> = {
  default: ({ known, method, target, version }) =>
    (method === 'GET' && target.path.length === 1 && target.path[0] === 'open') ||
    (TABLES[version] ?? []).some(
      ([peer, methods, ...prefix]) =>
        peer === known.peer && methods.includes(method) && prefix.every((part, at) => target.path[at] === part),
    ),
  denylist: ({ known, method, path, headers, target, version }) =>
    method === 'GET' &&
    known.peer !== undefined &&
    !(BLOCKED[version] ?? []).some((name) => known.peer === `spiffe://example.test/${name}`) &&
    !headers.has('x-block') &&
    headers.has('x-need') &&
    !path.startsWith('/admin') &&
    target.path[0] !== 'admin' &&
    !target.names.includes('debug') &&
    ![...headers.values()].some((value) => value.includes('evil')),
  negation({ known, path, headers }) {
    switch (headers.get('x-way') ?? '') {
      case 'function':
        return path !== '' && !path.startsWith('/private');
      case 'member':
        return known.peer !== undefined && known.peer !== 'spiffe://example.test/mallory';
      case 'equal':
        return known.peer !== 'spiffe://example.test/mallory';
      case 'every':
        return !headers.has('x-bad') && ![...headers.values()].includes('bad');
      default:
        return false;
    }
  },
  body({ method, json }) {
    const currency = fieldOf(json, 'currency');
    const amount = fieldOf(json, 'amount');
    if (method !== 'POST') return false;
    if (currency === 'EUR' && amount !== undefined && isAtMost100(amount)) return true;
    const isList = typeof currency === 'object' && currency !== null;
    return isList && Object.values(currency).length === 1 && Object.values(currency)[0] === 'FORM';
  },
  tokens: ({ known: { token }, target }) =>
    (token !== undefined && token.provider !== 'jwt_svid' && token.role === 'admin') ||
    (token?.spiffeId === 'spiffe://example.test/alice' && target.path.length === 1 && target.path[0] === 'svid'),
  object({ headers }) {
    const shape = headers.get('x-shape');
    if (shape === 'full') return headers.get('x-role') === 'admin';
    if (shape === 'echo') return headers.has('x-a') && !/[^\t -\u{10ffff}]|\u007f/u.test(headers.get('x-a') ?? '');
    return shape === 'metadata';
  },
  faulty: ({ headers }) => headers.get('x-open') === 'sesame' && headers.get('x-shut') !== 'yes',
  hops: ({ known }) => known.client === 'spiffe://example.test/client',
  principal: ({ principal, headers }) => principal === 'spiffe://example.test/alice' && !headers.has('x-shut'),
  broken: () => false,
};

/** Everybody by what a message says of them, also where it was changed on its way. */
export function recognize(
  said: {
    readonly extensions: ReadonlyMap<string, string>;
    readonly method: string;
    readonly path: string;
    readonly headers: ReadonlyMap<string, string>;
    /** The headers, or those of `header_map`. */
    readonly anyHeaders: ReadonlyMap<string, string>;
    readonly body: Buffer;
    readonly certificate: string;
    readonly principal: string;
  },
  caller: Case['caller'],
  cast: Cast,
): Seen {
  const { extensions, method, path, headers, anyHeaders, body, certificate, principal } = said;
  const credential = credentialOf(certificate, cast.people);
  return {
    policy: extensions.get('svidgate.policy') ?? 'default',
    rule: extensions.get('rule') ?? '',
    method,
    path,
    headers,
    body,
    certificate: credential,
    isUnknown: credential === undefined && certificate !== '',
    principal,
    token: tokenOf(anyHeaders.get('authorization') ?? '', cast.people),
    hops: [...cast.hops.values()].find(({ text }) => text === anyHeaders.get(XFCC)),
    caller,
  };
}

/** Nobody looks at more: docs/threat-model.md. */
const MAX_CERTIFICATE_LENGTH = 256 * 1024;

/**
 * By the certificate in it: the lines of its text may be broken in many ways. What is no PEM by RFC 7468, section 3, is nobody's,
 * also where somebody who reads on over the fault would know it.
 */
function credentialOf(text: string, { credentials }: People): Credential | undefined {
  const exact = [...credentials.values()].find((known) => known.text === text);
  if (exact !== undefined || text === '' || text.length > MAX_CERTIFICATE_LENGTH) return exact;
  try {
    const plain = decodeURIComponent(text);
    // Exactly one: of two nobody knows whose it is.
    if (plain.split('-----BEGIN').length !== 2) return undefined;
    const [, base64 = ''] = /-----BEGIN CERTIFICATE-----([A-Za-z\d+/=\s]*)-----END CERTIFICATE-----/.exec(plain) ?? [];
    const encoded = pem(Buffer.from(base64, 'base64'));
    return [...credentials.values()].find((known) => known.text === encoded);
  } catch {
    return undefined;
  }
}

/** A signature may be written with other bits at its end. */
function tokenOf(header: string, { tokens }: People): Token | undefined {
  const [, text = ''] = /^bearer (.*)$/is.exec(header) ?? [];
  const [signed, signature] = splitToken(text.trim());
  return [...tokens.values()].find((known) => {
    const [knownSigned, knownSignature] = splitToken(known.text);
    return signed === knownSigned && bitsOf(signature) === bitsOf(knownSignature);
  });
}

function splitToken(text: string): readonly [signed: string, signature: string] {
  const dot = text.lastIndexOf('.');
  return [text.slice(0, Math.max(0, dot)), text.slice(dot + 1)];
}

const bitsOf = (base64: string): string => Buffer.from(base64, 'base64url').toString('hex');
