import { parseCertificate, type Certificate } from '../../src/pki/index.ts';

const certificates = new WeakMap<Uint8Array, Certificate>();

/** Parsed once: that takes longer than the check of a signature. */
export function parsed(der: Uint8Array): Certificate {
  const certificate = certificates.get(der) ?? parseCertificate(der);
  certificates.set(der, certificate);
  return certificate;
}
