import type { SpiffeId } from '../spiffe/index.ts';
import type { JwtVerifier, VerifiedToken } from './jwt-verifier.ts';
import type { PeerVerifier, PresentedPeer, VerifiedPeer } from './peer-verifier.ts';
import type { HeaderReader } from './token-finder.ts';
import { presentedChain, type VerifiedXfcc, type XfccVerifier } from './xfcc-verifier.ts';
import { readXfcc, type XfccElement } from './xfcc.ts';

/** What Envoy says of a request: none of it is believed by itself. */
export interface PresentedRequest {
  readonly certificate: string;
  readonly principal: string;
  readonly header: HeaderReader;
  /** SPIFFE IDs of the Envoy that asks; undefined when nobody proved who that is. */
  readonly callerIds: readonly SpiffeId[] | undefined;
  /** Tokens for a single use are good for one in each book: the policy that is asked. One of a closed set. */
  readonly replayBook: string;
}

/** What svidgate itself vouches for about who sent a request. */
export interface RequestIdentity {
  readonly peer: VerifiedPeer;
  readonly xfcc: VerifiedXfcc;
  /** Empty when there is none where tokens are expected. */
  readonly tokens: readonly VerifiedToken[];
  /** Set when somebody in it is revoked: whatever a policy says, the request is denied. */
  readonly revoked?: 'peer_revoked' | 'client_revoked' | 'token_revoked';
}

export interface RequestVerifier {
  /** Never rejects. It may wait for the keys of a token's issuer, for `limitMs`. */
  verify(request: PresentedRequest, limitMs: number): Promise<RequestIdentity>;
}

const XFCC = 'x-forwarded-client-cert';

export function createRequestVerifier(parts: {
  readonly peers: PeerVerifier;
  readonly xfcc: XfccVerifier;
  readonly tokens: JwtVerifier;
}): RequestVerifier {
  return {
    async verify(request, limitMs) {
      const { certificate, principal, callerIds, header } = request;
      const forwarded = header(XFCC) ?? '';
      const elements = forwarded === '' ? NO_ELEMENTS : readXfcc(forwarded);
      const chain = presentedChain(elements ?? NO_ELEMENTS, certificate);
      const presented: PresentedPeer = { certificate, principal, chain };
      const peer: VerifiedPeer =
        callerIds === undefined ? { verified: false, reason: 'caller_anonymous' } : parts.peers.verify(presented);
      const xfcc = verifyXfcc(elements, { callerIds: callerIds ?? [], peer, presented }, parts.xfcc);
      // Before a token is looked at: a revoked peer uses up nobody's.
      const revokedBefore = parts.peers.isRevoked(presented) ? 'peer_revoked' : revokedClient(xfcc);
      if (revokedBefore !== undefined) return { peer, xfcc, tokens: [], revoked: revokedBefore };
      const tokens = await parts.tokens.verify(header, limitMs, request.replayBook);
      const isRevoked = tokens.some((token) => !token.verified && token.reason === 'revoked');
      return { peer, xfcc, tokens, ...(isRevoked ? { revoked: 'token_revoked' } : {}) };
    },
  };
}

const NO_ELEMENTS: readonly XfccElement[] = [];

function verifyXfcc(
  elements: readonly XfccElement[] | undefined,
  hop: Parameters<XfccVerifier['verify']>[1],
  verifier: XfccVerifier,
): VerifiedXfcc {
  if (elements === undefined) return { verified: false, reason: 'malformed', elements: [] };
  return verifier.verify(elements, hop);
}

function revokedClient(xfcc: VerifiedXfcc): 'client_revoked' | undefined {
  const isRevoked = xfcc.elements.some((element) => !element.verified && element.reason === 'revoked');
  return isRevoked ? 'client_revoked' : undefined;
}
