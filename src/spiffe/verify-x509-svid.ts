import { CLIENT_AUTH, type Certificate } from '../pki/index.ts';
import { isSpiffeId, pathOf, trustDomainOf, type SpiffeId, type TrustDomain } from './spiffe-id.ts';

/** Why a certificate is not a valid X.509-SVID of a domain that we trust. A closed set, fit for metrics and policy input. */
export type SvidRefusal =
  | 'expired'
  | 'not_yet_valid'
  | 'not_a_leaf'
  | 'no_spiffe_id'
  | 'several_uris'
  | 'wrong_key_usage'
  | 'unknown_critical_extension'
  | 'unknown_trust_domain'
  | 'intermediate_unknown';

export type SvidVerdict =
  | { readonly valid: true; readonly spiffeId: SpiffeId; readonly certificate: Certificate }
  | { readonly valid: false; readonly reason: SvidRefusal };

export interface SvidVerification {
  /** The roots of one trust domain, or undefined when we hold no bundle for it. Bundles are never merged (X509-SVID §5.2). */
  readonly authorities: (trustDomain: TrustDomain) => readonly Certificate[] | undefined;
  /** Epoch milliseconds. */
  readonly now: number;
}

/**
 * Checks a leaf by X509-SVID §3 to §5: one URI SAN that is a SPIFFE ID with a path, CA false, digitalSignature without
 * the signing bits, valid now, and signed by a root of its own trust domain. The answer is valid only if every check
 * passed. A leaf under an intermediate that was not presented is `intermediate_unknown`.
 */
export function verifyX509Svid(leaf: Certificate, verification: SvidVerification): SvidVerdict {
  const [uri, ...others] = leaf.uris;
  if (uri === undefined || !isSpiffeId(uri)) return refused('no_spiffe_id');
  if (others.length > 0) return refused('several_uris');
  if (pathOf(uri) === '') return refused('no_spiffe_id');
  const profile = profileRefusal(leaf);
  if (profile !== undefined) return refused(profile);
  const time = timeRefusal(leaf, verification.now);
  if (time !== undefined) return refused(time);
  const authorities = verification.authorities(trustDomainOf(uri));
  if (authorities === undefined || authorities.length === 0) return refused('unknown_trust_domain');
  const signed = authorities.some(
    (authority) =>
      authority.isCa &&
      (authority.keyUsage?.keyCertSign ?? false) &&
      timeRefusal(authority, verification.now) === undefined &&
      leaf.isSignedBy(authority),
  );
  return signed ? { valid: true, spiffeId: uri, certificate: leaf } : refused('intermediate_unknown');
}

function profileRefusal(leaf: Certificate): SvidRefusal | undefined {
  if (leaf.isCa) return 'not_a_leaf';
  if (leaf.unknownCritical.length > 0) return 'unknown_critical_extension';
  const usage = leaf.keyUsage;
  if (usage === undefined || !usage.digitalSignature || usage.keyCertSign || usage.cRLSign) return 'wrong_key_usage';
  if (leaf.extendedKeyUsage !== undefined && !leaf.extendedKeyUsage.includes(CLIENT_AUTH)) return 'wrong_key_usage';
  return undefined;
}

function timeRefusal(certificate: Certificate, now: number): 'expired' | 'not_yet_valid' | undefined {
  if (now > certificate.notAfter) return 'expired';
  return now < certificate.notBefore ? 'not_yet_valid' : undefined;
}

function refused(reason: SvidRefusal): SvidVerdict {
  return { valid: false, reason };
}
