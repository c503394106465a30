import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseCertificate, pemEncode, splitDer } from '../../src/pki/index.ts';
import { tempFolder } from './temp-folder.ts';
import { connectWorkload } from './workload-client.ts';

const run = promisify(execFile);

/**
 * Fetches this process's default SVID by the Workload API, and has openssl verify it with the roots of its bundle alone. Gives its
 * serial.
 */
export async function assertServedSvid(
  socket: string,
  { intermediates }: { readonly intermediates: number },
): Promise<string> {
  using client = connectWorkload(`unix:${socket}`);
  const stream = client.x509Svids();
  const { svids } = await stream.next();
  stream.cancel();
  await stream.ended;
  const [svid] = svids;
  assert.ok(svid !== undefined);
  const [leaf, ...chain] = splitDer(svid.x509Svid);
  assert.equal(chain.length, intermediates);
  const roots = splitDer(svid.bundle);
  for (const der of roots) {
    const root = parseCertificate(der);
    assert.ok(root.isSignedBy(root), 'the bundle has roots only');
  }
  await using folder = await tempFolder();
  const write = async (name: string, certificates: readonly Uint8Array[]): Promise<string> => {
    await writeFile(join(folder.path, name), certificates.map((der) => pemEncode('CERTIFICATE', der)).join(''));
    return join(folder.path, name);
  };
  const untrusted = chain.length === 0 ? [] : ['-untrusted', await write('chain', chain)];
  const trusted = ['-no-CApath', '-no-CAstore', '-CAfile', await write('roots', roots)];
  const args = ['verify', '-x509_strict', '-purpose', 'sslclient', ...trusted, ...untrusted];
  const { stdout } = await run('openssl', [...args, await write('leaf', [leaf!])]);
  assert.match(stdout, /: OK\n$/);
  return parseCertificate(leaf!).serial;
}
