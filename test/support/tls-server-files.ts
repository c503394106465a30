import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface TlsServerFiles {
  /** PEM of the CA that signed the certificate. */
  readonly caFile: string;
  readonly cert: string;
  readonly key: string;
}

/** A certificate for localhost and 127.0.0.1, and its CA, made by openssl. */
export async function makeTlsServerFiles(folder: string): Promise<TlsServerFiles> {
  const openssl = async (...args: readonly string[]): Promise<unknown> => await run('openssl', args, { cwd: folder });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const ca = ['-keyout', 'tls-ca.key', '-out', 'tls-ca.pem', '-subj', '/CN=test CA', '-days', '2'];
  await openssl('req', '-x509', ...newKey, ...ca);
  await openssl('req', '-new', ...newKey, '-keyout', 'tls.key', '-out', 'tls.csr', '-subj', '/CN=localhost');
  await writeFile(join(folder, 'tls.ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  const signer = ['-CA', 'tls-ca.pem', '-CAkey', 'tls-ca.key', '-CAcreateserial', '-extfile', 'tls.ext'];
  await openssl('x509', '-req', '-in', 'tls.csr', '-out', 'tls.pem', '-days', '2', ...signer);
  const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8');
  return { caFile: join(folder, 'tls-ca.pem'), cert: await read('tls.pem'), key: await read('tls.key') };
}
