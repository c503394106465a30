import type { Term } from '../../policy/index.ts';
import { askedByEquality, opposite, type Asked } from './asked-by-condition.ts';
import { ABSENT, splitKey } from './input-path.ts';
import { patternSamples, type Samples } from './samples.ts';
import { constantOf } from './terms.ts';

type Call = NonNullable<Term['call']>;

const MAX_ELEMENTS = 64;

/** The arguments with which a call gives one of the values, for builtins that are common. */
export function askedByCall({ operator, args }: Call, samples: Samples): readonly Asked[] {
  const [one, other] = args;
  if (one === undefined) return [];
  const inverse = INVERSES[operator];
  if (inverse !== undefined) return [{ term: one, samples: inverse(samples, args.slice(1).map(constantOf)) }];
  switch (operator) {
    case 'split': {
      const separator = other === undefined ? undefined : constantOf(other);
      return typeof separator === 'string' ? [{ term: { ref: [one, { value: splitKey(separator) }] }, samples }] : [];
    }
    case 'object.get':
      return other === undefined ? [] : [{ term: { ref: [one, ...(other.array ?? [other])] }, samples }];
    case 'concat':
      return askedByConcat(one, other, samples);
    case 'sprintf':
      return askedByFormat(args, samples);
    case 'regex.find_all_string_submatch_n':
      return askedBySubmatch(one, other, samples);
    case 'equal':
      return samples.holds.includes(false) ? askedByEquality(one, other).map(opposite) : askedByEquality(one, other);
    default:
      return args.map((term) => ({ term, samples }));
  }
}

/** Values of the first argument, from those of the result and the other arguments. */
type Inverse = (samples: Samples, others: readonly unknown[]) => Samples;

const INVERSES: Readonly<Record<string, Inverse>> = {
  lower: withUpper,
  upper: withUpper,
  trim_prefix: (samples, [prefix]) => mappedText(samples, (text) => `${String(prefix)}${text}`),
  trim_suffix: (samples, [suffix]) => mappedText(samples, (text) => `${text}${String(suffix)}`),
  substring: (samples, [offset, length]) =>
    mappedText(samples, (text) => 'a'.repeat(Number(offset) || 0) + text + (length === -1 ? '' : 'x')),
  to_number: (samples) => mapped(samples, (value) => (typeof value === 'number' ? String(value) : value)),
  count: (samples) => ({
    holds: [...mapped(samples, elements).holds, ...mapped(samples, letters).holds],
    fails: [...mapped(samples, elements).fails, ...mapped(samples, letters).fails],
  }),
  'array.slice': (samples) => ({
    holds: [
      ...samples.holds,
      ...mapped(samples, (value) => (Array.isArray(value) ? [...(value as readonly unknown[]), 'x'] : value)).holds,
    ],
    fails: samples.fails,
  }),
  'base64.decode': (samples) => mappedText(samples, (text) => Buffer.from(text).toString('base64')),
  'base64url.decode': (samples) => mappedText(samples, (text) => Buffer.from(text).toString('base64url')),
  'json.unmarshal': (samples) => mapped(samples, (value) => JSON.stringify(value)),
};

function withUpper(samples: Samples): Samples {
  const { holds, fails } = samples;
  return { holds: [...holds, ...mappedText(samples, (text) => text.toUpperCase()).holds], fails };
}

/** An array with so many elements. */
function elements(value: unknown): unknown {
  return typeof value === 'number' ? Array.from({ length: bounded(value) }, () => 'a') : value;
}

/** A text with so many characters. */
function letters(value: unknown): unknown {
  return typeof value === 'number' ? 'a'.repeat(bounded(value)) : value;
}

function bounded(count: number): number {
  return Math.min(MAX_ELEMENTS, Math.max(0, Math.floor(count)));
}

function mapped({ holds, fails }: Samples, map: (value: unknown) => unknown): Samples {
  const each = (value: unknown): unknown => (value === ABSENT ? ABSENT : map(value));
  return { holds: holds.map(each), fails: fails.map(each) };
}

function mappedText(samples: Samples, map: (text: string) => string): Samples {
  return mapped(samples, (value) => (typeof value === 'string' ? map(value) : value));
}

function askedByConcat(separator: Term, list: Term | undefined, samples: Samples): readonly Asked[] {
  const text = constantOf(separator);
  if (list === undefined || typeof text !== 'string') return [];
  const taken = mapped(samples, (value) => (typeof value === 'string' ? value.split(text) : value));
  if (list.array === undefined) return [{ term: list, samples: taken }];
  const at = (values: readonly unknown[], index: number): readonly unknown[] =>
    values.map((value) => (Array.isArray(value) ? (value as readonly unknown[])[index] : undefined)).filter(isThere);
  return list.array.map((term, index) => ({
    term,
    samples: { holds: at(taken.holds, index), fails: at(taken.fails, index) },
  }));
}

/** `sprintf("%s:%s", [a, b])` is a text that is taken apart again. */
function askedByFormat([format, list]: readonly Term[], { holds, fails }: Samples): readonly Asked[] {
  const text = format === undefined ? undefined : constantOf(format);
  if (typeof text !== 'string' || list?.array === undefined) return [];
  const pieces = text.split(/%[a-z]/).map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  const pattern = new RegExp(`^${pieces.join('(.*?)')}$`, 's');
  const at = (values: readonly unknown[], index: number): readonly unknown[] =>
    values.map((value) => (typeof value === 'string' ? pattern.exec(value)?.[index + 1] : undefined)).filter(isThere);
  return list.array.map((term, index) => ({ term, samples: { holds: at(holds, index), fails: at(fails, index) } }));
}

/** Texts that the pattern finds, with the part that a group takes replaced by what is asked for. */
function askedBySubmatch(pattern: Term, text: Term | undefined, { holds, fails }: Samples): readonly Asked[] {
  const source = constantOf(pattern);
  if (text === undefined || typeof source !== 'string') return [];
  const { holds: texts, fails: others } = patternSamples(source);
  let own: RegExp;
  try {
    own = new RegExp(source, 'd');
  } catch {
    return [{ term: text, samples: { holds: texts, fails: others } }]; // something that only RE2 has
  }
  const replaced = (value: unknown): readonly unknown[] => {
    const groups = Array.isArray(value) ? (value as readonly unknown[])[0] : undefined;
    if (!Array.isArray(groups)) return [];
    const index = groups.length - 1;
    return texts.map(String).flatMap((each) => {
      const range = own.exec(each)?.indices?.[index];
      return range === undefined ? [] : [each.slice(0, range[0]) + String(groups[index]) + each.slice(range[1])];
    });
  };
  const samples = {
    holds: [...holds.flatMap(replaced), ...texts],
    fails: [...fails.flatMap(replaced), ...others],
  };
  return [{ term: text, samples }];
}

function isThere(value: unknown): boolean {
  return value !== undefined;
}
