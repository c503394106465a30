import { domainToASCII, domainToUnicode } from 'node:url';
import { SvidgateError } from '../core/index.ts';

const MAX_NAME_LENGTH = 253;
const MAX_LABEL_LENGTH = 63;
const WILDCARD = '*.';

/**
 * A DNS name for a certificate, in lower case: labels of letters, digits and inner hyphens (RFC 1123 §2.1), other
 * alphabets as A-labels (RFC 5890 §2.3.2.1), and at most one wildcard, which is the whole first label (RFC 6125 §6.4.3).
 * Throws `invalid_request`.
 */
export function parseDnsName(text: string): string {
  if (text.length > MAX_NAME_LENGTH) throw invalid(`a DNS name has at most ${MAX_NAME_LENGTH} characters`);
  // Not the whole text: the Kelvin sign would become a k.
  const name = text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
  const rest = name.startsWith(WILDCARD) ? name.slice(WILDCARD.length) : name;
  if (rest.includes('*')) throw invalid('a wildcard is the whole first label, and the only one, such as *.acme.test');
  if (rest.endsWith('.')) throw invalid('a DNS name ends without a dot');
  const labels = rest.split('.');
  for (const label of labels) checkLabel(label);
  if (/^\d+$/.test(labels.at(-1) ?? ''))
    throw invalid('expected a DNS name, not an IP address: its last label has a letter');
  return name;
}

/** The first name that a wildcard of the same list covers already, with that wildcard. */
export function findDnsNameOverlap(
  names: readonly string[],
): { readonly name: string; readonly wildcard: string } | undefined {
  const all = new Set(names);
  for (const name of names) {
    if (name.startsWith(WILDCARD)) continue;
    const wildcard = `*${name.slice(name.indexOf('.'))}`;
    if (name.includes('.') && all.has(wildcard)) return { name, wildcard };
  }
  return undefined;
}

function checkLabel(label: string): void {
  if (label === '') throw invalid('a DNS name has no empty label');
  if (label.length > MAX_LABEL_LENGTH)
    throw invalid(`a label of a DNS name has at most ${MAX_LABEL_LENGTH} characters`);
  if (!/^[a-z0-9-]+$/.test(label)) {
    throw invalid('a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)');
  }
  if (label.startsWith('-') || label.endsWith('-'))
    throw invalid('a label of a DNS name neither starts nor ends with a hyphen');
  if (label.slice(2, 4) === '--' && !isALabel(label)) throw invalid(`\`${label}\` is not an A-label (RFC 5890)`);
}

/** Whether the label stands for a U-label that gives this very label again. */
function isALabel(label: string): boolean {
  const unicode = domainToUnicode(label);
  return label.startsWith('xn--') && unicode !== label && domainToASCII(unicode) === label;
}

function invalid(message: string): SvidgateError {
  return new SvidgateError('invalid_request', message);
}
