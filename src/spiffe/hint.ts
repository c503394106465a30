import { SvidgateError } from '../core/index.ts';

/** SPIFFE Workload API §5.2.1 leaves the limit to the server; SPIRE's is the same. */
const MAX_HINT_BYTES = 1024;

/** A hint tells its holder what an SVID is for: text of 1 to 1024 bytes, without control characters. Throws `invalid_request`. */
export function parseHint(text: string): string {
  if (text === '') throw new SvidgateError('invalid_request', 'a hint is not empty');
  if (Buffer.byteLength(text) > MAX_HINT_BYTES) {
    throw new SvidgateError('invalid_request', `a hint has at most ${MAX_HINT_BYTES} bytes`);
  }
  if (/\p{Cc}/u.test(text)) throw new SvidgateError('invalid_request', 'a hint has no control characters');
  return text;
}
