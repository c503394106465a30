import { hash } from 'node:crypto';
import { SvidgateError, Watchable, type Clock, type ReadonlyWatchable } from '../core/index.ts';
import { parseCertificate, pemCertificates, type Certificate } from '../pki/index.ts';
import {
  isSpiffeId,
  trustDomainOf,
  verifyX509Svid,
  type ForeignBundles,
  type SpiffeId,
  type SvidRefusal,
  type SvidVerdict,
  type TrustBundle,
  type TrustDomain,
} from '../spiffe/index.ts';

/** Why the peer is not verified. A closed set: policies read it as `input.svidgate.peer.reason`. */
export type PeerRefusal =
  SvidRefusal | 'caller_anonymous' | 'no_certificate' | 'certificate_unreadable' | 'principal_mismatch';

/** What svidgate itself vouches for about the peer of a request. */
export type VerifiedPeer =
  | { readonly verified: true; readonly spiffeId: SpiffeId; readonly serial: string }
  | { readonly verified: false; readonly reason: PeerRefusal };

/** What Envoy says of the peer: neither is believed by itself. */
export interface PresentedPeer {
  /** `source.certificate`: the leaf as URL-encoded PEM, empty when Envoy sent none. */
  readonly certificate: string;
  /** `source.principal`: the first URI SAN, empty when Envoy sent none. */
  readonly principal: string;
  /** Certificates that the peer presented with its leaf, as URL-encoded PEM. Not trusted by themselves. */
  readonly chain?: string;
}

export interface PeerVerifier {
  /** Checks the presented certificate against the live bundles. Certificates are public: the caller must be proven, too. */
  verify(presented: PresentedPeer): VerifiedPeer;
  /**
   * Whether any of what is presented is revoked, verified or not: the serial, or the SPIFFE ID. Where no certificate is shown,
   * one revoked serial of the ID is enough, since it may be this one. One that cannot be read may be any that is revoked.
   */
  isRevoked(presented: PresentedPeer): boolean;
}

export interface PeerVerifierOptions {
  /** Of our own trust domain. */
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  /** Of foreign trust domains; none when left out. */
  readonly foreignBundles?: ReadonlyWatchable<ForeignBundles>;
  /** CAs between our roots and our SVIDs, in DER: Envoy passes on the leaf alone. */
  readonly intermediates?: ReadonlyWatchable<readonly Uint8Array[]>;
  readonly revocations?: ReadonlyWatchable<PeerRevocations>;
  readonly clock: Clock;
}

/** What the verifier asks of the revocations in force. */
export interface PeerRevocations {
  readonly all: { readonly length: number };
  hasSerial(serial: string): boolean;
  hasSpiffeId(id: SpiffeId): boolean;
  hasSerialOf(id: SpiffeId): boolean;
}

const NO_REVOCATIONS: PeerRevocations = {
  all: [],
  hasSerial: () => false,
  hasSpiffeId: () => false,
  hasSerialOf: () => false,
};

/** Valid verdicts kept; each is a few KiB. Others are not, or anybody's certificates would push the good ones out. */
const MAX_CACHED = 4096;

/** The longest URL-encoded PEM that is looked at. */
const MAX_ENCODED_LENGTH = 256 * 1024;

/** Verdicts are kept by certificate and roots, so that a request costs a hash; validity in time is looked at each time. */
export function createPeerVerifier(options: PeerVerifierOptions): PeerVerifier {
  const revocations = options.revocations ?? new Watchable(NO_REVOCATIONS);
  const { judge, knownLeaf } = createJudge(options);
  return {
    verify(presented) {
      const { certificate, principal } = presented;
      if (certificate === '') return { verified: false, reason: 'no_certificate' };
      let verdict: SvidVerdict;
      try {
        verdict = judge(presented);
      } catch {
        return { verified: false, reason: 'certificate_unreadable' };
      }
      if (!verdict.valid) return { verified: false, reason: verdict.reason };
      if (principal !== '' && principal !== verdict.spiffeId) {
        return { verified: false, reason: 'principal_mismatch' };
      }
      return { verified: true, spiffeId: verdict.spiffeId, serial: verdict.certificate.serial };
    },
    isRevoked(presented) {
      const { value } = revocations;
      return value.all.length > 0 && isRevoked(presented, value, knownLeaf);
    },
  };
}

function isRevoked(presented: PresentedPeer, revocations: PeerRevocations, knownLeaf: Judge['knownLeaf']): boolean {
  const { certificate, principal } = presented;
  const ids: SpiffeId[] = isSpiffeId(principal) ? [principal] : [];
  if (certificate === '') return ids.some((id) => revocations.hasSpiffeId(id) || revocations.hasSerialOf(id));
  let leaf: Certificate;
  try {
    leaf = knownLeaf(presented) ?? readLeaf(certificate);
  } catch {
    return true;
  }
  ids.push(...leaf.uris.filter(isSpiffeId));
  return revocations.hasSerial(leaf.serial) || ids.some((id) => revocations.hasSpiffeId(id));
}

interface CachedVerdict {
  readonly verdict: SvidVerdict & { readonly valid: true };
  readonly roots: readonly Uint8Array[];
  readonly intermediates: readonly Uint8Array[];
  /** When the first certificate that may have counted ends. */
  readonly validUntil: number;
}

interface Judge {
  /** Throws what readLeaf throws. */
  readonly judge: (presented: PresentedPeer) => SvidVerdict;
  /** What the certificate says, which never changes, where it was good before: to read it again costs as much as the rest of a check. */
  readonly knownLeaf: (presented: PresentedPeer) => Certificate | undefined;
}

/** PEM has no NUL, so that no other pair is the same text. */
function keyOf({ certificate, chain = '' }: PresentedPeer): string {
  return hash('sha256', `${certificate}\0${chain}`, 'base64');
}

function createJudge(options: PeerVerifierOptions): Judge {
  const cache = new Map<string, CachedVerdict>();
  const authorities = createAuthorityReader();
  const bundleOf = (trustDomain: TrustDomain): TrustBundle | undefined => {
    const own = options.bundle.value;
    return trustDomain === own.trustDomain ? own : options.foreignBundles?.value.get(trustDomain);
  };
  const judge: Judge['judge'] = (presented) => {
    const { certificate: encoded, chain = '' } = presented;
    const now = options.clock.now();
    const intermediates = options.intermediates?.value ?? NO_INTERMEDIATES;
    const key = keyOf(presented);
    const cached = cache.get(key);
    if (
      cached !== undefined &&
      isSameList(cached.roots, bundleOf(trustDomainOf(cached.verdict.spiffeId))?.x509Authorities) &&
      cached.intermediates === intermediates &&
      now >= cached.verdict.certificate.notBefore &&
      now <= cached.validUntil
    ) {
      return cached.verdict;
    }
    const leaf = readLeaf(encoded);
    const verification = {
      authorities: (trustDomain: TrustDomain) => {
        const bundle = bundleOf(trustDomain);
        return bundle === undefined ? undefined : authorities(bundle.x509Authorities);
      },
      now,
    };
    let above = issuersOf(leaf, authorities(intermediates));
    let verdict = verifyX509Svid(leaf, { ...verification, intermediates: above });
    if (!verdict.valid && verdict.reason === 'intermediate_unknown' && chain !== '') {
      above = readChain(chain, leaf);
      verdict = verifyX509Svid(leaf, { ...verification, intermediates: above });
    }
    cache.delete(key);
    if (!verdict.valid) return verdict;
    const [oldest] = cache.keys();
    if (cache.size >= MAX_CACHED && oldest !== undefined) cache.delete(oldest);
    const roots = bundleOf(trustDomainOf(verdict.spiffeId))?.x509Authorities ?? [];
    const validUntil = firstEnd([leaf, ...above, ...authorities(roots)], now);
    cache.set(key, { verdict, roots, intermediates, validUntil });
    return verdict;
  };
  return { judge, knownLeaf: (presented) => cache.get(keyOf(presented))?.verdict.certificate };
}

/** A bundle changes with each revocation list and each JWT key, too: that is no reason to verify thousands of peers anew. */
function isSameList(roots: readonly Uint8Array[], others: readonly Uint8Array[] | undefined): boolean {
  if (roots === others) return true;
  return roots.length === others?.length && roots.every((root, index) => root === others[index]);
}

/** The first of the ends that are still to come: any later one may be that of a certificate that was not needed. */
function firstEnd(certificates: readonly Certificate[], now: number): number {
  return Math.min(...certificates.map(({ notAfter }) => notAfter).filter((notAfter) => notAfter >= now));
}

/** Those of our own CAs that lead from the leaf upwards: all of them would be more than a chain may have. */
function issuersOf(leaf: Certificate, intermediates: readonly Certificate[]): readonly Certificate[] {
  const path: Certificate[] = [];
  for (let next: Certificate | undefined = leaf; next !== undefined && path.length < MAX_PATH_LENGTH;) {
    const current: Certificate = next;
    next = intermediates.find((candidate) => !path.includes(candidate) && current.isSignedBy(candidate));
    if (next !== undefined) path.push(next);
  }
  return path;
}

const MAX_PATH_LENGTH = 8;

const NO_INTERMEDIATES: readonly Uint8Array[] = [];

/** Envoy writes the PEM with `\n`, space, `+`, `/` and `=` percent-encoded. Throws when it is not exactly one certificate. */
function readLeaf(encoded: string): Certificate {
  if (encoded.length > MAX_ENCODED_LENGTH)
    throw new SvidgateError('too_large', 'the presented certificate is too long');
  const text = decodeURIComponent(encoded);
  const [leaf] = pemCertificates(text);
  // A second one counts also where it cannot be read.
  if (leaf === undefined || text.split('-----BEGIN').length > 2) {
    throw new SvidgateError('certificate_invalid', 'Envoy passes exactly one certificate');
  }
  return parseCertificate(leaf);
}

/**
 * What stands beside the leaf in the chain that it was presented with, and nothing where that cannot be read. One too many
 * is kept, so that a chain that is too long is refused by its length.
 */
function readChain(encoded: string, leaf: Certificate): readonly Certificate[] {
  if (encoded === '' || encoded.length > MAX_ENCODED_LENGTH) return [];
  try {
    const ders = pemCertificates(decodeURIComponent(encoded)).slice(0, MAX_PATH_LENGTH + 2);
    return ders.filter((der) => Buffer.compare(der, leaf.der) !== 0).map(parseCertificate);
  } catch {
    return [];
  }
}

/** Parses each list of CAs once. */
function createAuthorityReader(): (ders: readonly Uint8Array[]) => readonly Certificate[] {
  const parsed = new WeakMap<readonly Uint8Array[], readonly Certificate[]>();
  return (ders) => {
    const found = parsed.get(ders) ?? ders.map(parseCertificate);
    parsed.set(ders, found);
    return found;
  };
}
