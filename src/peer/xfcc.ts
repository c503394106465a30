/** One hop's word about its client in `x-forwarded-client-cert`. Nothing of it is proven. */
export interface XfccElement {
  /** URIs in the certificate of the hop that wrote it. */
  readonly by: readonly string[];
  /** SHA-256 of the client's certificate in hex; empty when it is not there, as the other texts are. */
  readonly hash: string;
  /** The client's certificate as URL-encoded PEM. */
  readonly cert: string;
  /** The whole chain that the client presented, as URL-encoded PEM. */
  readonly chain: string;
  readonly subject: string;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
}

/** Envoy takes headers of 60 KiB in all, unless it is told to take more. */
const MAX_LENGTH = 256 * 1024;
const MAX_ELEMENTS = 16;
const MAX_PAIRS = 128;

/**
 * A pair of key and value at the start of what is left. A backslash in quotes always belongs to the character after it:
 * a subject may end in one, which is written as two.
 */
const PAIR =
  /[ \t]*(?<key>[A-Za-z][A-Za-z0-9_-]{0,63})=(?:"(?<quoted>[^"\\]*(?:\\.[^"\\]*)*)"|(?<plain>[^",;]*))[ \t]*/sy;

type Parts = { -readonly [Key in keyof XfccElement]: XfccElement[Key] extends string ? string | undefined : string[] };

/**
 * The elements of the header, the nearest hop's last: `,` between elements, `;` between pairs, keys in any case, values
 * with `,` `;` or `"` in double quotes, where `\"` stands for a quote. Pairs with other keys are passed over. Undefined when
 * it is not of this form, or says something twice that can be said once: no part of it is to be believed then.
 */
export function readXfcc(text: string): readonly XfccElement[] | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const elements: XfccElement[] = [];
  const pattern = new RegExp(PAIR);
  let current = emptyParts();
  for (let pairs = 1; pairs <= MAX_PAIRS; pairs += 1) {
    const found = pattern.exec(text)?.groups;
    if (found === undefined) return undefined;
    const { key = '', quoted, plain = '' } = found;
    if (!add(current, key.toLowerCase(), quoted === undefined ? plain.trimEnd() : unquote(quoted))) return undefined;
    const next = text[pattern.lastIndex];
    if (next === ';') {
      pattern.lastIndex += 1;
      continue;
    }
    if ((next !== ',' && next !== undefined) || elements.length === MAX_ELEMENTS) return undefined;
    elements.push(finished(current));
    if (next === undefined) return elements;
    current = emptyParts();
    pattern.lastIndex += 1;
  }
  return undefined;
}

function emptyParts(): Parts {
  return { by: [], hash: undefined, cert: undefined, chain: undefined, subject: undefined, uris: [], dnsNames: [] };
}

/** False when the key may stand once and does so for the second time. */
function add(parts: Parts, key: string, value: string): boolean {
  switch (key) {
    case 'by':
      return parts.by.push(value) > 0;
    case 'uri':
      return parts.uris.push(value) > 0;
    case 'dns':
      return parts.dnsNames.push(value) > 0;
    case 'hash':
    case 'cert':
    case 'chain':
    case 'subject':
      if (parts[key] !== undefined) return false;
      parts[key] = value;
      return true;
    default:
      return true;
  }
}

/** Envoy writes `URI=` for a certificate that has none. */
function finished(parts: Parts): XfccElement {
  const isFilled = (value: string): boolean => value !== '';
  return {
    by: parts.by.filter(isFilled),
    hash: parts.hash ?? '',
    cert: parts.cert ?? '',
    chain: parts.chain ?? '',
    subject: parts.subject ?? '',
    uris: parts.uris.filter(isFilled),
    dnsNames: parts.dnsNames.filter(isFilled),
  };
}

function unquote(quoted: string): string {
  return quoted.replaceAll(/\\(.)/gs, (pair, character) => (character === '"' ? '"' : pair));
}
