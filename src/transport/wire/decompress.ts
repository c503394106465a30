import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';
import { SvidgateError } from '../../core/index.ts';

const inflaters: Readonly<Record<string, ((bytes: Buffer, options: object) => Promise<Buffer>) | undefined>> = {
  gzip: promisify<Buffer, object, Buffer>(gunzip),
  deflate: promisify<Buffer, object, Buffer>(inflate),
};

/** A compressed message, or undefined for an encoding that is not supported. Throws `too_large` or `invalid_request`. */
export function decompress(bytes: Buffer, encoding: string, maxBytes: number): Promise<Buffer> | undefined {
  if (!Object.hasOwn(inflaters, encoding)) return undefined;
  return inflaters[encoding]?.(bytes, { maxOutputLength: maxBytes }).catch((cause: unknown) => {
    const isTooLarge = cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE';
    throw isTooLarge
      ? new SvidgateError('too_large', `a message that decompresses to more than ${maxBytes} bytes`)
      : new SvidgateError('invalid_request', 'a message cannot be decompressed', { cause });
  });
}
