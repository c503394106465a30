import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { encodeInput, type InputObject } from '../../../src/gate/input-json.ts';
import { toInputNeeds } from '../../../src/policy/input-needs.ts';
import { exactBuffer, instantiatePolicy } from '../../../src/policy/policy-instance.ts';
import { compiler, json, never } from './support.ts';

interface Case {
  readonly name: string;
  readonly rules: string;
  /** Paths with dots; null: the whole input. */
  readonly reads: readonly string[] | null;
  readonly entrypoint?: string;
}

const ALIASES = 'http := input.a.b\nallow if http.m == "GET"\nallow if http.h["x-y"]';

const CASES: readonly Case[] = [
  { name: 'nothing', rules: 'allow if data.x', reads: [] },
  { name: 'constant keys', rules: 'allow if input.a.b == input.a["c d"]', reads: ['a.b', 'a.c d'] },
  {
    name: 'an unknown key, and a number',
    rules: 'allow if { some k; input.a.l[k] == 1 }\nallow if input.b[0]',
    reads: ['a.l', 'b.0'],
  },
  {
    name: 'numbers that are places in lists, and those that are not',
    rules:
      'allow if input.a[1] == input.a[0]\nallow if input.b[2].c\nallow if input.c[99]\nallow if input.d[-1]\nallow if input.e[0.5]',
    reads: ['a.0', 'a.1', 'b.2.c', 'c', 'd', 'e'],
  },
  {
    name: 'a list by a number and as a whole',
    rules: 'allow if input.a[0] == 1\nallow if count(input.a) == 2\nallow if "x" in input.b\nallow if input.b[1]',
    reads: ['a', 'b'],
  },
  { name: 'a part within another one', rules: 'allow if input.a.b.c == input.a.b', reads: ['a.b'] },
  { name: 'the whole input as a value', rules: 'allow if count(input) == 0', reads: null },
  { name: 'the whole input in a variable', rules: 'allow if { x := input; x.a }', reads: null },
  { name: 'the whole input of a walk', rules: 'allow if { walk(input, [p, v]); v == 1 }', reads: null },
  { name: 'any key of the input', rules: 'allow if { some k; input[k] == 1 }', reads: null },
  { name: 'a key from the input', rules: 'allow if input.a[input.k]', reads: ['a', 'k'] },
  { name: 'a local name of a part', rules: 'allow if { h := input.a.b; h.c }', reads: ['a.b'] },
  { name: 'an import', rules: 'import input.a.b as h\nallow if h.c', reads: ['a.b.c'] },
  { name: 'a rule that stands for a part', rules: ALIASES, reads: ['a.b.h.x-y', 'a.b.m'] },
  { name: 'such a rule, taken whole', rules: `${ALIASES}\nallow if http == {}`, reads: ['a.b'] },
  { name: 'such a rule by a key unknown', rules: `${ALIASES}\nallow if { some k; http[k] == 1 }`, reads: ['a.b'] },
  { name: 'such a rule as the answer', rules: ALIASES, reads: ['a.b'], entrypoint: 'test/http' },
  { name: 'such a rule in the answer', rules: ALIASES, reads: ['a.b'], entrypoint: 'test' },
  {
    name: 'a rule that stands for one of two parts',
    rules: 'h := input.a if input.x\nh := input.b if not input.x\nallow if h.c',
    reads: ['a', 'b', 'x'],
  },
  { name: 'a rule of a rule', rules: 'h := input.a\ng := h.b\nallow if g.c', reads: ['a.b'] },
  {
    name: 'functions, comprehensions and every',
    rules: 'f(x) := x.y\nallow if { every v in [1 | input.c.d] { v == f(input.e) } }',
    reads: ['c.d', 'e'],
  },
  { name: 'a changed input', rules: 'p if input.a.b\nallow if p with input.a.b as input.c', reads: ['a.b', 'c'] },
  { name: 'an input put in its place', rules: 'p if input.a.b\nallow if p with input as {"a": input.c}', reads: null },
  { name: 'a negation', rules: 'allow if not input.denied.all', reads: ['denied.all'] },
  { name: 'text with values', rules: 'allow if $"{input.a.b}-x" == "1-x"', reads: ['a.b'] },
  {
    name: 'the head of a rule',
    rules: 'allow := {"allowed": true, "x": input.a.b, "y": [input.c]}',
    reads: ['a.b', 'c'],
  },
  {
    name: 'keys of partial rules',
    rules: 's contains input.a.b\nm[input.c] := input.d\nallow if count(s) + count(m) > 1',
    reads: ['a.b', 'c', 'd'],
  },
];

async function build(rules: string, entrypoint = 'test/allow') {
  const files = { modules: { 'a.rego': `package test\n${rules}\n` }, data: {} };
  const built = await compiler.build(files, entrypoint, never);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  return built;
}

describe('what of the input a policy can look at', () => {
  for (const { name, rules, reads, entrypoint } of CASES) {
    test(`is found for ${name}, and the rest changes no answer`, async () => {
      const built = await build(rules, entrypoint);
      assert.deepEqual(built.reads?.map((path) => path.join('.')) ?? null, reads);
      const source = {
        module: await WebAssembly.compile(built.wasm),
        data: json({}),
        entrypoint: entrypoint ?? 'test/allow',
      };
      const policy = instantiatePolicy({ ...source, limits: { recycleBytes: 2 ** 28, maxBytes: 2 ** 29 } });
      const answer = (input: Uint8Array): unknown => policy.evaluate(exactBuffer(input));
      const needs = toInputNeeds(built.reads);
      fc.assert(
        fc.property(inputs, (input) => {
          assert.deepEqual(answer(encodeInput(input, {}, needs)), answer(encodeInput(input)));
        }),
        { numRuns: 150 },
      );
    });
  }
});

test('a part that a rule stands for is needed whole where another rule may contradict it', async () => {
  const { reads, wasm } = await build('g.x.y := input.c\ng.x[k] := {"d": 1} if some k in ["y"]\nallow if g.x.y.d == 1');
  const module = await WebAssembly.compile(wasm);
  for (const [input, isContradicted] of [
    [{ c: { d: 1 } }, false],
    [{ c: { d: 1, e: 2 } }, true],
  ] as const) {
    const limits = { recycleBytes: 2 ** 28, maxBytes: 2 ** 29 };
    const policy = instantiatePolicy({ module, data: json({}), entrypoint: 'test/allow', limits });
    const answer = (): unknown => policy.evaluate(exactBuffer(encodeInput(input, {}, toInputNeeds(reads))));
    if (isContradicted) assert.throws(answer, /conflict/);
    else assert.deepEqual(answer(), [{ result: true }]);
  }
});

/** Documents in which the keys that the policies name are there or not, as objects or something else. */
const leaf = fc.constantFrom<unknown>(
  1,
  0,
  true,
  false,
  null,
  'GET',
  'x-y',
  'b',
  [1],
  [],
  {},
  [1, 1],
  [0, 1, { c: 1 }],
  { 0: 1 },
);
const below = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 1, arbitrary: leaf },
    {
      weight: 3,
      arbitrary: fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'm', 'h', 'x-y', 'l', 'c d', 'all', 'y'), value, {
        maxKeys: 4,
      }),
    },
  );
const inputs: fc.Arbitrary<InputObject> = fc.dictionary(
  fc.constantFrom('a', 'b', 'c', 'd', 'e', 'k', 'x', 'y', 'denied', '__proto__'),
  below(below(below(leaf))),
  { maxKeys: 6 },
) as fc.Arbitrary<InputObject>;

describe('of several policies in one folder', () => {
  const other = 'package other\n\np if input.o == time.now_ns()\n\nf(x) := x if input.f\n';
  const cases = [
    { name: 'what another one reads is not read', rules: 'allow if input.a', reads: ['a'], hasTime: false },
    { name: 'what it refers to is', rules: 'allow if data.other.p', reads: ['f', 'o'], hasTime: true },
    { name: 'what it calls is', rules: 'allow if data.other.f(1)', reads: ['f', 'o'], hasTime: true },
    {
      name: 'what `with` puts in place is',
      rules: 'g(x) := x\nallow if g(1) with g as data.other.f',
      reads: ['f', 'o'],
      hasTime: true,
    },
    {
      name: 'what it may refer to is',
      rules: 'allow if { some k; data[k].p }',
      reads: ['f', 'never', 'o'],
      hasTime: true,
    },
    {
      name: 'what an import names is',
      rules: 'import data.other as o\nallow if o.p',
      reads: ['f', 'o'],
      hasTime: true,
    },
    { name: 'what another file of its package reads is', rules: 'allow if q', reads: ['q'], hasTime: false },
  ];
  for (const { name, rules, reads, hasTime } of cases) {
    test(name, async () => {
      const modules = {
        'a.rego': `package test\n\n${rules}\n`,
        'b.rego': name.includes('another file')
          ? 'package test\n\nq if input.q\n'
          : 'package none\n\nx := input.never\n',
        'other.rego': other,
      };
      const built = await compiler.build({ modules, data: {} }, 'test/allow', never);
      assert.ok(built.kind === 'built', JSON.stringify(built));
      const found = built.reads?.map((path) => path.join('.'));
      assert.deepEqual(found, reads);
      assert.equal(built.calls.includes('time.now_ns'), hasTime);
    });
  }
});
