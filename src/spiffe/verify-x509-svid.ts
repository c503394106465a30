import { ANY_USAGE, CLIENT_AUTH, type Certificate } from '../pki/index.ts';
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
  /** Certificates that were presented with the leaf, in any order; more than 8 are refused. Not trusted by themselves. */
  readonly intermediates?: readonly Certificate[];
  /** Epoch milliseconds. */
  readonly now: number;
}

/** Longer chains than anybody has; each more would cost signature checks that a stranger asks for. */
const MAX_INTERMEDIATES = 8;

/**
 * Checks a leaf by X509-SVID §3 to §5: one URI SAN that is a SPIFFE ID with a path, CA false, digitalSignature without
 * the signing bits, valid now, and a path to a root of its own trust domain (RFC 5280 §6): each certificate above the
 * leaf is a CA that may sign certificates, is valid now, has no critical extension that we do not process (name
 * constraints are one), and allows as many CAs below it as there are. The answer is valid only if every check passed. A
 * leaf without such a path is `intermediate_unknown`.
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
  const roots = verification.authorities(trustDomainOf(uri));
  if (roots === undefined || roots.length === 0) return refused('unknown_trust_domain');
  const { intermediates = [], now } = verification;
  if (intermediates.length > MAX_INTERMEDIATES) return refused('intermediate_unknown');
  return leadsToRoot(leaf, { roots, intermediates, now })
    ? { valid: true, spiffeId: uri, certificate: leaf }
    : refused('intermediate_unknown');
}

interface PathParts {
  readonly roots: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  readonly now: number;
}

/**
 * Whether a path of issuers leads from the certificate to a root. Level by level: an intermediate is looked at once, in
 * the place nearest to the leaf, where path lengths allow the most, so a stranger's tangle of certificates that sign one
 * another costs few signature checks.
 */
function leadsToRoot(leaf: Certificate, { roots, intermediates, now }: PathParts): boolean {
  let level: readonly Certificate[] = [leaf];
  let left = intermediates;
  for (let depth = 0; level.length > 0; depth += 1) {
    const issuesOne = (issuer: Certificate): boolean =>
      isIssuer(issuer, depth, now) && level.some((certificate) => certificate.isSignedBy(issuer));
    if (roots.some(issuesOne)) return true;
    const next = left.filter(issuesOne);
    left = left.filter((certificate) => !next.includes(certificate));
    level = next;
  }
  return false;
}

/** Whether it may stand above `depth` intermediates and a leaf that are used for TLS. */
function isIssuer(ca: Certificate, depth: number, now: number): boolean {
  return (
    ca.isCa &&
    (ca.keyUsage?.keyCertSign ?? false) &&
    (ca.pathLength ?? depth) >= depth &&
    ca.unknownCritical.length === 0 &&
    (ca.extendedKeyUsage?.some((usage) => usage === CLIENT_AUTH || usage === ANY_USAGE) ?? true) &&
    timeRefusal(ca, now) === undefined
  );
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
