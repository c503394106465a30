/**
 * spiffe: the nouns of SPIFFE, checked once and then carried as types.
 * Promises: pure; a value of a branded type has been parsed. Must not know files, sockets or time.
 */
export {
  formatJwtBundle,
  formatPemBundle,
  formatSpiffeBundle,
  parseBundle,
  parsePemBundle,
  parseSpiffeBundle,
} from './bundle-document.ts';
export { findDnsNameOverlap, parseDnsName } from './dns-name.ts';
export { parseHint } from './hint.ts';
export {
  JWT_ALGORITHMS,
  JwtInvalidError,
  readAlgorithm,
  readAudienceClaim,
  readJwtParts,
  readTimeClaim,
  type JsonMap,
  type JwtAlgorithm,
  type JwtParts,
  type JwtRefusal,
} from './jwt-parts.ts';
export type { JwtSvid } from './jwt-svid.ts';
export { parseJwtSvid, type UnverifiedJwtSvid } from './parse-jwt-svid.ts';
export type { EntrySource, RegisteredEntry, RegistrationEntry } from './registration-entry.ts';
export { REVOCATION_REASONS, type Revocation, type RevocationReason, type RevocationTarget } from './revocation.ts';
export { parseSelector, selectorOf, type Selector } from './selector.ts';
export {
  isSpiffeId,
  parseSpiffeId,
  parseTrustDomain,
  pathOf,
  trustDomainId,
  trustDomainOf,
  type SpiffeId,
  type TrustDomain,
} from './spiffe-id.ts';
export { matchesSpiffeId, parseSpiffeIdPattern, type SpiffeIdPattern } from './spiffe-id-pattern.ts';
export type { ForeignBundles, JwtAuthority, TrustBundle } from './trust-bundle.ts';
export type { X509Svid } from './x509-svid.ts';
export { parseUniqueJson } from './unique-json.ts';
export { verifyJwtSvid, type JwtSvidVerification, type VerifiedJwtSvid } from './verify-jwt-svid.ts';
export { verifyX509Svid, type SvidRefusal, type SvidVerdict, type SvidVerification } from './verify-x509-svid.ts';
