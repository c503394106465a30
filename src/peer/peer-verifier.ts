import { createHash } from 'node:crypto';
import { SvidgateError, type Clock, type ReadonlyWatchable } from '../core/index.ts';
import { parseCertificate, pemCertificates, type Certificate } from '../pki/index.ts';
import {
  verifyX509Svid,
  type SpiffeId,
  type SvidRefusal,
  type SvidVerdict,
  type TrustBundle,
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
}

export interface PeerVerifier {
  /** Checks the presented certificate against the live bundle. Certificates are public: the caller must be proven, too. */
  verify(presented: PresentedPeer): VerifiedPeer;
}

/** Valid verdicts kept; each is a few KiB. Others are not, or anybody's certificates would push the good ones out. */
const MAX_CACHED = 4096;

/** The longest URL-encoded PEM that is looked at. */
const MAX_ENCODED_LENGTH = 256 * 1024;

interface CachedVerdict {
  readonly verdict: SvidVerdict & { readonly valid: true };
  readonly bundle: TrustBundle;
}

/** Verdicts are kept by certificate and bundle, so that a request costs a hash; validity in time is looked at each time. */
export function createPeerVerifier(options: {
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly clock: Clock;
}): PeerVerifier {
  const cache = new Map<string, CachedVerdict>();
  const authorities = createAuthorityReader();

  const judge = (encoded: string): SvidVerdict => {
    const bundle = options.bundle.value;
    const now = options.clock.now();
    const key = createHash('sha256').update(encoded).digest('base64');
    const cached = cache.get(key);
    if (cached?.bundle === bundle && isWithin(cached.verdict.certificate, now)) {
      return cached.verdict;
    }
    const verdict = verifyX509Svid(readLeaf(encoded), {
      authorities: (trustDomain) => (trustDomain === bundle.trustDomain ? authorities(bundle) : undefined),
      now,
    });
    cache.delete(key);
    if (!verdict.valid) return verdict;
    const [oldest] = cache.keys();
    if (cache.size >= MAX_CACHED && oldest !== undefined) cache.delete(oldest);
    cache.set(key, { verdict, bundle });
    return verdict;
  };

  return {
    verify(presented) {
      if (presented.certificate === '') return { verified: false, reason: 'no_certificate' };
      let verdict: SvidVerdict;
      try {
        verdict = judge(presented.certificate);
      } catch {
        return { verified: false, reason: 'certificate_unreadable' };
      }
      if (!verdict.valid) return { verified: false, reason: verdict.reason };
      if (presented.principal !== '' && presented.principal !== verdict.spiffeId) {
        return { verified: false, reason: 'principal_mismatch' };
      }
      return { verified: true, spiffeId: verdict.spiffeId, serial: verdict.certificate.serial };
    },
  };
}

function isWithin(certificate: Certificate, now: number): boolean {
  return now >= certificate.notBefore && now <= certificate.notAfter;
}

/** Envoy writes the PEM with `\n`, space, `+`, `/` and `=` percent-encoded. Throws when it is not exactly one certificate. */
function readLeaf(encoded: string): Certificate {
  if (encoded.length > MAX_ENCODED_LENGTH)
    throw new SvidgateError('too_large', 'the presented certificate is too long');
  const [leaf, ...others] = pemCertificates(decodeURIComponent(encoded));
  if (leaf === undefined || others.length > 0) {
    throw new SvidgateError('certificate_invalid', 'Envoy passes exactly one certificate');
  }
  return parseCertificate(leaf);
}

/** Parses each bundle's roots once. */
function createAuthorityReader(): (bundle: TrustBundle) => readonly Certificate[] {
  const parsed = new WeakMap<TrustBundle, readonly Certificate[]>();
  return (bundle) => {
    const found = parsed.get(bundle) ?? bundle.x509Authorities.map(parseCertificate);
    parsed.set(bundle, found);
    return found;
  };
}
