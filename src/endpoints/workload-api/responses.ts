import { withUniqueHints, type CallerBundles, type CallerIdentity } from '../../identity/index.ts';
import {
  encodeMessage,
  JwtBundlesResponse,
  X509BundlesResponse,
  X509SvidResponse,
  type X509SvidInit,
} from '../../proto/index.ts';
import { formatJwtBundle, trustDomainId, type TrustBundle } from '../../spiffe/index.ts';

/** All SVIDs of the caller with its bundles (Workload API §5.2.1), or undefined while there is none. */
export function encodeX509Svids({ svids, bundle, foreignBundles }: CallerIdentity): Uint8Array | undefined {
  if (svids.length === 0) return undefined;
  const ownBundle = Buffer.concat(bundle.x509Authorities);
  return encodeMessage(X509SvidResponse, {
    svids: withUniqueHints(svids).map(({ svid, hint = '' }): X509SvidInit => ({
      spiffeId: svid.spiffeId,
      x509Svid: Buffer.concat(svid.certificateChain),
      x509SvidKey: svid.privateKey,
      bundle: ownBundle,
      hint,
    })),
    crl: revocationListsOf([bundle, ...foreignBundles]),
    federatedBundles: x509Bundles(foreignBundles),
  });
}

/** The bundles that the caller may trust, its own trust domain's first (Workload API §5.2.2). */
export function encodeX509Bundles({ bundle, foreignBundles }: CallerBundles): Uint8Array {
  const bundles = [bundle, ...foreignBundles];
  return encodeMessage(X509BundlesResponse, { crl: revocationListsOf(bundles), bundles: x509Bundles(bundles) });
}

/** JWK Sets of the trust domains, also of those without a JWT key (Workload API §6.2.2). */
export function encodeJwtBundles({ bundle, foreignBundles }: CallerBundles): Uint8Array {
  const bundles = [bundle, ...foreignBundles].map(
    (one) => [trustDomainId(one.trustDomain), Buffer.from(formatJwtBundle(one))] as const,
  );
  return encodeMessage(JwtBundlesResponse, { bundles: Object.fromEntries(bundles) });
}

/** A domain without a root is left out: go-spiffe refuses the whole response for it. */
function x509Bundles(bundles: readonly TrustBundle[]): Record<string, Uint8Array> {
  const withRoots = bundles.filter(({ x509Authorities }) => x509Authorities.length > 0);
  return Object.fromEntries(
    withRoots.map(({ trustDomain, x509Authorities }) => [trustDomainId(trustDomain), Buffer.concat(x509Authorities)]),
  );
}

function revocationListsOf(bundles: readonly TrustBundle[]): readonly Uint8Array[] {
  return bundles.flatMap(({ revocationLists = [] }) => revocationLists);
}
