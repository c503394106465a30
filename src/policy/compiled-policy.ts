import { Buffer } from 'node:buffer';
import { hash } from 'node:crypto';
import type { InputPath } from './input-needs.ts';
import type { PolicyProblem } from './problem.ts';

/** What the compiler makes of a policy folder. */
export interface CompiledPolicy {
  /** The WASM module, whose one entrypoint of interest is the one asked for. */
  readonly wasm: Uint8Array<ArrayBuffer>;
  /** JSON text of the base documents in UTF-8; its numbers are those of the files. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** What compiles but OPA's strict mode refuses. */
  readonly warnings: readonly PolicyProblem[];
  /** Paths in the input that the policy can look at; null: all of it. */
  readonly reads: readonly InputPath[] | null;
  /** Names of the builtins that it may call. */
  readonly calls: readonly string[];
  /** Digest of its own tests, when they passed: they need not run again. */
  readonly testsPassed?: string;
}

/** Everything that shapes a compiled policy. */
export interface CompiledPolicyOrigin {
  readonly snapshotDigest: string;
  readonly entrypoint: string;
  /** See RegoCompiler.digest. */
  readonly compilerDigest: string;
}

/** Counts up whenever the form of the bytes, or what the server expects of a module, changes. */
const FORMAT = 2;
const DIGEST_BYTES = 32;
const LENGTH_BYTES = 4;

/** One text for each origin: sha256 in hex. */
export function compiledPolicyKey(origin: CompiledPolicyOrigin): string {
  return hash('sha256', JSON.stringify([FORMAT, origin.compilerDigest, origin.snapshotDigest, origin.entrypoint]));
}

/**
 * The policy as bytes for the disk: a SHA-256 of all that follows, the header's length (32 bits, big-endian), the header
 * in JSON, the module, the data. The header names the key, so that a file under another name is not taken for its own.
 */
export function encodeCompiledPolicy(key: string, policy: CompiledPolicy): Uint8Array {
  const { wasm, data, ...rest } = policy;
  const header = Buffer.from(JSON.stringify({ key, wasmBytes: wasm.byteLength, ...rest } satisfies Header));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(header.byteLength);
  const content = Buffer.concat([length, header, wasm, data]);
  return Buffer.concat([hash('sha256', content, 'buffer'), content]);
}

/** The inverse; undefined for bytes that are damaged, cut off or those of another key. */
export function decodeCompiledPolicy(key: string, bytes: Uint8Array): CompiledPolicy | undefined {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const content = all.subarray(DIGEST_BYTES);
  if (content.byteLength < LENGTH_BYTES || !hash('sha256', content, 'buffer').equals(all.subarray(0, DIGEST_BYTES))) {
    return undefined;
  }
  // Whole, so written by encodeCompiledPolicy; the key tells whether in this format.
  const headerEnd = LENGTH_BYTES + content.readUInt32BE();
  const header = parseHeader(content.subarray(LENGTH_BYTES, headerEnd));
  if (header?.key !== key) return undefined;
  const wasmEnd = headerEnd + header.wasmBytes;
  return {
    wasm: new Uint8Array(content.subarray(headerEnd, wasmEnd)),
    data: new Uint8Array(content.subarray(wasmEnd)),
    warnings: header.warnings,
    reads: header.reads,
    calls: header.calls,
    ...(header.testsPassed === undefined ? {} : { testsPassed: header.testsPassed }),
  };
}

interface Header extends Omit<CompiledPolicy, 'wasm' | 'data'> {
  readonly key: string;
  readonly wasmBytes: number;
}

function parseHeader(bytes: Buffer): Header | undefined {
  try {
    return JSON.parse(bytes.toString('utf8')) as Header;
  } catch {
    return undefined;
  }
}
