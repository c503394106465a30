import { hash } from 'node:crypto';
import { resolve } from 'node:path';
import { readTextFile, configInvalid } from '../../config/index.ts';
import { systemClock, writeFileAtomic } from '../../core/index.ts';
import { createPolicyTools, type BundleSigning } from '../../policy/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { BuildFlags, ToolOptions } from '../groups/policy-tools.ts';
import { printRefused } from '../policy-problems.ts';

const MAX_KEY_BYTES = 64 * 1024;
/** What anybody may read: policies are no secrets. */
const FILE_MODE = 0o644;

/** `policy build` */
export async function buildPolicy(path: string, options: BuildFlags & ToolOptions): Promise<ExitCode> {
  const { entrypoint, wasm = false, revision, tests, output, terminal } = options;
  const { signal } = new AbortController();
  const tools = createPolicyTools({ clock: systemClock });
  const signing = await readSigning(options);
  const snapshot = await tools.source(path).read(signal);
  const packed = { files: snapshot.files, tests: tests ? snapshot.tests : {} };
  const built = wasm
    ? await tools.module(snapshot.files, entrypoint, signal)
    : await tools.pack(packed, entrypoint, { revision, ...(signing === undefined ? {} : { signing }), signal });
  if (built.kind === 'refused') return printRefused(path, built, options);
  const bytes = built.kind === 'built' ? built.wasm : built.bytes;
  const out = options.out ?? (wasm ? 'policy.wasm' : 'bundle.tar.gz');
  await writeFileAtomic(resolve(out), bytes, FILE_MODE);
  const digest = hash('sha256', bytes);
  terminal.out(
    output === 'json'
      ? `${JSON.stringify({ file: out, bytes: bytes.byteLength, sha256: digest, policy_digest: snapshot.digest })}\n`
      : `${out}: ${bytes.byteLength} bytes, sha256 ${digest}\n`,
  );
  return EXIT.done;
}

async function readSigning({ signingKey, signingAlg, keyId, scope }: BuildFlags): Promise<BundleSigning | undefined> {
  if (signingKey === undefined) return undefined;
  const read = await readTextFile(signingKey, { maxBytes: MAX_KEY_BYTES });
  if (read.mistake !== undefined) throw configInvalid([read.mistake]);
  return { key: read.text, algorithm: signingAlg, keyId, ...(scope === undefined ? {} : { scope }) };
}
