/** Policies and requests by chance, for what tools say about decisions. */
import * as fc from 'fast-check';

export interface GeneratedCase {
  readonly rego: string;
  readonly data: string;
  readonly input: string;
}

const VALUES = ['x', 'y', 'z'] as const;
const FIELDS = ['a', 'b', 'c'] as const;
const HELPERS = ['first', 'second', 'third'] as const;

const value = fc.constantFrom(...VALUES);
const field = fc.constantFrom(...FIELDS);

/** Each gives lines of a body. */
function condition(helpers: readonly string[]): fc.Arbitrary<readonly string[]> {
  const plain: readonly fc.Arbitrary<readonly string[]>[] = [
    fc.tuple(field, value).map(([name, wanted]) => [`input.${name} == "${wanted}"`]),
    fc.tuple(field, value).map(([name, wanted]) => [`not input.${name} == "${wanted}"`]),
    value.map((wanted) => [`"${wanted}" in input.list`]),
    value.map((wanted) => [`every item in input.list { item != "${wanted}" }`]),
    fc.tuple(field, value).map(([name, wanted]) => [`${name}_now := input.${name}`, `${name}_now == "${wanted}"`]),
  ];
  if (helpers.length === 0) return fc.oneof(...plain);
  const helper = fc.constantFrom(...helpers);
  return fc.oneof(
    ...plain,
    helper.map((name) => [name]),
    helper.map((name) => [`not ${name}`]),
  );
}

const table: fc.Arbitrary<readonly string[]> = fc
  .subarray(['row.a == input.a', 'row.b == input.b', 'input.c in row.cs'], { minLength: 1 })
  .map((lines) => ['some row in data.rows', ...lines]);

function rule(name: string, helpers: readonly string[], withTable: boolean): fc.Arbitrary<string> {
  const parts = fc.uniqueArray(condition(helpers), { minLength: 1, maxLength: 3, selector: ([first = '']) => first });
  const body = withTable
    ? fc.oneof(
        parts,
        fc.tuple(parts, table).map(([some, rows]) => [...some, rows]),
      )
    : parts;
  return body.map(
    (all) =>
      `${name} if {\n${all
        .flat()
        .map((line) => `\t${line}\n`)
        .join('')}}\n`,
  );
}

const row = fc.record({ a: value, b: value, cs: fc.subarray([...VALUES]) });

const request = fc.record({ a: value, b: value, c: value, list: fc.subarray([...VALUES]) }, { requiredKeys: [] });

/** Every helper refers to later ones only. */
export const generatedCase: fc.Arbitrary<GeneratedCase> = fc
  .record({
    allows: fc.array(rule('allow', HELPERS, true), { minLength: 1, maxLength: 3 }),
    helpers: fc.tuple(
      ...HELPERS.map((name, index) =>
        fc.array(rule(name, HELPERS.slice(index + 1), false), { minLength: 1, maxLength: 2 }),
      ),
    ),
    rows: fc.array(row, { maxLength: 3 }),
    input: request,
  })
  .map(({ allows, helpers, rows, input }) => ({
    rego: ['package test\n\ndefault allow := false\n', ...allows, ...helpers.flat()].join('\n'),
    data: JSON.stringify({ rows }),
    input: JSON.stringify(input),
  }));
