import protobuf from 'protobufjs/minimal.js';
import { SvidgateError } from '../core/index.ts';
import type { Codec } from './messages.ts';

/**
 * A lone surrogate would be written as bytes that are not UTF-8, and Envoy then refuses the whole reply, which it takes
 * for a failure of the gate and not for a deny. Here it becomes U+FFFD.
 */
class WellFormedWriter extends protobuf.BufferWriter {
  override string(value: string): protobuf.Writer {
    return super.string(value.toWellFormed());
  }
}

/** The message as bytes. Fields that hold their default are left out (proto3). */
export function encodeMessage<Init>(codec: Codec<unknown, Init>, message: Init): Uint8Array {
  return codec.encode(message, new WellFormedWriter()).finish();
}

/**
 * Reads a message. Unknown fields are skipped; `bytes` fields are views into `bytes`, not copies. Keys of maps come from
 * the sender, so look them up with Object.hasOwn: `map['constructor']` is a function.
 * @param maxBytes the largest message to read
 * @throws SvidgateError `too_large`; `invalid_request` for bytes that are not such a message, for a string that is not
 *   UTF-8 and for more than 100 levels of nesting
 */
export function decodeMessage<Decoded>(codec: Codec<Decoded, never>, bytes: Uint8Array, maxBytes: number): Decoded {
  if (bytes.length > maxBytes) {
    throw new SvidgateError('too_large', `${codec.name} of ${bytes.length} bytes, the limit is ${maxBytes}`);
  }
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new SvidgateError('invalid_request', `${codec.name}: ${whatIsWrong(cause)}`, { cause });
  }
}

function whatIsWrong(cause: unknown): string {
  const isTextError =
    cause instanceof TypeError && 'code' in cause && cause.code === 'ERR_ENCODING_INVALID_ENCODED_DATA';
  return isTextError ? 'a string is not UTF-8' : 'not a protobuf message';
}
