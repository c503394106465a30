import type { StringMatcherInit } from '../proto/index.ts';
import type { TextMatch } from './offload-rules.ts';

/** Any text, bytes that are not UTF-8 included, which `.` would not match. */
export const ANYTHING = String.raw`\C*`;

/** Envoy refuses an empty prefix, suffix or infix, and an empty exact text is not sent: regular expressions say them. */
export function encodeText(match: TextMatch): StringMatcherInit {
  switch (match.kind) {
    case 'exact':
      return match.text === '' ? regex('^$') : { exact: match.text };
    case 'prefix':
      return match.text === '' ? regex(ANYTHING) : { prefix: match.text };
    case 'suffix':
      return match.text === '' ? regex(ANYTHING) : { suffix: match.text };
    case 'contains':
      return match.text === '' ? regex(ANYTHING) : { contains: match.text };
    case 'regex':
      return regex(match.regex === '' ? '^$' : match.regex);
  }
}

export function regex(text: string): StringMatcherInit {
  return { safeRegex: { regex: text } };
}
