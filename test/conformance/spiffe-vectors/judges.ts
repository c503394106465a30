import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseCertificate, pemEncode } from '../../../src/pki/index.ts';
import {
  parseSpiffeBundle,
  parseSpiffeId,
  parseTrustDomain,
  verifyJwtSvid,
  verifyX509Svid,
  type TrustBundle,
} from '../../../src/spiffe/index.ts';
import { buildGoProgram } from '../../support/go-program.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import type { Vector, VectorInput, Verdict } from './vector.ts';

const run = promisify(execFile);
const EXAMPLE = parseTrustDomain('example.test');

/** What svidgate says. */
export async function judgeWithSvidgate(input: VectorInput): Promise<Verdict> {
  try {
    return { accepts: true, value: await valueOf(input) };
  } catch (error) {
    return { accepts: false, reason: error instanceof Error ? error.message : 'unknown' };
  }
}

async function valueOf(input: VectorInput): Promise<unknown> {
  switch (input.kind) {
    case 'id':
      return parseSpiffeId(input.text);
    case 'trust_domain':
      return parseTrustDomain(input.text);
    case 'bundle':
      return contentOf(parseSpiffeBundle(input.text, EXAMPLE));
    case 'jwt': {
      const bundles = new Map(
        Object.entries(input.bundles).map(([name, text]) => [name, parseSpiffeBundle(text, parseTrustDomain(name))]),
      );
      const now = Date.now();
      return (await verifyJwtSvid(input.text, { audience: input.audience, bundles: (td) => bundles.get(td), now }))
        .spiffeId;
    }
    case 'x509': {
      const [leaf, ...intermediates] = input.chain.map(parseCertificate);
      const verdict = verifyX509Svid(leaf!, {
        authorities: (trustDomain) => input.roots[trustDomain]?.map(parseCertificate),
        intermediates,
        now: Date.now(),
      });
      if (!verdict.valid) throw new Error(verdict.reason);
      return verdict.spiffeId;
    }
  }
}

function contentOf({ x509Authorities, jwtAuthorities, sequence }: TrustBundle): unknown {
  const keyIds = jwtAuthorities.map(({ keyId }) => keyId).sort();
  return { x509Authorities: x509Authorities.length, keyIds, sequence };
}

/** What go-spiffe says of each, in their order. */
export async function judgeWithGoSpiffe(vectors: readonly Vector[]): Promise<readonly Verdict[]> {
  const program = await buildGoProgram(fileURLToPath(new URL('../go/vectors', import.meta.url)));
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (output += piece));
  const closed = once(child, 'close');
  child.stdin.end(vectors.map(({ input }) => `${JSON.stringify(input, asBase64)}\n`).join(''));
  const [code] = (await closed) as [number | null];
  if (code !== 0) throw new Error(`the Go program ended with ${code}`);
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Verdict);
}

function asBase64(_name: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
}

/** What `openssl verify` says of a certificate chain, as that of a TLS client of `example.test`. */
export async function judgeWithOpenssl(input: Extract<VectorInput, { kind: 'x509' }>): Promise<Verdict> {
  await using folder = await tempFolder();
  const write = async (name: string, certificates: readonly Uint8Array[]): Promise<string> => {
    const file = join(folder.path, name);
    await writeFile(file, certificates.map((der) => pemEncode('CERTIFICATE', der)).join(''));
    return file;
  };
  const [leaf, ...intermediates] = input.chain;
  const untrusted = intermediates.length === 0 ? [] : ['-untrusted', await write('untrusted.pem', intermediates)];
  const roots = ['-CAfile', await write('roots.pem', input.roots['example.test'] ?? [])];
  const args = ['verify', '-no-CApath', '-no-CAstore', '-purpose', 'sslclient', ...roots, ...untrusted];
  try {
    await run('openssl', [...args, await write('leaf.pem', [leaf!])]);
    return { accepts: true };
  } catch (error) {
    return { accepts: false, reason: (error as { readonly stderr?: string }).stderr ?? '' };
  }
}
