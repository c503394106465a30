import { pemEncode } from '../../pki/index.ts';
import {
  encodeMessage,
  packAny,
  SanType,
  SPIFFE_CERT_VALIDATOR_TYPE_URL,
  SpiffeCertValidatorConfig,
  type CertificateValidationContextInit,
  type DataSourceInit,
  type SubjectAltNameMatcherInit,
} from '../../proto/index.ts';
import type { SpiffeIdPattern, TrustBundle } from '../../spiffe/index.ts';

/** Who checks the peer's certificate: Envoy's SPIFFE validator keeps trust domains apart; `plain` has one set of roots. */
export type Validator = 'spiffe' | 'plain';

/** What a peer of one trust domain is checked with. */
export type TrustedDomain = Pick<TrustBundle, 'trustDomain' | 'x509Authorities' | 'revocationLists'>;

const SPIFFE_VALIDATOR = 'envoy.tls.cert_validator.spiffe';

/** Each domain has a root, since Envoy refuses the whole secret for one that has none; `plain` takes a single one. */
export function contextOf(domains: readonly TrustedDomain[], validator: Validator): CertificateValidationContextInit {
  if (validator === 'spiffe') return spiffeContext(domains);
  const revocations = domains.map(revocationsPem).join('');
  return {
    trustedCa: inline(domains.map(rootsPem).join('')),
    ...(revocations === '' ? {} : { crl: inline(revocations) }),
  };
}

function spiffeContext(domains: readonly TrustedDomain[]): CertificateValidationContextInit {
  const trustDomains = domains
    // Envoy's SPIFFE validator takes CRLs beside the roots, and then wants one for each CA of a chain.
    .map((domain) => ({ name: domain.trustDomain, trustBundle: inline(rootsPem(domain) + revocationsPem(domain)) }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
  const config = encodeMessage(SpiffeCertValidatorConfig, { trustDomains });
  return {
    customValidatorConfig: {
      name: SPIFFE_VALIDATOR,
      typedConfig: packAny(SPIFFE_CERT_VALIDATOR_TYPE_URL, config),
    },
  };
}

/** A URI has no spaces. */
const NOBODY: SubjectAltNameMatcherInit = { sanType: SanType.URI, matcher: { exact: 'no peer at all' } };

/** The peer must have one of these SPIFFE IDs. Of an empty list Envoy would make anyone, so it gets a matcher that nobody meets. */
export function matchersFor(peers: readonly SpiffeIdPattern[]): readonly SubjectAltNameMatcherInit[] {
  if (peers.length === 0) return [NOBODY];
  return peers.map((peer) => ({
    sanType: SanType.URI,
    matcher: peer.kind === 'exact' ? { exact: peer.spiffeId } : { prefix: peer.prefix },
  }));
}

export function inline(content: string | Uint8Array): DataSourceInit {
  return { inlineBytes: typeof content === 'string' ? Buffer.from(content) : content };
}

function rootsPem(domain: TrustedDomain): string {
  return domain.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)).join('');
}

function revocationsPem(domain: TrustedDomain): string {
  return (domain.revocationLists ?? []).map((der) => pemEncode('X509 CRL', der)).join('');
}
