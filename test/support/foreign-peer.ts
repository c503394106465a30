import { pemEncode } from '../../src/pki/index.ts';
import { parseSpiffeId } from '../../src/spiffe/index.ts';
import type { TestTrustDomain } from './test-trust-domain.ts';
import type { PeerIdentity } from './tls-peer.ts';

/** An SVID of /peer in a trust domain that is none of svidgate's. */
export async function foreignPeer(domain: TestTrustDomain): Promise<Pick<PeerIdentity, 'cert' | 'key'>> {
  const spiffeId = parseSpiffeId(`spiffe://${domain.bundle.value.trustDomain}/peer`);
  const { certificateChain, privateKey } = await domain.issueX509Svid({ spiffeId, entryId: 'peer' });
  return {
    cert: certificateChain.map((der) => pemEncode('CERTIFICATE', der)).join(''),
    key: pemEncode('PRIVATE KEY', privateKey),
  };
}

/** Its roots in PEM. */
export function rootsOf({ bundle }: TestTrustDomain): string {
  return bundle.value.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)).join('');
}
