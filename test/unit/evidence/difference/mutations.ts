import type { Random } from '../../../../src/evidence/difference/random.ts';
import type { PlantedPolicy } from './policies.ts';

export interface Mutation {
  readonly what: string;
  readonly policy: PlantedPolicy;
}

/** One small change as people make them, of which each makes a difference to some request. */
export function plant(policy: PlantedPolicy, random: Random): Mutation | undefined {
  const mutate = random.pick([constant, constant, comparison, condition, condition, rule, negation, number, data]);
  return mutate(policy, random);
}

type Mutate = (policy: PlantedPolicy, random: Random) => Mutation | undefined;

/** A text that something is compared with. */
const constant: Mutate = (policy, random) => {
  const found = [...body(policy).matchAll(/(?<=(?:[=,{(] ?|, |\{))"([^"\n]{2,})"/g)].filter(
    ([text]) => !text.includes('?"'),
  );
  if (found.length === 0) return undefined;
  const { 0: quoted, 1: text = '', index } = random.pick(found);
  const other = random.pick([
    `${text}s`,
    text.slice(0, -1),
    `x${text}`,
    text.toUpperCase() === text ? text.toLowerCase() : text.toUpperCase(),
  ]);
  return replaced(policy, { index, quoted, by: `"${other}"`, what: `text ${quoted} to "${other}"` });
};

const COMPARISONS: Readonly<Record<string, string>> = {
  ' == ': ' != ',
  ' != ': ' == ',
  ' <= ': ' < ',
  ' < ': ' <= ',
  ' >= ': ' > ',
  ' > ': ' >= ',
  'startswith(': 'endswith(',
  'endswith(': 'contains(',
  'contains(': 'startswith(',
};

const comparison: Mutate = (policy, random) => {
  const found = [...body(policy).matchAll(/ (?:==|!=|<=|<|>=|>) |\b(?:startswith|endswith|contains)\(/g)];
  if (found.length === 0) return undefined;
  const { 0: quoted, index } = random.pick(found);
  const by = COMPARISONS[quoted] ?? quoted;
  return replaced(policy, { index, quoted, by, what: `comparison${quoted}to${by}` });
};

/** A condition is forgotten. */
const condition: Mutate = (policy, random) => {
  const found = [...body(policy).matchAll(/^\t(?!some |\[).*\n/gm)];
  if (found.length === 0) return undefined;
  const { 0: quoted, index } = random.pick(found);
  return replaced(policy, { index, quoted, by: '', what: `without${quoted.trim()}` });
};

/** A rule is forgotten. */
const rule: Mutate = (policy, random) => {
  const found = [
    ...body(policy).matchAll(
      /\n\n(?!default|http|path|caller|package|else|tier)[^\n]+\bif\b(?:[^\n]*\{\n(?:\t.*\n)+\}|[^\n{]*(?:\n|$))/g,
    ),
  ];
  if (found.length === 0) return undefined;
  const { 0: quoted, index } = random.pick(found);
  return replaced(policy, { index, quoted, by: '\n', what: `without the rule ${quoted.trim().split('\n', 1)[0]}` });
};

const negation: Mutate = (policy, random) => {
  const found = [...body(policy).matchAll(/(?<=^\t|\bif )not |^\t(?=input\.[^\n]*(?:==|startswith|verified))/gm)];
  if (found.length === 0) return undefined;
  const { 0: quoted, index } = random.pick(found);
  const by = quoted === '\t' ? '\tnot ' : '';
  return replaced(policy, {
    index,
    quoted,
    by,
    what: quoted === '\t' ? 'not before a condition' : 'a condition without not',
  });
};

const number: Mutate = (policy, random) => {
  const found = [...body(policy).matchAll(/(?<=[=<>] )\d+\b/g)];
  if (found.length === 0) return undefined;
  const { 0: quoted, index } = random.pick(found);
  const by = String(Number(quoted) + random.pick([1, 2]));
  return replaced(policy, { index, quoted, by, what: `number ${quoted} to ${by}` });
};

/** A row or a value of the data is lost, or another one. */
const data: Mutate = (policy, random) => {
  const text = JSON.stringify(policy.data);
  const found = [...text.matchAll(/"[^"]*":?|(?<=:)\d+/g)].filter(([value]) => !value.endsWith(':'));
  if (found.length === 0) return undefined;
  const { 0: quoted, index } = random.pick(found);
  const other = quoted.startsWith('"') ? `"${quoted.slice(1, -1)}s"` : String(Number(quoted) + 1);
  const changed = text.slice(0, index) + other + text.slice(index + quoted.length);
  return { what: `data ${quoted} to ${other}`, policy: { ...policy, data: JSON.parse(changed) as object } };
};

function body({ rego }: PlantedPolicy): string {
  return rego;
}

function replaced(
  policy: PlantedPolicy,
  {
    index,
    quoted,
    by,
    what,
  }: { readonly index: number; readonly quoted: string; readonly by: string; readonly what: string },
): Mutation {
  const rego = policy.rego.slice(0, index) + by + policy.rego.slice(index + quoted.length);
  const line = policy.rego.slice(0, index + 1).split('\n').length;
  return { what: `line ${line}: ${what}`, policy: { ...policy, rego } };
}
