import {
  createLeafIssuer,
  createRoot,
  signerFor,
  type IssuedCertificate,
  type KeyPair,
  type LeafRequest,
  type Validity,
} from '../../src/pki/index.ts';

/** A CA certificate with the key that signs in its name. */
export interface SigningCa {
  readonly certificate: Uint8Array;
  readonly keyPair: KeyPair;
}

/** A self-signed root with a key that is in memory. */
export async function createRootCertificate(
  request: { readonly uri: string; readonly organization: string; readonly keyPair: KeyPair } & Validity,
): Promise<IssuedCertificate> {
  return await createRoot({ ...request, signer: signerFor(request.keyPair.privateKey) });
}

/** A leaf in the name of a CA whose key is in memory. */
export async function createLeafCertificate(
  request: LeafRequest & { readonly ca: SigningCa },
): Promise<IssuedCertificate> {
  const { certificate, keyPair } = request.ca;
  return await createLeafIssuer({ certificate, signer: signerFor(keyPair.privateKey) }).issue(request);
}
