import { SvidgateError } from '../../core/index.ts';
import { goText } from './go-text.ts';
import { checkedJson } from './json-text.ts';
import { parseMediaType } from './media-type.ts';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const DASH = 0x2d;
/** What Go's reader holds of a line between two parts. */
const MAX_LINE_BYTES = 4096;
const MAX_BOUNDARY_BYTES = 1024;
/** Of boundaries, headers and a preamble, in the whole body: what one body may hold up the others with. */
const MAX_LINES = 50_000;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z -]+$/;
// oxlint-disable-next-line no-control-regex
const BAD_HEADER_VALUE = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/**
 * A multipart/form-data body as opa-envoy-plugin gives it to policies: JSON text of an object from names to lists with
 * one element for each part, JSON parts as JSON and others as text. Parts without a name are left out. It reads as Go's
 * mime/multipart does, and throws `invalid_request` for what that refuses, and for what readers understand in more than one
 * way: quoted-printable parts, bodies that end inside a part's headers, names that cannot be parsed.
 */
export function multipartJson(body: Buffer, boundary: string): string {
  const values = new Map<string, string[]>();
  for (const { headers, content } of new MultipartReader(body, boundary).parts()) {
    if (headers.get('content-transfer-encoding')?.toLowerCase() === 'quoted-printable') {
      throw invalid('has a quoted-printable part');
    }
    const name = formName(headers.get('content-disposition'));
    if (name === '') continue;
    const text = goText(content);
    const isJson = headers.get('content-type')?.includes('application/json') === true;
    const value = isJson ? checkedJson(text) : JSON.stringify(text);
    const list = values.get(name);
    if (list === undefined) values.set(name, [value]);
    else list.push(value);
  }
  const members = [...values].map(([name, list]) => `${JSON.stringify(name)}:[${list.join(',')}]`);
  return `{${members.join(',')}}`;
}

function formName(disposition: string | undefined): string {
  if (disposition === undefined) return '';
  const { type, parameters } = parseMediaType(disposition);
  return type === 'form-data' ? goText(Buffer.from(parameters.get('name') ?? '', 'latin1')) : '';
}

interface Part {
  /** The first of each name, in lower case; values as bytes, a character each. */
  readonly headers: ReadonlyMap<string, string>;
  readonly content: Buffer;
}

class MultipartReader {
  readonly #body: Buffer;
  readonly #dashBoundary: Buffer;
  /** CR LF, or LF alone if the first boundary line ends so. */
  #newline = Buffer.from('\r\n');
  #at = 0;
  #lines = 0;

  constructor(body: Buffer, boundary: string) {
    this.#body = body;
    this.#dashBoundary = Buffer.from(`--${boundary}`, 'utf8');
    if (boundary === '') throw invalid('has an empty boundary');
    if (this.#dashBoundary.length > MAX_BOUNDARY_BYTES) throw invalid('has a boundary that is too long');
  }

  *parts(): Generator<Part> {
    for (let isFirst = true; this.#nextPart(isFirst); isFirst = false) {
      const headers = this.#headers();
      yield { headers, content: this.#content() };
    }
  }

  /** Goes to the headers of the next part; false at the end. */
  #nextPart(isFirst: boolean): boolean {
    for (let sawNewline = false; ;) {
      const line = this.#line();
      const kind = this.#kindOf(line, isFirst);
      if (kind === 'part') return true;
      if (kind === 'end') return false;
      if (line.at(-1) !== LF) throw invalid('ends without a closing boundary');
      if (isFirst) continue; // a preamble
      if (sawNewline || !line.equals(this.#newline)) throw invalid('has text between its parts');
      sawNewline = true;
    }
  }

  #line(): Buffer {
    this.#countLine();
    const end = this.#body.indexOf(LF, this.#at);
    const next = end === -1 ? this.#body.length : end + 1;
    if (next - this.#at > MAX_LINE_BYTES) throw invalid('has a line between its parts that is too long');
    const line = this.#body.subarray(this.#at, next);
    this.#at = next;
    return line;
  }

  #kindOf(line: Buffer, isFirst: boolean): 'part' | 'end' | 'other' {
    const { length } = this.#dashBoundary;
    if (!startsWith(line, this.#dashBoundary, 0)) return 'other';
    const rest = withoutSpace(line.subarray(length));
    if (isFirst && rest.length === 1 && rest[0] === LF) this.#newline = Buffer.from('\n');
    if (rest.equals(this.#newline)) return 'part';
    if (line[length] !== DASH || line[length + 1] !== DASH) return 'other';
    const closing = withoutSpace(line.subarray(length + 2));
    return closing.length === 0 || closing.equals(this.#newline) ? 'end' : 'other';
  }

  #headers(): ReadonlyMap<string, string> {
    const headers = new Map<string, string>();
    const first = this.#body[this.#at];
    if (first === SPACE || first === TAB) throw invalid('has a part whose headers begin with a space');
    for (;;) {
      const line = this.#headerLine();
      if (line === '') return headers;
      const colon = line.indexOf(':');
      const name = line.slice(0, colon);
      const value = line.slice(colon + 1).replace(/^[ \t]+/, '');
      if (!HEADER_NAME.test(name) || BAD_HEADER_VALUE.test(value)) {
        throw invalid('has a part with a bad header');
      }
      const lower = name.toLowerCase();
      if (!headers.has(lower)) headers.set(lower, value);
    }
  }

  /** With the lines that continue it; empty after the last one. */
  #headerLine(): string {
    const first = this.#textLine();
    if (first === '') return first;
    // Not in a line that continues it.
    if (!first.includes(':')) throw invalid('has a part with a bad header');
    let line = trimmed(first);
    for (;;) {
      const next = this.#body[this.#at];
      if (next !== SPACE && next !== TAB) return line;
      line += ` ${trimmed(this.#textLine())}`;
    }
  }

  #countLine(): void {
    this.#lines += 1;
    if (this.#lines > MAX_LINES) throw invalid('has too many lines');
  }

  #textLine(): string {
    this.#countLine();
    const end = this.#body.indexOf(LF, this.#at);
    if (end === -1) throw invalid('ends inside the headers of a part');
    const last = end > this.#at && this.#body[end - 1] === CR ? end - 1 : end;
    const line = this.#body.toString('latin1', this.#at, last);
    this.#at = end + 1;
    return line;
  }

  /** Up to the next boundary, which stays. */
  #content(): Buffer {
    const start = this.#at;
    let from = start;
    if (startsWith(this.#body, this.#dashBoundary, start)) {
      const after = start + this.#dashBoundary.length;
      if (this.#isBoundaryEnd(after)) return this.#body.subarray(start, start);
      from = after;
    }
    const boundary = Buffer.concat([this.#newline, this.#dashBoundary]);
    for (let at = this.#body.indexOf(boundary, from); at !== -1; at = this.#body.indexOf(boundary, from)) {
      from = at + boundary.length;
      if (!this.#isBoundaryEnd(from)) continue;
      this.#at = at;
      return this.#body.subarray(start, at);
    }
    throw invalid('ends without a closing boundary');
  }

  /** Whether what stands there ends a boundary, so that `--a` is not taken for the beginning of `--ab`. */
  #isBoundaryEnd(at: number): boolean {
    const code = this.#body[at];
    if (code === undefined || code === SPACE || code === TAB || code === CR || code === LF) return true;
    return code === DASH && this.#body[at + 1] === DASH;
  }
}

function startsWith(bytes: Buffer, prefix: Buffer, at: number): boolean {
  return bytes.length >= at + prefix.length && bytes.compare(prefix, 0, prefix.length, at, at + prefix.length) === 0;
}

function withoutSpace(bytes: Buffer): Buffer {
  let at = 0;
  while (bytes[at] === SPACE || bytes[at] === TAB) at += 1;
  return bytes.subarray(at);
}

/** Not by a pattern: one for the end takes quadratic time on spaces that are not there. */
function trimmed(line: string): string {
  let [start, end] = [0, line.length];
  while (line[start] === ' ' || line[start] === '\t') start += 1;
  while (end > start && (line[end - 1] === ' ' || line[end - 1] === '\t')) end -= 1;
  return line.slice(start, end);
}

function invalid(what: string): SvidgateError {
  return new SvidgateError('invalid_request', `the multipart body ${what}`);
}
