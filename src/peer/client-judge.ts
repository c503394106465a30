import { X509Certificate } from 'node:crypto';
import type { ReadonlyWatchable } from '../core/index.ts';
import { pemEncode } from '../pki/index.ts';
import type { ForeignBundles, TrustBundle } from '../spiffe/index.ts';
import type { ClientJudge } from '../transport/index.ts';
import type { PeerRevocations, PeerVerifier } from './peer-verifier.ts';

export interface ClientJudgeOptions {
  readonly peers: PeerVerifier;
  /** What the verifier goes by: when one of them changes, every connection is judged anew at its next call. */
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
  readonly intermediates: ReadonlyWatchable<readonly Uint8Array[]>;
  readonly revocations: ReadonlyWatchable<PeerRevocations>;
}

/** Who may connect by TLS: X.509-SVIDs of the trust domains that we hold bundles of, unless they are revoked. */
export function createClientJudge({ peers, ...watched }: ClientJudgeOptions): ClientJudge {
  const { bundle, foreignBundles, intermediates, revocations } = watched;
  let seen: readonly unknown[] = [];
  let epoch = 0;
  return {
    judge([leaf, ...above]) {
      const presented = { certificate: encode(leaf), principal: '', chain: above.map(encode).join('') };
      const peer = peers.verify(presented);
      if (!peer.verified) return { accepted: false, reason: peer.reason };
      if (peers.isRevoked(presented)) return { accepted: false, reason: 'revoked' };
      const validUntil = new X509Certificate(leaf ?? NOTHING).validToDate.getTime();
      return { accepted: true, spiffeId: peer.spiffeId, serial: peer.serial, validUntil };
    },
    epoch() {
      const [own, foreign, ours, revoked] = seen;
      const isSame =
        own === bundle.value &&
        foreign === foreignBundles.value &&
        ours === intermediates.value &&
        revoked === revocations.value;
      if (isSame) return epoch;
      seen = [bundle.value, foreignBundles.value, intermediates.value, revocations.value];
      epoch += 1;
      return epoch;
    },
  };
}

const NOTHING = new Uint8Array();

/** As the verifier reads certificates. */
function encode(der: Uint8Array = NOTHING): string {
  return encodeURIComponent(pemEncode('CERTIFICATE', der));
}
