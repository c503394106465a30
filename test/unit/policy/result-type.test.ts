import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compiler, never } from './support.ts';

interface Case {
  readonly name: string;
  readonly rego: string;
  readonly data?: string;
  readonly entrypoint?: string;
  /** What the message says of the type; absent: it compiles. */
  readonly refused?: RegExp;
}

const CASES: readonly Case[] = [
  { name: 'a boolean', rego: 'allow if input.x' },
  { name: 'an object with allowed', rego: 'allow := {"allowed": input.x == 1, "headers": {"a": "b"}}' },
  { name: 'an object whose allowed comes from the input', rego: 'allow := {"allowed": input.x}' },
  { name: 'an object with computed keys', rego: 'allow[key] := value if some key, value in input.answers' },
  { name: 'what the input holds', rego: 'allow := input.answer' },
  { name: 'what the data hold', rego: 'allow := data.answer', data: '{"answer": "no"}' },
  { name: 'now a text, now a boolean', rego: 'allow := "no" if input.x\nelse := true' },
  { name: 'a whole package', rego: 'allowed if input.x\nwhy := "because"', entrypoint: 'test' },
  {
    name: 'a package with data beside its rules',
    rego: 'why := "x"',
    data: '{"test":{"allowed":true}}',
    entrypoint: 'test',
  },
  { name: 'a text', rego: 'allow := "yes"', refused: /gives string, never a boolean or an object/ },
  { name: 'a number', rego: 'allow := count(input.list)', refused: /gives number/ },
  { name: 'a set', rego: 'allow contains "reason" if input.x', refused: /gives set\[string\]/ },
  { name: 'an array', rego: 'allow := [input.x]', refused: /gives array/ },
  { name: 'null', rego: 'allow := null', refused: /gives null/ },
  { name: 'an object without allowed', rego: 'allow := {"allow": true}', refused: /gives object<allow: boolean>/ },
  { name: 'an object whose allowed is a text', rego: 'allow := {"allowed": "true"}', refused: /allowed: string/ },
  { name: 'a text or a number', rego: 'allow := "no" if input.x\nelse := 1', refused: /gives any<number, string>/ },
];

describe('an entrypoint that gives', () => {
  for (const { name, rego, data = '{}', entrypoint = 'test/allow', refused } of CASES) {
    test(`${name} is ${refused === undefined ? 'taken' : 'refused'}`, async () => {
      const files = { modules: { 'a.rego': `package test\n${rego}` }, data: { 'data.json': data } };
      const built = await compiler.build(files, entrypoint, never);
      assert.ok(built.kind === 'built', JSON.stringify(built));
      if (refused === undefined) return assert.deepEqual(built.unusable, []);
      const [problem, ...others] = built.unusable;
      assert.deepEqual([problem?.code, problem?.file, problem?.line, others], ['result_type', 'a.rego', 2, []]);
      assert.match(problem?.message ?? '', refused);
    });
  }
});
