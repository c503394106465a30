/** Texts that a pattern or a comparison takes, and texts that it just does not. */

export interface Samples {
  readonly holds: readonly unknown[];
  readonly fails: readonly unknown[];
}

/** Values that are almost this one. */
export function nearMisses(value: unknown): readonly unknown[] {
  if (typeof value === 'string') {
    const first = value.charAt(0);
    const other = first === first.toUpperCase() ? first.toLowerCase() : first.toUpperCase();
    return [...new Set([`${value}x`, value.slice(0, -1), other + value.slice(1), 'other'])].filter(
      (each) => each !== value,
    );
  }
  if (typeof value === 'number') return [value + 1, value - 1, String(value)];
  if (typeof value === 'boolean') return [!value];
  if (Array.isArray(value)) {
    const list = value as readonly unknown[];
    return [[...list, 'x'], list.slice(0, -1), [...list.slice(0, -1), ...nearMisses(list.at(-1)).slice(0, 1)]];
  }
  return ['other'];
}

/** Around a bound. */
export function boundSamples(operator: 'lt' | 'lte' | 'gt' | 'gte', bound: unknown): Samples {
  if (typeof bound === 'string') {
    const [less, more] = [bound.slice(0, -1), `${bound}x`];
    return split(operator, { less: [less], same: [bound], more: [more] });
  }
  if (typeof bound !== 'number') return { holds: [], fails: [] };
  return split(operator, { less: [bound - 1, 0], same: [bound], more: [bound + 1, bound * 10 + 1] });
}

function split(
  operator: 'lt' | 'lte' | 'gt' | 'gte',
  {
    less,
    same,
    more,
  }: { readonly less: readonly unknown[]; readonly same: readonly unknown[]; readonly more: readonly unknown[] },
): Samples {
  switch (operator) {
    case 'lt':
      return { holds: less, fails: [...same, ...more] };
    case 'lte':
      return { holds: [...same, ...less], fails: more };
    case 'gt':
      return { holds: more, fails: [...same, ...less] };
    case 'gte':
      return { holds: [...same, ...more], fails: less };
  }
}

export function affixSamples(operator: 'startswith' | 'endswith' | 'contains', affix: string): Samples {
  const fails = [...nearMisses(affix), 'other'];
  switch (operator) {
    case 'startswith':
      return {
        holds: [`${affix}x`, affix, `${affix}/x`],
        fails: [`x${affix}`, ...fails.filter((text) => !isText(text) || !text.startsWith(affix))],
      };
    case 'endswith':
      return {
        holds: [`x${affix}`, affix, `/x${affix}`],
        fails: [`${affix}x`, ...fails.filter((text) => !isText(text) || !text.endsWith(affix))],
      };
    case 'contains':
      return {
        holds: [`x${affix}y`, affix, `/x${affix}`],
        fails: fails.filter((text) => !isText(text) || !text.includes(affix)),
      };
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** Of a glob of OPA: `*` for one segment, `**` for any, `?`, `{a,b}`, `[abc]`. */
export function globSamples(glob: string): Samples {
  const texts = alternatives(glob).map((text) =>
    text
      .replaceAll('**', 'a/b')
      .replaceAll('*', 'a')
      .replaceAll('?', 'a')
      .replaceAll(/\[!?(.).*?\]/g, '$1'),
  );
  const shallow = alternatives(glob).map((text) =>
    text.replaceAll('**', 'a').replaceAll('*', 'a').replaceAll('?', 'a'),
  );
  const deeper = alternatives(glob).map((text) =>
    text.replaceAll('**', 'a').replaceAll('*', 'a/b').replaceAll('?', 'ab'),
  );
  const holds = [...new Set([...texts, ...shallow])].slice(0, 12);
  return { holds, fails: [...deeper.slice(0, 4), ...holds.slice(0, 4).flatMap((text) => nearMisses(text))] };
}

/** `{a,b}` without nesting. */
function alternatives(glob: string): readonly string[] {
  const found = /\{([^{}]*)\}/.exec(glob);
  if (found === null) return [glob];
  const { index } = found;
  return (found[1] ?? '')
    .split(',')
    .flatMap((part) => alternatives(glob.slice(0, index) + part + glob.slice(index + found[0].length)))
    .slice(0, 16);
}

/** Texts that a pattern of RE2 may take: each is checked with JavaScript's own patterns, which mostly are the same. */
export function patternSamples(pattern: string): Samples {
  const texts = [...new Set(new PatternReader(pattern).read())].slice(0, 24);
  let matches = (text: string): boolean => text !== '';
  try {
    const flags = pattern.startsWith('(?i)') ? 'i' : '';
    const own = new RegExp(pattern.replace(/^\(\?i\)/, ''), `u${flags}`);
    matches = (text) => own.test(text);
  } catch {
    // Something that only RE2 has: all of them are tried.
  }
  const near = texts.slice(0, 6).flatMap((text) => nearMisses(text) as readonly string[]);
  return { holds: texts.filter(matches), fails: [...near, 'other', '', ...texts].filter((text) => !matches(text)) };
}

const MAX_TEXTS = 24;

/** Gives texts for the usual parts of patterns: literals, classes, groups, alternatives and repetitions. */
class PatternReader {
  readonly #pattern: string;
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  read(): readonly string[] {
    const all: string[] = [];
    for (;;) {
      all.push(...this.#sequence());
      if (this.#peek() !== '|') return all.slice(0, MAX_TEXTS);
      this.#at += 1;
    }
  }

  #sequence(): readonly string[] {
    let texts: readonly string[] = [''];
    while (this.#at < this.#pattern.length && this.#peek() !== '|' && this.#peek() !== ')') {
      const parts = this.#repeated(this.#atom());
      texts = texts.flatMap((text) => parts.map((part) => text + part)).slice(0, MAX_TEXTS);
    }
    return texts;
  }

  #atom(): readonly string[] {
    const character = this.#pattern[this.#at++] ?? '';
    switch (character) {
      case '^':
      case '$':
        return [''];
      case '.':
        return ['a'];
      case '[':
        return this.#characterClass();
      case '(':
        return this.#group();
      case '\\':
        return this.#escape();
      default:
        return [character];
    }
  }

  #group(): readonly string[] {
    const head = /^\?(?:P?<\w+>|[a-z-]*:|[a-z-]+\))/.exec(this.#pattern.slice(this.#at))?.[0] ?? '';
    this.#at += head.length;
    if (head.endsWith(')')) return [''];
    const texts = this.read();
    this.#at += 1;
    return texts;
  }

  #characterClass(): readonly string[] {
    const end = this.#pattern.indexOf(']', this.#at + 1);
    const body = this.#pattern.slice(this.#at, end === -1 ? undefined : end);
    this.#at = end === -1 ? this.#pattern.length : end + 1;
    if (body.startsWith('^')) return [['a', '1', '-', '~'].find((each) => !body.includes(each)) ?? '_'];
    const ranges = [...body.matchAll(/\\?(.)-(.)|\\([a-z])|\\?(.)/gi)].map(([, from, , escaped, single]) =>
      escaped === undefined ? (from ?? single ?? 'a') : (ESCAPES[escaped] ?? escaped),
    );
    return [...new Set([ranges[0] ?? 'a', ranges.at(-1) ?? 'a'])];
  }

  #escape(): readonly string[] {
    const character = this.#pattern[this.#at++] ?? '';
    return [ESCAPES[character] ?? character];
  }

  #repeated(texts: readonly string[]): readonly string[] {
    const found = /^(?:[?*+]|\{(\d+)(?:,(\d*))?\})\??/.exec(this.#pattern.slice(this.#at));
    if (found === null) return texts;
    this.#at += found[0].length;
    const [whole, least] = found;
    const times = (count: number): readonly string[] => texts.map((text) => text.repeat(count));
    if (least !== undefined) return times(Number(least));
    if (whole.startsWith('+')) return [...texts, ...times(2).slice(0, 1)];
    return ['', ...texts];
  }

  #peek(): string | undefined {
    return this.#pattern[this.#at];
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  d: '7',
  D: 'a',
  w: 'a',
  W: '-',
  s: ' ',
  S: 'a',
  b: '',
  A: '',
  z: '',
};
