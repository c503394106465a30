/**
 * peer: verified facts about the other end of a request.
 * Promises: verified means checked here against the live bundle, and every other outcome says why not.
 * Must not know Envoy's messages, policies, or what is decided with the facts.
 */
export {
  createPeerVerifier,
  type PeerRefusal,
  type PeerVerifier,
  type PresentedPeer,
  type VerifiedPeer,
} from './peer-verifier.ts';
