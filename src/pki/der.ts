/**
 * Just enough DER (X.690) to write certificates, requests and revocation lists by hand: the general writers cost
 * milliseconds for each certificate, this a few microseconds. Reading untrusted bytes is not done here.
 */

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

function element(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([header(tag, content.length), content]);
}

/** The length in as few bytes as it takes (X.690 §10.1): Envoy refuses one that is padded. */
function header(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length]);
  const bytes = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 0x100)) bytes.unshift(rest & 0xff);
  return Buffer.from([tag, 0x80 | bytes.length, ...bytes]);
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([header(TAG.sequence, content.length), content]);
}

/** Of one item, which needs no order. */
export function setOf(item: Uint8Array): Buffer {
  return element(TAG.set, item);
}

/** A number that is not negative, from its bytes, the highest first. */
export function integer(magnitude: Uint8Array): Buffer {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start += 1;
  const bytes = magnitude.subarray(start);
  const sign = bytes.length === 0 || (bytes[0] ?? 0) >= 0x80 ? [0] : [];
  return element(TAG.integer, Buffer.concat([Buffer.from(sign), bytes]));
}

export function integerFromHex(hex: string): Buffer {
  return integer(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
}

export function enumerated(value: number): Buffer {
  return element(TAG.enumerated, Buffer.from([value]));
}

export const TRUE = Buffer.from([TAG.boolean, 1, 0xff]);
export const NULL = Buffer.from([TAG.null, 0]);

/** From its dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...others] = dotted.split('.').map(Number);
  return element(TAG.objectIdentifier, Buffer.from([first * 40 + second, ...others.flatMap(base128)]));
}

function base128(value: number): readonly number[] {
  const bytes = [value & 0x7f];
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}

/** Whole bytes, or named bits (X.680 §22.7) with trailing zero bits counted in `unusedBits`. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return element(TAG.bitString, Buffer.concat([Buffer.from([unusedBits]), bytes]));
}

export function octetString(bytes: Uint8Array): Buffer {
  return element(TAG.octetString, bytes);
}

export function utf8String(text: string): Buffer {
  return element(TAG.utf8String, Buffer.from(text, 'utf8'));
}

/** The caller has seen to it that there are letters and digits only. */
export function printableString(text: string): Buffer {
  return element(TAG.printableString, Buffer.from(text, 'ascii'));
}

/** RFC 5280 §4.1.2.5: UTCTime through the year 2049, GeneralizedTime from 2050 on. Whole seconds; the rest is cut. */
export function time(epochMs: number): Buffer {
  const digits = `${new Date(epochMs).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
  return digits < '2050'
    ? element(TAG.utcTime, Buffer.from(digits.slice(2), 'ascii'))
    : element(TAG.generalizedTime, Buffer.from(digits, 'ascii'));
}

/** `[tag] EXPLICIT`, or a constructed `[tag] IMPLICIT` of what is inside. */
export function tagged(tag: number, content: Uint8Array): Buffer {
  return element(0xa0 | tag, content);
}

/** `[tag] IMPLICIT` of a string. */
export function taggedString(tag: number, bytes: Uint8Array): Buffer {
  return element(0x80 | tag, bytes);
}

/** An Extension (RFC 5280 §4.1). */
export function extension(oid: string, value: Uint8Array, critical = false): Buffer {
  return sequence(objectIdentifier(oid), ...(critical ? [TRUE] : []), octetString(value));
}

/** The elements inside one constructed element, each with its header. The bytes have been parsed by others before. */
export function childrenOf(constructed: Uint8Array): readonly Uint8Array[] {
  const children: Uint8Array[] = [];
  for (let at = contentStart(constructed, 0); at < constructed.length;) {
    const end = elementEnd(constructed, at);
    children.push(constructed.subarray(at, end));
    at = end;
  }
  return children;
}

/** The content of one element, without its header. */
export function contentOf(whole: Uint8Array): Uint8Array {
  return whole.subarray(contentStart(whole, 0));
}

function contentStart(bytes: Uint8Array, at: number): number {
  const first = bytes[at + 1] ?? 0;
  return at + 2 + (first < 0x80 ? 0 : first & 0x7f);
}

function elementEnd(bytes: Uint8Array, at: number): number {
  const start = contentStart(bytes, at);
  let length = bytes[at + 1] ?? 0;
  if (length >= 0x80) {
    length = 0;
    for (let index = at + 2; index < start; index += 1) length = length * 256 + (bytes[index] ?? 0);
  }
  return start + length;
}
