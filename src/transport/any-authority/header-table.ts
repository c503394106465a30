/** A header field; bytes as latin1. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** RFC 7541 appendix A; index 1 comes first. */
const STATIC_FIELDS: readonly (readonly [name: string, value?: string])[] = [
  [':authority'],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset'],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language'],
  ['accept-ranges'],
  ['accept'],
  ['access-control-allow-origin'],
  ['age'],
  ['allow'],
  ['authorization'],
  ['cache-control'],
  ['content-disposition'],
  ['content-encoding'],
  ['content-language'],
  ['content-length'],
  ['content-location'],
  ['content-range'],
  ['content-type'],
  ['cookie'],
  ['date'],
  ['etag'],
  ['expect'],
  ['expires'],
  ['from'],
  ['host'],
  ['if-match'],
  ['if-modified-since'],
  ['if-none-match'],
  ['if-range'],
  ['if-unmodified-since'],
  ['last-modified'],
  ['link'],
  ['location'],
  ['max-forwards'],
  ['proxy-authenticate'],
  ['proxy-authorization'],
  ['range'],
  ['referer'],
  ['refresh'],
  ['retry-after'],
  ['server'],
  ['set-cookie'],
  ['strict-transport-security'],
  ['transfer-encoding'],
  ['user-agent'],
  ['vary'],
  ['via'],
  ['www-authenticate'],
];

export const STATIC_TABLE: readonly HeaderField[] = STATIC_FIELDS.map(([name, value = '']) => ({ name, value }));

/** RFC 7541 §4.1. */
const BYTES_BESIDE_ENTRY = 32;

/** What RFC 7541 §4.1 counts for a field. */
export function sizeOf({ name, value }: HeaderField): number {
  return name.length + value.length + BYTES_BESIDE_ENTRY;
}

/** The static and the dynamic table of one direction of one connection, as the decoder keeps them (RFC 7541 §2.3). */
export class HeaderTable {
  readonly #dynamic: HeaderField[] = []; // newest last
  #size = 0;
  #maxSize: number;

  /** @param maxSize bytes of the dynamic table, as RFC 7541 §4.1 counts them */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** The field at an index, or undefined when there is none. */
  at(index: number): HeaderField | undefined {
    if (index <= STATIC_TABLE.length) return STATIC_TABLE[index - 1];
    return this.#dynamic[this.#dynamic.length - (index - STATIC_TABLE.length)];
  }

  /** A field that is larger than the table empties it (RFC 7541 §4.4). */
  add(field: HeaderField): void {
    const size = sizeOf(field);
    this.#shrinkTo(this.#maxSize - size);
    if (size > this.#maxSize) return;
    this.#dynamic.push(field);
    this.#size += size;
  }

  resize(maxSize: number): void {
    this.#maxSize = maxSize;
    this.#shrinkTo(maxSize);
  }

  #shrinkTo(size: number): void {
    let count = 0;
    for (const field of this.#dynamic) {
      if (this.#size <= size) break;
      this.#size -= sizeOf(field);
      count += 1;
    }
    if (count > 0) this.#dynamic.splice(0, count);
  }
}
