import type { TextMatch } from '../offload-rules.ts';
import { wholeTextRegex } from './re2.ts';

/** Tells whether bytes, a character each, match. */
export function textMatcher(match: TextMatch): (bytes: string) => boolean {
  if (match.kind === 'regex') {
    const regex = wholeTextRegex(match.regex);
    return (bytes) => regex.test(textOf(bytes));
  }
  const wanted = bytesOf(match.text);
  switch (match.kind) {
    case 'exact':
      return (bytes) => bytes === wanted;
    case 'prefix':
      return (bytes) => bytes.startsWith(wanted);
    case 'suffix':
      return (bytes) => bytes.endsWith(wanted);
    case 'contains':
      return (bytes) => bytes.includes(wanted);
  }
}

/** A text as its bytes in UTF-8, a character each. */
export function bytesOf(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const PIECES =
  /[^\u0080-\u00FF]+|[\u00C2-\u00DF][\u0080-\u00BF]|[\u00E0-\u00EF][\u0080-\u00BF]{2}|[\u00F0-\u00F4][\u0080-\u00BF]{3}|[^]/gu;

/** The text of the bytes; each that is no UTF-8 as U+DC00 plus itself. */
function textOf(bytes: string): string {
  if (!/[\u0080-\u00FF]/u.test(bytes)) return bytes;
  return decoded(bytes) ?? bytes.replaceAll(PIECES, (piece) => decoded(piece) ?? asNoText(piece));
}

function decoded(bytes: string): string | undefined {
  try {
    return STRICT_UTF8.decode(Buffer.from(bytes, 'latin1'));
  } catch {
    return undefined;
  }
}

function asNoText(bytes: string): string {
  return Array.from(bytes, (byte) => String.fromCharCode(0xdc00 + byte.charCodeAt(0))).join('');
}
