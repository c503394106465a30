/** What of a text may be kept in a record. */

/** A JSON Web Token: `eyJ` is the beginning of its header in base64. With or without its other parts. */
const JWT = /eyJ[A-Za-z0-9_-]{5,}/;
/** `Bearer x`, `basic%20x` */
const CREDENTIALS = /\b(?:bearer|basic|digest|negotiate|apikey|token)(?:\s|%20|\+|=)+[^\s]/i;
/** PEM, also URL-encoded as in x-forwarded-client-cert. Bounded: it is tried at each `BEGIN` and `END` of a text. */
const PEM =
  /-----(?:BEGIN|END)|%2D%2D%2DBEGIN|(?:BEGIN|END)(?:\s|%20|\+){1,3}(?:[A-Z0-9]{1,16}(?:\s|%20|\+){1,3}){0,5}(?:CERTIFICATE|KEY)/i;
/** Keys and tokens of well-known services, and a password in a URL. */
const KNOWN_KEY =
  /\b(?:AKIA|ASIA)[A-Z0-9]{12}|\bgh[opsur]_\w{20}|\bxox[abprs]-|\b[rs]k_(?:live|test)_|:\/\/[^/\s:@]*:[^/\s@]+@/;
/** What those would be in base64: `eyJ`, `Bearer `, `-----`. */
const IN_BASE64 = /ZXlK|QmVhcmVy|YmVhcmVy|LS0tLS1C/;

/** Longer texts may hold anything: they are not searched. */
const MAX_SEARCHED = 16 * 1024;

/** Whether the text holds something that looks like a token, a key or a certificate, or is too long to tell. */
export function looksSecret(text: string): boolean {
  if (text.length > MAX_SEARCHED) return true;
  return JWT.test(text) || CREDENTIALS.test(text) || PEM.test(text) || KNOWN_KEY.test(text) || IN_BASE64.test(text);
}

/** Texts that were removed from a record: nothing derived from them stays elsewhere. */
export class RemovedTexts {
  readonly #texts = new Set<string>();
  #comparisons = 0;

  add(text: string): void {
    if (this.#texts.size > MAX_TEXTS) return;
    for (const form of formsOf(text)) if (form.length >= SHORTEST) this.#texts.add(form);
  }

  /** Whether the text holds one of them or a part of one, or it would take too long to tell. */
  isIn(text: string): boolean {
    if (this.#texts.size > MAX_TEXTS) return true;
    const forms = formsOf(text);
    this.#comparisons += forms.length * this.#texts.size;
    if (this.#comparisons > MAX_COMPARISONS) return true;
    for (const removed of this.#texts) {
      for (const form of forms) {
        if (form.includes(removed) || (form.length >= SHORTEST_PART && removed.includes(form))) return true;
      }
    }
    return false;
  }
}

const SHORTEST = 4;
const SHORTEST_PART = 6;
const MAX_WORDS = 64;
/** For one record: both what a request holds and what a policy asks of builtins may be much. */
const MAX_TEXTS = 10_000;
const MAX_COMPARISONS = 500_000;
const SEPARATORS = /[\s,;&?="']+/;

/** The text itself and its words, as they are and decoded, in lower case. */
function formsOf(text: string): readonly string[] {
  const words = text.split(SEPARATORS, MAX_WORDS);
  const forms = new Set<string>();
  for (const word of [text, ...words]) {
    forms.add(word.toLowerCase());
    const plain = percentDecoded(word);
    forms.add(plain.toLowerCase());
    const decoded = /^[A-Za-z0-9+/_-]{6,}={0,2}$/.test(word) ? Buffer.from(word, 'base64').toString('utf8') : '';
    if (decoded !== '' && !decoded.includes('\uFFFD')) {
      forms.add(decoded.toLowerCase());
      for (const part of decoded.split(/[\s:,;&=]+/, MAX_WORDS)) forms.add(part.toLowerCase());
    }
  }
  return [...forms].filter((form) => form !== '');
}

function percentDecoded(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
