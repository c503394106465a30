import { SvidgateError } from '../core/index.ts';
import { parseSpiffeIdPattern } from '../spiffe/index.ts';

/** `spiffe://prod.acme.test/ns/*\/sa/web/**`: `*` is one segment of the path, `**` at its end one or more. */
export interface IdPattern {
  readonly text: string;
  /** `spiffe:`, nothing, the trust domain, and the segments of the path. */
  readonly segments: readonly string[];
  readonly isBeneath: boolean;
}

const BENEATH = '/**';
/** A segment as SPIFFE-ID §2.2 has it. */
const ANY_SEGMENT = 'a';

/** The text itself. Throws `config_invalid`. */
export function parseIdPattern(text: string): string {
  // With a segment in the place of each `*` it is a pattern as all others are.
  const filled = text.replaceAll(/(?<=[^/]\/)\*(?=\/|$)/g, ANY_SEGMENT);
  try {
    parseSpiffeIdPattern(filled);
    return text;
  } catch (cause) {
    const remedy = 'expected a SPIFFE ID; `*` in its path is one segment, `/**` at the end all beneath';
    throw new SvidgateError('config_invalid', remedy, { cause });
  }
}

export function toIdPattern(text: string): IdPattern {
  const isBeneath = text.endsWith(BENEATH);
  return { text, segments: (isBeneath ? text.slice(0, -BENEATH.length) : text).split('/'), isBeneath };
}

export function isExact({ segments, isBeneath }: IdPattern): boolean {
  return !isBeneath && !segments.includes('*');
}

export function fitsId({ segments, isBeneath }: IdPattern, id: string): boolean {
  const given = id.split('/');
  if (isBeneath ? given.length <= segments.length : given.length !== segments.length) return false;
  return segments.every((segment, at) => segment === '*' || segment === given[at]);
}
