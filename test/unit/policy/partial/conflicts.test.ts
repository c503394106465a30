import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import { createRegoProgram, evaluatePartially } from '../../../../src/policy/index.ts';

/** By name: one that may have two values at once. */
const MAY: Readonly<Record<string, string>> = {
  true_and_text: 'x if input.a\nx := "t" if input.b',
  true_and_false: 'x if input.a\nx := false if input.b',
  iterates: 'x := y if some y in input.a',
  by_pattern: 'x := y if [y, _] = input.a[_]',
  member_of_row: 'x := row.v if {\n\tsome row in data.rows\n\trow.k == input.a\n}',
  function_of_input: 'x if f(input.a) == 1\nf(a) := 1 if a > 0\nf(a) := 2 if a > 1',
  function_iterates: 'x if f(input.a) == 1\nf(a) := b if some b in a',
  walks: 'x := v if walk(input.a, [_, v])',
  in_else: 'x := 1 if input.a else := y if some y in input.b',
  chain_and_rule: 'x := 1 if input.a else := 2 if input.b\nx := 3 if input.c',
  object_keys: 'x if o.a == 1\no[k] := v if some k, v in input.a',
  negates_another: 'x := 1 if input.a == 1\nx := 2 if not input.a == 2',
  with_input: 'x := 1 if y with input.a as 1\nx := 2 if input.b\ny if input.a',
  variable_name: 'x if f.a\nf[y] := true if y := input.a[0]\nf.a := false if input.b',
  variable_names: 'x if f.b\nf[y] := true if some y in input.a\nf.a := false if input.b',
  deeper_name: 'x if f.b\nf[y] := true if some y in input.a\nf.a.b := true if input.b',
  set_and_value: 'x if f.b\nf[y] contains 1 if some y in input.a\nf.a := 1 if input.b',
  keys_of_object: 'x if {\n\tf := {k: v | k := "a"; v := input.a[_]}\n\tf.a == 1\n}',
  keys_in_a_set: 'x if "a" in f\nf contains y if some y in {k: v | k := "a"; v := input.a[_]}',
  deep: 'x if z\nz if y == 1\ny := 1 if input.a\ny := 2 if input.b',
};

/** One that never has. */
const NEVER: Readonly<Record<string, string>> = {
  all_true: 'default x := false\nx if input.a\nx if some y in input.b',
  same_object: 'x := {"a": 1} if input.a\nx := {"a": 1} if input.b',
  one_reference: 'x := input.a if input.b',
  one_call: 'x := lower(y) if {\n\ty := input.a[0]\n\ty != "b"\n}',
  in_order: 'x := 1 if input.a else := 2 if input.b else := lower(input.c)',
  other_arguments: 'x if f(input.a) == 1\nf("a") := 1\nf("b") := 2',
  negates: 'x := 1 if y\nx := 2 if {\n\tnot y\n\tinput.b\n}\ny if input.a',
  collected: 'x := count([y | some y in input.a; y == 1])',
  variable_name_alike: 'x if f.a\nf[y] := true if some y in input.a\nf.a := true if input.b',
  sets_by_name: 'x if f.a\nf[y] contains 1 if some y in input.a\nf.a contains 2 if input.b',
  in_order_of_input: 'x if f(input.a) == 1\nf(a) := input.b if a else := 1',
  a_set: 'x contains y if some y in input.a',
  of_data: 'x if y == 1\ny := 1 if data.rows\ny := 1 if data.other',
};

const EVERY = 'every k in ["a", "b"] { h[k] == 1 }';
const PLACES = 'h := i.h\ni := input.i\n';

/** What OPA's partial evaluator gets wrong, and what it does not. */
const MISPLACED: Readonly<Record<string, string>> = {
  every_first: `${PLACES}x if {\n\t${EVERY}\n\ti.m == 1\n}`,
  every_of_two: `${PLACES}x if every k in ["a", "b"] {\n\th[k] == 1\n\ti.m == 1\n}`,
  every_in_rule: `${PLACES}x if {\n\tall_there\n\ti.m == 1\n}\nall_there if ${EVERY}`,
  every_in_function: `${PLACES}x if {\n\tnot f(input.a)\n\ti.m == 1\n}\nf(_) if ${EVERY}`,
  every_in_else: `${PLACES}x if input.a == 2 else := true if {\n\t${EVERY}\n\ti.m == 1\n}`,
  every_of_part: `${PLACES}x if {\n\tevery v in d {\n\t\tv == i.n\n\t}\n\ti.m == 1\n}\nd := ["a"] if input.a`,
  every_in_set: `${PLACES}x if count({1 |\n\t${EVERY}\n\ti.m == 1\n}) == 1`,
};
const PLACED: Readonly<Record<string, string>> = {
  every_of_input: `${PLACES}x if {\n\tevery v in input.a {\n\t\tv != i.n\n\t\tv != h.n\n\t}\n\ti.m == 1\n}`,
  every_of_helper: `${PLACES}x if {\n\tevery v in h {\n\t\tv != 1\n\t}\n\ti.m == 1\n}`,
  every_last: `${PLACES}x if {\n\ti.m == 1\n\t${EVERY}\n}`,
  every_last_in_rule: `${PLACES}x if {\n\ti.m == 1\n\tall_there\n}\nall_there if ${EVERY}`,
};

/** With another input anywhere nothing is known to be a part of it. */
const REPLACED: Readonly<Record<string, string>> = {
  every_with_input: `${PLACES}x if {\n\ty with input.a as ["b"]\n\ti.m == 1\n}\ny if every v in input.a { v == i.n }`,
};

async function findingsOf(rules: Readonly<Record<string, string>>) {
  const program = createRegoProgram({ clock: systemClock, timeLimitMs: 120_000 });
  const all = Object.entries(rules);
  const modules = Object.fromEntries(all.map(([name, rego]) => [`${name}.rego`, `package all.${name}\n\n${rego}\n`]));
  const data = { 'data.json': '{"rows": [{"k": 1, "v": 2}]}' };
  const question = { queries: [], entrypoint: 'all', signal: new AbortController().signal };
  const result = await evaluatePartially(program, { modules, data }, question);
  assert.equal(result.kind, 'evaluated', JSON.stringify(result));
  return result.kind === 'evaluated' ? result.conflicts : [];
}

for (const [what, wrong, right] of [
  ['', MISPLACED, PLACED],
  [', with another input', REPLACED, {}],
] as const) {
  test(`conditions behind an \`every\`${what}`, async () => {
    const found = await findingsOf({ ...wrong, ...right });
    const files = new Set(found.map(({ file, code }) => `${code} ${file.replace('.rego', '')}`));
    assert.deepEqual(
      [...files].sort(),
      Object.keys(wrong)
        .map((name) => `misplaced_every ${name}`)
        .sort(),
    );
  });
}

test('rules that may have two values at once', async () => {
  const found = await findingsOf({ ...MAY, ...NEVER });
  assert.deepEqual(found.map(({ file }) => file.replace('.rego', '')).sort(), Object.keys(MAY).sort());
  const [deep] = found.filter(({ file }) => file === 'deep.rego');
  assert.deepEqual([deep?.line, deep?.message], [6, 'data.all.deep.y may have two values at once']);
});
