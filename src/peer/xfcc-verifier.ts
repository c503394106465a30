import { hash } from 'node:crypto';
import { pemCertificates } from '../pki/index.ts';
import { isSpiffeId, matchesSpiffeId, pathOf, type SpiffeId, type SpiffeIdPattern } from '../spiffe/index.ts';
import type { PeerRefusal, PeerVerifier, PresentedPeer, VerifiedPeer } from './peer-verifier.ts';
import type { XfccElement } from './xfcc.ts';

/**
 * Why an element is not verified, a closed set. Its writer may be unproven (`peer_not_verified`, `writer_not_verified`,
 * `writer_unknown`), not be one that may write (`writer_not_trusted`) or not the one it names (`writer_mismatch`). What it
 * says may not hold: the reasons of a certificate, `hash_mismatch`, `revoked`. `ambiguous`: a second element that its writer
 * did not write stands in its name.
 */
export type XfccElementRefusal =
  | PeerRefusal
  | 'peer_not_verified'
  | 'writer_not_verified'
  | 'writer_unknown'
  | 'writer_not_trusted'
  | 'writer_mismatch'
  | 'hash_mismatch'
  | 'revoked'
  | 'ambiguous';

/** What one hop says of its client, once it is known who wrote it. */
export type VerifiedXfccElement =
  | {
      readonly verified: true;
      /** The hop that wrote it. */
      readonly by: SpiffeId;
      /** The client; absent when its certificate names no SPIFFE ID. */
      readonly spiffeId?: SpiffeId;
      readonly hash: string;
      readonly subject: string;
      readonly dnsNames: readonly string[];
    }
  | { readonly verified: false; readonly reason: XfccElementRefusal };

/** The header as a whole: verified when each of its elements is. */
export type VerifiedXfcc =
  | {
      readonly verified: true;
      /** The client of the first hop. */
      readonly spiffeId?: SpiffeId;
      readonly elements: readonly VerifiedXfccElement[];
    }
  | {
      readonly verified: false;
      readonly reason: XfccElementRefusal | 'absent' | 'malformed' | 'not_all_verified';
      readonly elements: readonly VerifiedXfccElement[];
    };

/** The request that the header came with. */
export interface XfccHop {
  /** SPIFFE IDs of the Envoy that asks. */
  readonly callerIds: readonly SpiffeId[];
  readonly peer: VerifiedPeer;
  readonly presented: PresentedPeer;
}

export interface XfccVerifier {
  /**
   * Follows the elements from the nearest hop to the first. The last is our own Envoy's when it says of the verified peer
   * what we know of it; else it is the peer's. An element counts when the verified identity that is next on the way wrote
   * it, and may write.
   */
  verify(elements: readonly XfccElement[], hop: XfccHop): VerifiedXfcc;
}

export interface XfccVerifierOptions {
  readonly peers: PeerVerifier;
  /** Whose word about its client is taken. */
  readonly trusted: readonly SpiffeIdPattern[];
}

/** The chain that the peer presented, when our own Envoy says so: its element is the last, for an equal leaf. Else empty. */
export function presentedChain(elements: readonly XfccElement[], certificate: string): string {
  const last = elements.at(-1);
  return last !== undefined && last.cert !== '' && last.cert === certificate ? last.chain : '';
}

export function createXfccVerifier({ peers, trusted }: XfccVerifierOptions): XfccVerifier {
  const mayWrite = (id: SpiffeId): boolean => trusted.some((pattern) => matchesSpiffeId(pattern, id));

  const judge = (element: XfccElement, writer: SpiffeId): VerifiedXfccElement => {
    const [by, ...others] = element.by;
    if (by !== writer || others.length > 0) return refused('writer_mismatch');
    if (!mayWrite(writer)) return refused('writer_not_trusted');
    return judgeClient(element, { by: writer, peers });
  };

  return {
    verify(elements, hop) {
      const found: VerifiedXfccElement[] = [];
      let writer: SpiffeId | XfccElementRefusal = hop.peer.verified ? hop.peer.spiffeId : 'peer_not_verified';
      for (const [index, element] of elements.toReversed().entries()) {
        const own = index === 0 ? ownElement(element, hop) : undefined;
        const verdict: VerifiedXfccElement = own ?? (isSpiffeId(writer) ? judge(element, writer) : refused(writer));
        found.unshift(verdict);
        writer = verdict.verified ? (verdict.spiffeId ?? 'writer_unknown') : 'writer_not_verified';
      }
      return summary(isAmbiguous(elements, found) ? found.map(asAmbiguous) : found);
    },
  };
}

/** The element that our own Envoy wrote about the verified peer: it says nothing that we do not know. */
function ownElement(element: XfccElement, { callerIds, peer, presented }: XfccHop): VerifiedXfccElement | undefined {
  const by = callerIds.find((id) => id === element.by[0]);
  if (by === undefined || element.by.length !== 1 || !peer.verified) return undefined;
  if (element.uris.length !== 1 || element.uris[0] !== peer.spiffeId) return undefined;
  if (element.hash !== hashOf(presented.certificate)) return undefined;
  return verified(element, { by, spiffeId: peer.spiffeId });
}

/** What a trusted writer says of its client. A certificate in it is looked at, since that is more than its word. */
function judgeClient(
  element: XfccElement,
  own: { readonly by: SpiffeId; readonly peers: PeerVerifier },
): VerifiedXfccElement {
  const { by, peers } = own;
  const { cert, chain, hash, uris } = element;
  const [uri, ...others] = uris;
  if (others.length > 0) return refused('several_uris');
  if (uri === undefined || !isSpiffeId(uri)) return verified(element, { by });
  if (pathOf(uri) === '') return refused('no_spiffe_id');
  const client = { certificate: cert, principal: uri, chain };
  if (peers.isRevoked(client)) return refused('revoked');
  if (cert !== '') {
    if (hash !== '' && hash !== hashOf(cert)) return refused('hash_mismatch');
    const verdict = peers.verify(client);
    if (!verdict.verified) return refused(verdict.reason);
  }
  return verified(element, { by, spiffeId: uri });
}

/**
 * Each hop writes one element. Envoy does not quote URIs, so one in a certificate of a CA that lets anything pass could
 * look like an element of its own; the element that it was cut out of is then in the name of the same hop.
 */
function isAmbiguous(elements: readonly XfccElement[], verdicts: readonly VerifiedXfccElement[]): boolean {
  const writers = new Set<string>(verdicts.flatMap((verdict) => (verdict.verified ? [verdict.by] : [])));
  return elements.some(({ by }, index) => verdicts[index]?.verified === false && by.some((name) => writers.has(name)));
}

/** What is revoked stays so: nobody gets around that with a second element. */
function asAmbiguous(verdict: VerifiedXfccElement): VerifiedXfccElement {
  return !verdict.verified && verdict.reason === 'revoked' ? verdict : refused('ambiguous');
}

function summary(elements: readonly VerifiedXfccElement[]): VerifiedXfcc {
  const [first] = elements;
  if (first === undefined) return { verified: false, reason: 'absent', elements };
  const unverified = elements.filter((element) => !element.verified);
  if (unverified.length > 0 || !first.verified) {
    const [only, ...more] = unverified;
    const reason = only === undefined || more.length > 0 ? 'not_all_verified' : only.reason;
    return { verified: false, reason, elements };
  }
  return { verified: true, ...(first.spiffeId === undefined ? {} : { spiffeId: first.spiffeId }), elements };
}

function verified(
  { hash, subject, dnsNames }: XfccElement,
  ids: { readonly by: SpiffeId; readonly spiffeId?: SpiffeId },
): VerifiedXfccElement {
  return { verified: true, ...ids, hash, subject, dnsNames };
}

function refused(reason: XfccElementRefusal): VerifiedXfccElement {
  return { verified: false, reason };
}

/** SHA-256 of the one certificate in URL-encoded PEM, as Envoy writes it; undefined when it is not one. */
function hashOf(certificate: string): string | undefined {
  try {
    const [der, ...others] = pemCertificates(decodeURIComponent(certificate));
    if (der === undefined || others.length > 0) return undefined;
    return hash('sha256', der, 'hex');
  } catch {
    return undefined;
  }
}
