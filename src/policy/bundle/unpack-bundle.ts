import type { Buffer } from 'node:buffer';
import { gunzip, type Gunzip } from 'node:zlib';
import { SvidgateError } from '../../core/index.ts';
import { readTar, type ArchivedFile, type TarLimits } from './read-tar.ts';

export interface BundleLimits extends TarLimits {
  /** Of the bundle as it comes. */
  readonly maxBytes: number;
  /** Of the archive in it. */
  readonly maxUnpackedBytes: number;
}

export const BUNDLE_LIMITS: BundleLimits = {
  maxBytes: 64 * 2 ** 20,
  maxUnpackedBytes: 64 * 2 ** 20,
  maxFiles: 2000,
  maxPathBytes: 1024,
};

/**
 * The files of a tar.gz. It is unpacked in the thread pool, and no further than the limit. Throws `policy_invalid` where it
 * is too large, cut off or damaged, also where only its end is.
 */
export async function unpackBundle(
  bytes: Uint8Array,
  limits: BundleLimits = BUNDLE_LIMITS,
): Promise<readonly ArchivedFile[]> {
  if (bytes.byteLength > limits.maxBytes) throw tooLarge('', limits.maxBytes);
  return readTar(await unzip(bytes, limits.maxUnpackedBytes), limits);
}

interface Unzipped {
  readonly buffer: Buffer;
  readonly engine: Gunzip;
}

async function unzip(bytes: Uint8Array, maxOutputLength: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Unzipped>();
  gunzip(bytes, { maxOutputLength, info: true }, (error, result) => {
    if (error === null) resolve(result as unknown as Unzipped);
    else reject(error);
  });
  const { buffer, engine } = await promise.catch((error: unknown) => {
    if (error instanceof RangeError) throw tooLarge(' unpacked', maxOutputLength);
    throw new SvidgateError('policy_invalid', 'the bundle is no gzip file, or damaged or cut off', { cause: error });
  });
  // zlib stops at the end of the archive, whatever stands behind it.
  if (engine.bytesWritten !== bytes.byteLength) {
    throw new SvidgateError('policy_invalid', 'something stands behind the end of the bundle');
  }
  return buffer;
}

function tooLarge(state: string, limit: number): SvidgateError {
  return new SvidgateError('policy_invalid', `the bundle is larger than ${limit} bytes${state}`);
}
