import {
  createLeafCertificate,
  createRootCertificate,
  generateKeyPair,
  pemEncode,
  privateKeyToPem,
} from '../../src/pki/index.ts';
import type { ClientIdentity } from './observer.ts';

const HOUR_MS = 60 * 60 * 1000;

/** A certificate that says the given SPIFFE ID, and is signed by a CA that nobody has reason to trust. */
export async function forgeIdentity(spiffeId: string, trustBundle: string): Promise<ClientIdentity> {
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + HOUR_MS };
  const organization = 'svidgate';
  const caKeys = generateKeyPair();
  const uri = `spiffe://${new URL(spiffeId).host}`;
  const root = await createRootCertificate({ uri, organization, keyPair: caKeys, ...validity });
  const leafKeys = generateKeyPair();
  const leaf = await createLeafCertificate({
    uri: spiffeId,
    organization,
    publicKey: leafKeys.publicKey,
    ca: { certificate: root.certificate, keyPair: caKeys },
    ...validity,
  });
  return {
    certificateChain: pemEncode('CERTIFICATE', leaf.certificate) + pemEncode('CERTIFICATE', root.certificate),
    privateKey: privateKeyToPem(leafKeys.privateKey),
    trustBundle,
    spiffeId,
  };
}
