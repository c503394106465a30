import { generateKeyPairSync, hash, sign } from 'node:crypto';
import { tarGz } from './tar-file.ts';

/** Signs bundles as `opa sign` does, with ES256. */
export interface BundleSigner {
  /** PEM. */
  readonly publicKey: string;
  /** A bundle with one module and a manifest. */
  bundle(rego: string, revision: string): Uint8Array;
}

export function createBundleSigner(): BundleSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    bundle(rego, revision) {
      const entries = contentOf(rego, revision);
      // The canonical text of so simple a manifest is that of the file.
      const files = entries.map(({ path, content }) => ({
        name: path,
        hash: hash('sha256', content),
        algorithm: 'SHA-256',
      }));
      const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      const signed = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode({ files })}`;
      const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      const signatures = [`${signed}.${signature.toString('base64url')}`];
      return tarGz([...entries, { path: '.signatures.json', content: JSON.stringify({ signatures }) }]);
    },
  };
}

/** The same without a signature. */
export function unsignedBundle(rego: string, revision: string): Uint8Array {
  return tarGz(contentOf(rego, revision));
}

function contentOf(rego: string, revision: string): readonly { readonly path: string; readonly content: string }[] {
  return [
    { path: '.manifest', content: JSON.stringify({ revision, roots: [''] }) },
    { path: 'authz.rego', content: rego },
  ];
}
