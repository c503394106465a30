import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SvidgateError, writeFileAtomic } from '../core/index.ts';
import { pemEncode, splitDer } from '../pki/index.ts';
import type { X509SvidResponse } from '../proto/index.ts';

/**
 * Writes what a process holds, each file replaced in one step and 0600: `svid.N.pem` (leaf first), `svid.N.key`,
 * `bundle.N.pem`, and `federated_bundle.TRUST_DOMAIN.pem`. Gives their paths. Throws `file_unreadable`.
 */
export async function writeSvidFiles(folder: string, response: X509SvidResponse): Promise<readonly string[]> {
  const svids = response.svids.flatMap((svid, index) => [
    // The key first: a reader that sees the new chain finds its key.
    { name: `svid.${index}.key`, text: pemEncode('PRIVATE KEY', svid.x509SvidKey) },
    { name: `svid.${index}.pem`, text: toPem(svid.x509Svid) },
    { name: `bundle.${index}.pem`, text: toPem(svid.bundle) },
  ]);
  const federated = Object.entries(response.federatedBundles).map(([id, der]) => ({
    name: `federated_bundle.${fileNameOf(id)}.pem`,
    text: toPem(der),
  }));
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const files = [...svids, ...federated];
    for (const { name, text } of files) await writeFileAtomic(join(folder, name), text, 0o600);
    return files.map(({ name }) => join(folder, name));
  } catch (cause) {
    throw new SvidgateError('file_unreadable', `${folder} cannot be written to`, { cause });
  }
}

/** DER certificates, one after the other, as PEM. */
export function toPem(der: Uint8Array): string {
  return splitDer(der)
    .map((certificate) => pemEncode('CERTIFICATE', certificate))
    .join('');
}

/** A trust domain's name; whatever else a server sends leads to no other folder. */
function fileNameOf(id: string): string {
  return id.replace(/^spiffe:\/\//, '').replaceAll(/[^a-z0-9._-]/g, '_');
}
