import type { RequestIdentity, VerifiedPeer, VerifiedToken, VerifiedXfccElement } from '../peer/index.ts';
import type { HttpRequest } from '../proto/index.ts';
import { exactJson, type InputValue } from './input-json.ts';

type InputObject = Readonly<Record<string, InputValue | undefined>>;

/** What stands under `input.svidgate` about who sent the request: what is not verified shows nothing but why. */
export function identityInput({ peer, xfcc, tokens }: RequestIdentity): InputObject {
  return {
    peer: peerInput(peer),
    xfcc: {
      verified: xfcc.verified,
      reason: xfcc.verified ? undefined : xfcc.reason,
      spiffe_id: xfcc.verified ? xfcc.spiffeId : undefined,
      elements: xfcc.elements.map(elementInput),
    },
    jwt: tokensInput(tokens),
  };
}

/** Why something about a request is not verified, for the log of a deny; never what was presented. */
export function describeUnverified({ peer, xfcc, tokens }: RequestIdentity): string {
  const refused = [
    ...(peer.verified ? [] : [`peer ${peer.reason}`]),
    ...(xfcc.verified || xfcc.reason === 'absent' ? [] : [`xfcc ${xfcc.reason}`]),
    ...tokens.map((token) => (token.verified ? '' : `token of ${token.provider ?? 'nobody'} ${token.reason}`)),
  ];
  return refused.filter((text) => text !== '').join(', ');
}

/** The values of a header by its name in lower case, joined by commas as Envoy does, also with `encode_raw_headers`. */
export function headerReader(http: HttpRequest | null | undefined): (name: string) => string | undefined {
  return (name) => {
    if (http === null || http === undefined) return undefined;
    if (Object.hasOwn(http.headers, name)) return http.headers[name];
    const found = http.headerMap?.headers.filter(({ key }) => key.toLowerCase() === name) ?? [];
    if (found.length === 0) return undefined;
    const texts = found.map(({ value, rawValue }) => (value === '' ? Buffer.from(rawValue).toString('latin1') : value));
    return texts.join(',');
  };
}

function peerInput(peer: VerifiedPeer): InputObject {
  return peer.verified
    ? { verified: true, spiffe_id: peer.spiffeId, serial: peer.serial }
    : { verified: false, reason: peer.reason };
}

function elementInput(element: VerifiedXfccElement): InputObject {
  if (!element.verified) return { verified: false, reason: element.reason };
  const { by, spiffeId, hash, subject, dnsNames } = element;
  return { verified: true, by, spiffe_id: spiffeId, hash, subject, dns: dnsNames };
}

/** The one token itself, and a list of all. Which of several counts is for the policy to say. */
function tokensInput(tokens: readonly VerifiedToken[]): InputObject {
  const all = tokens.map(tokenInput);
  const [only, ...more] = all;
  if (only === undefined) return { verified: false, reason: 'absent', tokens: [] };
  if (more.length > 0) return { verified: false, reason: 'several_tokens', tokens: all };
  return { ...only, tokens: all };
}

function tokenInput(token: VerifiedToken): InputObject {
  const { header, provider } = token;
  if (!token.verified) return { verified: false, header, provider, reason: token.reason };
  return { verified: true, header, provider, spiffe_id: token.spiffeId, claims: claimsInput(token) };
}

/** By the claims of a token that was verified before, which are the same object then. */
const exactClaims = new WeakMap<object, InputValue>();

function claimsInput({ claims, claimsText }: VerifiedToken & { readonly verified: true }): InputValue {
  const found = exactClaims.get(claims) ?? exactJson(claimsText);
  exactClaims.set(claims, found);
  return found;
}
