import { isUtf8 } from 'node:buffer';
import type { HttpHeader } from '../../transport/index.ts';

/** The headers of a call, as they came. */
export class AskedHeaders {
  readonly #headers: readonly HttpHeader[];

  constructor(headers: readonly HttpHeader[]) {
    this.#headers = headers;
  }

  /** The value of a header that is there exactly once, and has one. */
  single(name: string): string | undefined {
    const [only, ...more] = this.#headers.filter(([each]) => each === name);
    if (only === undefined || more.length > 0 || only[1] === '') return undefined;
    return textOf(only[1]);
  }

  /** All but some: the values of one name joined by commas, as Envoy does it. */
  joined(isLeftOut: (name: string) => boolean): Record<string, string> {
    // Without a prototype: a header may be called `__proto__`.
    const joined = Object.create(null) as Record<string, string>;
    for (const [name, value] of this.#headers) {
      if (isLeftOut(name)) continue;
      const before = joined[name];
      joined[name] = before === undefined ? textOf(value) : `${before},${textOf(value)}`;
    }
    return joined;
  }
}

/** Of bytes: UTF-8, or with `!` for each byte that is not ASCII, as Envoy shows what is not UTF-8. */
function textOf(bytes: string): string {
  const buffer = Buffer.from(bytes, 'latin1');
  // oxlint-disable-next-line no-control-regex
  return isUtf8(buffer) ? buffer.toString('utf8') : bytes.replaceAll(/[^\u0000-\u007f]/g, '!');
}
