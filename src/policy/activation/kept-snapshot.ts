import { Buffer } from 'node:buffer';
import { hash } from 'node:crypto';
import type { PolicySnapshot } from '../snapshot-source.ts';

/**
 * Where the files of what was in force outlive the process. What it gives back is checked; whoever may write to it decides
 * what is allowed.
 */
export interface KeptSnapshots {
  /** The bytes saved under the digest, or undefined. */
  load(policy: string, digest: string): Promise<Uint8Array | undefined>;
  /** Older ones of the policy may go. */
  save(policy: string, digest: string, bytes: Uint8Array): Promise<void>;
  has(policy: string, digest: string): Promise<boolean>;
}

const KINDS = ['modules', 'data', 'tests'] as const;

type Kind = (typeof KINDS)[number];

interface Header {
  readonly format: 1;
  readonly digest: string;
  readonly revision?: string;
  readonly signedBy?: string;
  readonly verifiedBy?: string;
  /** Of a compiled module, whose bytes are the last. */
  readonly entrypoints?: readonly string[];
  /** The files in the order of their bytes: kind, name, length. */
  readonly files: readonly (readonly [kind: Kind, name: string, bytes: number])[];
}

const DIGEST_BYTES = 32;
const LENGTH_BYTES = 4;

/** A SHA-256 of all that follows, the header's length (32 bits, big-endian), the header in JSON, the texts of the files, the module. */
export function encodeSnapshot(snapshot: PolicySnapshot): Uint8Array {
  const { digest, revision, signedBy, verifiedBy, tests, wasm } = snapshot;
  const texts = { ...snapshot.files, tests };
  const named = KINDS.flatMap((kind) =>
    Object.entries(texts[kind]).map(([name, text]) => ({ kind, name, bytes: Buffer.from(text) })),
  );
  const header: Header = {
    format: 1,
    digest,
    ...(revision === undefined ? {} : { revision }),
    ...(signedBy === undefined ? {} : { signedBy }),
    ...(verifiedBy === undefined ? {} : { verifiedBy }),
    ...(wasm === undefined ? {} : { entrypoints: wasm.entrypoints }),
    files: named.map(({ kind, name, bytes }) => [kind, name, bytes.byteLength]),
  };
  const headerBytes = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(headerBytes.byteLength);
  const module = wasm === undefined ? [] : [wasm.bytes];
  const content = Buffer.concat([length, headerBytes, ...named.map(({ bytes }) => bytes), ...module]);
  return Buffer.concat([hash('sha256', content, 'buffer'), content]);
}

/** The inverse; undefined for bytes that are damaged, cut off, of another digest or of another version of svidgate. */
export function decodeSnapshot(digest: string, encoded: Uint8Array): PolicySnapshot | undefined {
  const all = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  const content = all.subarray(DIGEST_BYTES);
  if (content.byteLength < LENGTH_BYTES || !hash('sha256', content, 'buffer').equals(all.subarray(0, DIGEST_BYTES))) {
    return undefined;
  }
  // Whole, so written by encodeSnapshot.
  const headerEnd = LENGTH_BYTES + content.readUInt32BE(0);
  const header = JSON.parse(content.toString('utf8', LENGTH_BYTES, headerEnd)) as Header;
  if (header.format !== 1 || header.digest !== digest) return undefined;
  const texts = {
    modules: new Map<string, string>(),
    data: new Map<string, string>(),
    tests: new Map<string, string>(),
  };
  let at = headerEnd;
  for (const [kind, name, bytes] of header.files) {
    texts[kind].set(name, content.toString('utf8', at, at + bytes));
    at += bytes;
  }
  const { revision, signedBy, verifiedBy, entrypoints } = header;
  return {
    files: { modules: Object.fromEntries(texts.modules), data: Object.fromEntries(texts.data) },
    tests: Object.fromEntries(texts.tests),
    digest,
    ...(revision === undefined ? {} : { revision }),
    ...(signedBy === undefined ? {} : { signedBy }),
    ...(verifiedBy === undefined ? {} : { verifiedBy }),
    ...(entrypoints === undefined ? {} : { wasm: { bytes: new Uint8Array(content.subarray(at)), entrypoints } }),
  };
}
