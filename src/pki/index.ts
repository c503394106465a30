/**
 * pki: keys, certificates and PEM, on @peculiar/x509 and node:crypto.
 * Promises: a private key leaves only through the functions that say so; untrusted bytes give `certificate_invalid`,
 * never another error. Must not know SPIFFE's rules, trust domains or who asks.
 */
export { CLIENT_AUTH, parseCertificate, type Certificate, type KeyUsage } from './certificate.ts';
export {
  createLeafCertificate,
  createRootCertificate,
  type IssuedCertificate,
  type SigningCa,
  type Validity,
} from './certificate-issuer.ts';
export { publicKeyFromJwk, publicKeyToJwk, type PublicJwk } from './jwk.ts';
export {
  generateKeyPair,
  keyPairFromPem,
  newSerial,
  privateKeyToPem,
  privateKeyToPkcs8,
  type KeyPair,
} from './keys.ts';
export { pemCertificates, pemEncode } from './pem.ts';
