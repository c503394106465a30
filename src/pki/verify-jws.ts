import type { KeyObject } from 'node:crypto';
import { compactVerify } from 'jose';

/** Whether a JWS in compact serialisation was signed by the key with this algorithm. Never rejects. */
export async function isJwsSignedBy(
  token: string,
  key: { readonly publicKey: KeyObject; readonly algorithm: string },
): Promise<boolean> {
  try {
    await compactVerify(token, key.publicKey, { algorithms: [key.algorithm] });
    return true;
  } catch {
    return false;
  }
}
