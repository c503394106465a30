import type { TextMatch } from '../offload-rules.ts';
import type { Characters } from './character-class.ts';
import { wholeTextRegex } from './re2.ts';

/** Tells whether bytes, a character each, match. */
export function textMatcher(match: TextMatch): (bytes: string, characters: Characters) => boolean {
  if (match.kind === 'regex') {
    const regexes = { utf8: wholeTextRegex(match.regex, 'utf8'), latin1: wholeTextRegex(match.regex, 'latin1') };
    return (bytes, characters) => regexes[characters].test(bytes);
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
