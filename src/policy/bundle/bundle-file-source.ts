import { Buffer } from 'node:buffer';
import { hash, webcrypto } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { fileChanges, isFresh, merge, readSteady, SvidgateError, type Clock } from '../../core/index.ts';
import type { PolicySnapshot, SnapshotSource } from '../snapshot-source.ts';
import type { BundleReader } from './bundle-reader.ts';
import { loadVerification, signersOf, type BundleVerification, type VerifyRules } from './bundle-verification.ts';
import { BUNDLE_LIMITS } from './unpack-bundle.ts';

export interface BundleFileOptions {
  readonly clock: Clock;
  readonly reader: BundleReader;
  /** Whose signature it must bear. Absent: a signed bundle is refused. */
  readonly verify?: VerifyRules;
}

/** A reading that fails may have taken its whole time, and is not begun again at each look at the file. */
const RETRY_MS = 60_000;

/** Whether a path names an OPA bundle rather than a folder or a .rego file. */
export function isBundlePath(path: string): boolean {
  return path.endsWith('.tar.gz') || path.endsWith('.tgz');
}

/** A bundle in a file. The same file with the same keys is read once, also where it is refused. */
export function bundleFileSource(path: string, options: BundleFileOptions): SnapshotSource {
  const { clock, reader, verify } = options;
  let last: { readonly trace: string; readonly of: string; readonly answer: Answer } | undefined;
  const holds = (answer: Answer): boolean => !('failedAt' in answer) || clock.now() - answer.failedAt < RETRY_MS;
  const answerOf = async (read: () => Promise<PolicySnapshot>, signal: AbortSignal): Promise<Answer> => {
    try {
      return { snapshot: await read() };
    } catch (error) {
      signal.throwIfAborted();
      const refusal = SvidgateError.from(error);
      return refusal.code === 'policy_invalid' ? { refusal } : { refusal, failedAt: clock.now() };
    }
  };
  const answerTo = async (verification: BundleVerification | undefined, signal: AbortSignal): Promise<Answer> => {
    const keys = verification?.keys.map(({ material }) => hash('sha256', material)).join(' ') ?? '';
    const trace = `${keys} ${await traceOf(path)}`;
    if (last?.trace === trace && holds(last.answer)) return last.answer;
    const bytes = await readSteady(path, () => readBounded(path));
    const of = `${keys} ${Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('hex')}`;
    const read = async (): Promise<PolicySnapshot> => {
      const found = await reader.read(bytes, {
        ...(verification === undefined ? {} : { verify: verification }),
        signal,
      });
      if (found.kind === 'snapshot') return found.snapshot;
      throw new SvidgateError('policy_invalid', `${path} is a delta, which only a bundle server can give`);
    };
    const known = last?.of === of && holds(last.answer) ? last.answer : undefined;
    const answer = known ?? (await answerOf(read, signal));
    last = { trace, of, answer };
    return answer;
  };
  return {
    description: path,
    verifies: verify !== undefined,
    ...(verify === undefined ? {} : { signers: async () => signersOf(await loadVerification(verify)) }),
    async read(signal) {
      const answer = await answerTo(verify === undefined ? undefined : await loadVerification(verify), signal);
      if ('refusal' in answer) throw answer.refusal;
      return answer.snapshot;
    },
    changes: (signal) => {
      const files = [path, ...(verify?.keys.map(({ file }) => file) ?? [])];
      return merge(files.map((file) => fileChanges(file, { clock, signal })));
    },
  };
}

type Answer =
  | { readonly snapshot: PolicySnapshot }
  /** The same bytes are refused again. */
  | { readonly refusal: SvidgateError }
  /** It may pass: the bundle was too large for the time, or for the memory of that moment. */
  | { readonly refusal: SvidgateError; readonly failedAt: number };

/** Of the file as it is; of one that changed a moment ago, and may change again within the same tick of its time, each differs. */
async function traceOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeMs, ctimeMs } = await attempt(path, () => stat(path));
  return [dev, ino, size, mtimeMs, ctimeMs, isFresh(ctimeMs) ? performance.now() : ''].join(':');
}

async function readBounded(path: string): Promise<Buffer<ArrayBuffer>> {
  const entry = await attempt(path, () => stat(path));
  // A pipe or device would block the read.
  if (!entry.isFile()) throw new SvidgateError('file_unreadable', `${path} is not a file`);
  if (entry.size > BUNDLE_LIMITS.maxBytes) {
    throw new SvidgateError('policy_invalid', `${path} is larger than ${BUNDLE_LIMITS.maxBytes} bytes`);
  }
  return await attempt(path, () => readFile(path));
}

async function attempt<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    throw new SvidgateError('file_unreadable', `${path} cannot be read: ${code}`, { cause: error });
  }
}
