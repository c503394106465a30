/**
 * peer: verified facts about the other end of a request: its certificate, the clients that hops forward, its tokens.
 * Promises: verified means checked here against the live bundles and keys, and every other outcome says why not; a token or
 * a header that nobody checked is never shown as a fact. Must not know Envoy's messages, policies, or what is decided with
 * the facts.
 */
export { createClientJudge, type ClientJudgeOptions } from './client-judge.ts';
export { createTokenVerifier, type TokenVerifier, type TokenVerifierOptions } from './create-token-verifier.ts';
export type { JwtVerifier, VerifiedToken } from './jwt-verifier.ts';
export {
  createPeerVerifier,
  type PeerRefusal,
  type PeerRevocations,
  type PeerVerifier,
  type PresentedPeer,
  type VerifiedPeer,
} from './peer-verifier.ts';
export {
  createRequestVerifier,
  type PresentedRequest,
  type RequestIdentity,
  type RequestVerifier,
} from './request-verifier.ts';
export { readXfcc, type XfccElement } from './xfcc.ts';
export type { TokenRefusal } from './token-issuer.ts';
export {
  createXfccVerifier,
  type VerifiedXfcc,
  type VerifiedXfccElement,
  type XfccElementRefusal,
} from './xfcc-verifier.ts';
