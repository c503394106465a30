import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Options of `openssl genpkey`. */
export const OUTSIDE_KEYS = {
  'P-256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'P-521': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
  'RSA-2048': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'RSA-3072': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:3072'],
  Ed25519: ['-algorithm', 'ED25519'],
} as const;

export interface OutsideCaRequest {
  /** Files are NAME.pem and NAME.key in the folder. */
  readonly name: string;
  /** Name of the CA that signs it; absent: it signs itself. */
  readonly issuer?: string;
  readonly key?: keyof typeof OUTSIDE_KEYS;
  /** Value of basicConstraints; default `critical,CA:TRUE`. */
  readonly constraints?: string;
  /** Value of keyUsage; default `critical,keyCertSign,cRLSign`. */
  readonly usage?: string;
  /** Further lines of extensions. */
  readonly extensions?: readonly string[];
  /** Default 30; a negative number: it has ended already. */
  readonly days?: number;
}

/** A CA made by openssl, as an operator makes one. */
export async function makeOutsideCa(folder: string, request: OutsideCaRequest): Promise<void> {
  const { name, issuer, key = 'P-256', days = 30 } = request;
  const openssl = async (...args: readonly string[]): Promise<unknown> => await run('openssl', args, { cwd: folder });
  await openssl('genpkey', ...OUTSIDE_KEYS[key], '-out', `${name}.key`);
  await openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
  const extensions = [
    `basicConstraints=${request.constraints ?? 'critical,CA:TRUE'}`,
    `keyUsage=${request.usage ?? 'critical,keyCertSign,cRLSign'}`,
    'subjectKeyIdentifier=hash',
    ...(issuer === undefined ? [] : ['authorityKeyIdentifier=keyid']),
    ...(request.extensions ?? []),
  ];
  await writeFile(join(folder, `${name}.ext`), extensions.join('\n'));
  const signer =
    issuer === undefined
      ? ['-signkey', `${name}.key`]
      : ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`, '-CAcreateserial'];
  const args = ['-req', '-in', `${name}.csr`, '-days', String(days), '-extfile', `${name}.ext`, ...signer];
  await openssl('x509', ...args, '-out', `${name}.pem`);
}
