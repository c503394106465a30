/**
 * pki: keys, certificates, revocation lists, signed tokens and PEM, on @peculiar/x509 and node:crypto.
 * Promises: a private key leaves only through the functions that say so; untrusted bytes give `certificate_invalid`,
 * never another error. Must not know SPIFFE's rules, trust domains or who asks.
 */
export { formMistake } from './certificate-form.ts';
export { createCsr, createRoot, type CaSubject } from './ca-certificate.ts';
export {
  ANY_USAGE,
  CLIENT_AUTH,
  parseCertificate,
  SERVER_AUTH,
  type Certificate,
  type KeyUsage,
} from './certificate.ts';
export { JWS_ALGORITHMS, signCompactJws } from './compact-jws.ts';
export {
  outsideCa,
  parseCsr,
  signIntermediate,
  type CertificationRequest,
  type OutsideCa,
} from './intermediate-issuer.ts';
export { splitDer } from './der-list.ts';
export { publicKeyFromJwk, publicKeyToJwk, type PublicJwk } from './jwk.ts';
export { generateKeyPair, newSerial, privateKeyToPkcs8, type KeyPair } from './keys.ts';
export { generateEncodedKeyPair, type EncodedKeyPair } from './encoded-key-pair.ts';
export {
  createLeafIssuer,
  keyIdOf,
  type IssuedCertificate,
  type LeafIssuer,
  type LeafRequest,
  type Validity,
} from './leaf-issuer.ts';
export { pemCertificates, pemEncode } from './pem.ts';
export { createRevocationList, CRL_REASONS, encodeRevokedCertificate, type CrlReason } from './revocation-list.ts';
export {
  findKeyType,
  generateKeyPairOf,
  isSignatureOf,
  KEY_ALGORITHMS,
  KEY_TYPES,
  keyTypeOf,
  signerFor,
  spkiOf,
  type KeyType,
  type Signer,
} from './signer.ts';
export { isJwsSignedBy } from './verify-jws.ts';
