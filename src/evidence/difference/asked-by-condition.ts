import type { Term } from '../../policy/index.ts';
import { affixSamples, boundSamples, globSamples, nearMisses, patternSamples, type Samples } from './samples.ts';
import { constantOf } from './terms.ts';

/** Values of a term with which something holds, and with which it does not. */
export interface Asked {
  readonly term: Term;
  readonly samples: Samples;
}

const MAX_MEMBERS = 40;
const MIRRORED = { lt: 'gt', lte: 'gte', gt: 'lt', gte: 'lte' } as const;

/** What a condition that calls a builtin asks of its arguments. */
export function askedByCondition(operator: string, args: readonly Term[]): readonly Asked[] {
  const [one, other, third] = args;
  if (one === undefined) return [];
  const [left, right] = [constantOf(one), other === undefined ? undefined : constantOf(other)];
  switch (operator) {
    case 'eq':
    case 'equal':
    case 'assign':
      return askedByEquality(one, other);
    case 'neq':
      return askedByEquality(one, other).map(opposite);
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      if (right !== undefined) return ask(one, boundSamples(operator, right));
      return left === undefined ? [] : ask(other, boundSamples(MIRRORED[operator], left));
    case 'startswith':
    case 'endswith':
    case 'contains':
      return typeof right === 'string' ? ask(one, affixSamples(operator, right)) : askedAlike(args);
    case 'internal.member_2':
      return askedByMembership(one, other);
    case 'internal.member_3':
      return askedByMembership(other ?? one, third);
    case 'regex.match':
      return typeof left === 'string' ? ask(other, patternSamples(left)) : [];
    case 'glob.match':
      return typeof left === 'string' ? ask(third, globSamples(left)) : [];
    case 'strings.any_prefix_match':
      return ask(one, anyAffix('startswith', right));
    case 'strings.any_suffix_match':
      return ask(one, anyAffix('endswith', right));
    case 'net.cidr_contains':
      return typeof left === 'string' ? ask(other, addressSamples(left)) : [];
    default: {
      const holds = args.map(constantOf).filter((value) => value !== undefined);
      return args.map((term) => ({ term, samples: { holds, fails: [] } }));
    }
  }
}

export function opposite({ term, samples: { holds, fails } }: Asked): Asked {
  return { term, samples: { holds: fails, fails: holds } };
}

export function askedByEquality(one: Term, other: Term | undefined): readonly Asked[] {
  if (other === undefined) return [];
  const [left, right] = [constantOf(one), constantOf(other)];
  if (right !== undefined) return ask(one, { holds: [right], fails: nearMisses(right) });
  if (left !== undefined) return ask(other, { holds: [left], fails: nearMisses(left) });
  if (one.array !== undefined) return askedByPattern(one.array, other);
  if (other.array !== undefined) return askedByPattern(other.array, one);
  return one.var !== undefined || other.var !== undefined ? [] : askedAlike([one, other]);
}

/** `[_, "b"] = split(x, "/")`: so many elements, and what is known of them. */
function askedByPattern(pattern: readonly Term[], whole: Term): readonly Asked[] {
  const known = pattern.map(constantOf);
  const values = known.map((value) => value ?? 'a');
  return [
    ...ask(whole, { holds: [values], fails: nearMisses(values) }),
    ...known.flatMap((value, index) =>
      value === undefined ? [] : ask({ ref: [whole, { value: index }] }, { holds: [value], fails: nearMisses(value) }),
    ),
  ];
}

/** Two values of the request that are compared with one another. */
function askedAlike(terms: readonly Term[]): readonly Asked[] {
  return terms.map((term, index) => ({ term, samples: { holds: ['same'], fails: [`other${index}`] } }));
}

function askedByMembership(needle: Term, list: Term | undefined): readonly Asked[] {
  if (list === undefined) return [];
  const members = constantOf(list);
  if (typeof members === 'object' && members !== null) {
    const values = (Object.values(members) as readonly unknown[]).slice(0, MAX_MEMBERS);
    return ask(needle, { holds: values, fails: values.slice(0, 4).flatMap(nearMisses) });
  }
  const value = constantOf(needle);
  if (value === undefined) return [];
  return ask(list, { holds: [[value], { key: value }, ['x', value]], fails: [[], nearMisses(value).slice(0, 1)] });
}

function anyAffix(operator: 'startswith' | 'endswith', given: unknown): Samples {
  const affixes = [given].flat().filter((affix) => typeof affix === 'string');
  const samples = affixes.map((affix) => affixSamples(operator, affix));
  return { holds: samples.flatMap(({ holds }) => holds), fails: samples.flatMap(({ fails }) => fails) };
}

/** One address inside, some outside. */
function addressSamples(cidr: string): Samples {
  const [address = ''] = cidr.split('/');
  return { holds: [address, address.replace(/\.0$/, '.1')], fails: ['198.51.100.77', '2001:db8::77', 'x'] };
}

function ask(term: Term | undefined, samples: Samples): readonly Asked[] {
  return term === undefined ? [] : [{ term, samples }];
}
