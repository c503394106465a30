import { SvidgateError } from '../../core/index.ts';

export interface MediaType {
  /** In lower case; it may be a disposition, such as `form-data`. */
  readonly type: string;
  /** By name in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`{|}~0-9A-Za-z-]+";
const SPACE = '[\\t-\\r ]*';
const TYPE = new RegExp(`^${SPACE}(${TOKEN}(?:/${TOKEN})?)${SPACE}$`);
const NAME = new RegExp(`${SPACE};${SPACE}(${TOKEN})${SPACE}=${SPACE}`, 'y');
const VALUE = new RegExp(TOKEN, 'y');
/** Sticky, each read once: a pattern with both around `;` would take quadratic time on spaces. */
const SPACES = new RegExp(SPACE, 'y');
const SPECIAL = '()<>@,;:\\"/[]?=';

/**
 * Go's mime.ParseMediaType, without the continued and encoded parameters of RFC 2231 (`name*0`, `name*`): who reads
 * them differently sees another name. Nor are there spaces beyond ASCII. Throws `invalid_request` for these, and for
 * what Go refuses.
 */
export function parseMediaType(text: string): MediaType {
  const end = text.indexOf(';');
  const type = TYPE.exec((end === -1 ? text : text.slice(0, end)).toLowerCase())?.[1];
  if (type === undefined) throw invalid('has no media type');
  const parameters = new Map<string, string>();
  for (let at = end === -1 ? text.length : end; at < text.length;) {
    NAME.lastIndex = at;
    const name = NAME.exec(text)?.[1]?.toLowerCase();
    if (name === undefined) {
      if (isClosing(text, at)) break;
      throw invalid('has a bad parameter');
    }
    if (name.includes('*')) throw invalid('has an encoded parameter');
    const { value, next } = readValue(text, NAME.lastIndex);
    if (parameters.has(name) && parameters.get(name) !== value) throw invalid('has a parameter twice');
    parameters.set(name, value);
    at = next;
  }
  return { type, parameters };
}

/** Whether nothing follows but spaces and at most one semicolon. */
function isClosing(text: string, at: number): boolean {
  SPACES.lastIndex = at;
  SPACES.test(text);
  const semicolon = SPACES.lastIndex;
  SPACES.lastIndex = text[semicolon] === ';' ? semicolon + 1 : semicolon;
  SPACES.test(text);
  return SPACES.lastIndex === text.length;
}

function readValue(text: string, at: number): { readonly value: string; readonly next: number } {
  if (text[at] === '"') return readQuoted(text, at);
  VALUE.lastIndex = at;
  const [value] = VALUE.exec(text) ?? [];
  if (value === undefined) throw invalid('has a bad parameter');
  return { value, next: at + value.length };
}

/** A backslash stands for itself before what needs none: browsers once sent file names with them. */
function readQuoted(text: string, start: number): { readonly value: string; readonly next: number } {
  const parts: string[] = [];
  let from = start + 1;
  for (let at = from; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') return { value: parts.join('') + text.slice(from, at), next: at + 1 };
    if (character === '\r' || character === '\n') break;
    if (character !== '\\' || at + 1 >= text.length || !SPECIAL.includes(text[at + 1] ?? '')) continue;
    parts.push(text.slice(from, at));
    from = at + 1;
    at += 1;
  }
  throw invalid('has a bad parameter');
}

function invalid(what: string): SvidgateError {
  return new SvidgateError('invalid_request', `the content type of the body ${what}`);
}
