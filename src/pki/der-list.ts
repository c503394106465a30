import { SvidgateError } from '../core/index.ts';

const SEQUENCE = 0x30;
const MAX_LENGTH_BYTES = 4;

/** Certificates in DER that stand one after the other, as the Workload API sends them. Throws `certificate_invalid`. */
export function splitDer(bytes: Uint8Array): readonly Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = start + lengthOf(bytes.subarray(start));
    if (end > bytes.length) throw new SvidgateError('certificate_invalid', 'the last certificate of a list is cut off');
    parts.push(bytes.subarray(start, end));
    start = end;
  }
  return parts;
}

/** Length of the SEQUENCE at the start, its head included (X.690 §8.1.3). */
function lengthOf(bytes: Uint8Array): number {
  const [tag, first] = bytes;
  if (tag !== SEQUENCE || first === undefined)
    throw new SvidgateError('certificate_invalid', 'a list holds no certificate');
  if (first < 0x80) return 2 + first;
  const count = first - 0x80;
  const digits = bytes.subarray(2, 2 + count);
  if (count === 0 || count > MAX_LENGTH_BYTES || digits.length < count) {
    throw new SvidgateError('certificate_invalid', 'a certificate of a list has no length');
  }
  return 2 + count + digits.reduce((length, digit) => length * 256 + digit, 0);
}
