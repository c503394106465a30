import {
  createLeafIssuer,
  createRoot,
  generateKeyPair,
  pemEncode,
  privateKeyToPkcs8,
  signerFor,
} from '../../src/pki/index.ts';
import type { ClientIdentity } from './observer.ts';

const HOUR_MS = 60 * 60 * 1000;

/** A certificate that says the given SPIFFE ID, and is signed by a CA that nobody has reason to trust. */
export async function forgeIdentity(spiffeId: string, trustBundle: string): Promise<ClientIdentity> {
  const common = { organization: 'svidgate', notBefore: Date.now() - 60_000, notAfter: Date.now() + HOUR_MS };
  const signer = signerFor(generateKeyPair().privateKey);
  const root = await createRoot({ ...common, uri: `spiffe://${new URL(spiffeId).host}`, signer });
  const { privateKey, publicKey } = generateKeyPair();
  const leaf = await createLeafIssuer({ ...root, signer }).issue({ ...common, uri: spiffeId, publicKey });
  return {
    certificateChain: pemEncode('CERTIFICATE', leaf.certificate) + pemEncode('CERTIFICATE', root.certificate),
    privateKey: pemEncode('PRIVATE KEY', privateKeyToPkcs8(privateKey)),
    trustBundle,
    spiffeId,
  };
}
