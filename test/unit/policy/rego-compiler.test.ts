import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { SvidgateError, systemClock } from '../../../src/core/index.ts';
import { OFFERED_BUILTINS, WITHHELD_BUILTINS } from '../../../src/policy/builtins/offered.ts';
import { createRegoCompiler, type PolicyFiles } from '../../../src/policy/rego-compiler.ts';
import type { PolicyProblem } from '../../../src/policy/problem.ts';
import { compiler, never } from './support.ts';

const rego = (text: string): PolicyFiles => ({ modules: { 'authz.rego': text }, data: {} });

async function problemsOf(files: PolicyFiles, entrypoint = 'a/allow'): Promise<readonly PolicyProblem[]> {
  const built = await compiler.build(files, entrypoint, never);
  assert.ok(built.kind === 'refused', 'the policy compiled');
  return built.problems;
}

describe('build', () => {
  test('gives a module and the data documents mounted at their folders', async () => {
    const files: PolicyFiles = {
      modules: { 'authz.rego': 'package a\n\nallow if data.teams.red.size > 1\n' },
      data: { 'data.json': '{"big": 9007199254740993}', 'teams/red/data.yaml': 'size: 2', 'teams/data.yml': 'blue: x' },
    };
    const built = await compiler.build(files, 'a/allow', never);
    assert.ok(built.kind === 'built');
    assert.ok(WebAssembly.Module.imports(await WebAssembly.compile(built.wasm)).length > 0);
    assert.equal(built.data, '{"big":9007199254740993,"teams":{"blue":"x","red":{"size":2}}}');
    assert.deepEqual(built.warnings, []);
  });

  test('names the builtins that may be called, also those that stand for another function', async () => {
    const built = await compiler.build(
      rego('package a\nf(_) := 1\nallow if f("x") != upper("y") with f as uuid.rfc4122\n'),
      'a/allow',
      never,
    );
    assert.ok(built.kind === 'built');
    assert.deepEqual(built.calls, ['neq', 'upper', 'uuid.rfc4122']);
  });

  test('reports the mistakes of every file at once, with their places', async () => {
    const problems = await problemsOf({
      modules: { 'authz.rego': 'package a\n\nallow if {', 'b.rego': 'package b\nx := := 1' },
      data: { 'data.json': '{\n  "x": 01\n}', 'teams/data.yaml': 'a: 1\na: 2' },
    });
    const places = problems.map(({ code, file, line }) => `${file}:${line}:${code}`);
    for (const place of [
      'authz.rego:3:rego_parse_error',
      'b.rego:2:rego_parse_error',
      'data.json:2:data_invalid',
      'teams/data.yaml:2:data_invalid',
    ]) {
      assert.ok(places.includes(place), `${place} in ${places.join(' ')}`);
    }
  });

  test('reports more mistakes than OPA does by itself', async () => {
    const lines = Array.from({ length: 25 }, (_, i) => `r${i} := nothing_${i}(1)`);
    const problems = await problemsOf(rego(['package a', 'allow := true', ...lines].join('\n')));
    assert.equal(problems.length, 25);
    assert.deepEqual(
      problems.map(({ line }) => line),
      lines.map((_, i) => i + 3),
    );
  });

  test('says what svidgate does not offer, where, and why', async () => {
    const text = [
      'package a',
      'allow if opa.runtime().env.OPEN',
      'later if internal.test_case([])',
      'own if no_such_function(1)',
    ].join('\n');
    assert.deepEqual(await problemsOf(rego(text)), [
      {
        code: 'builtin_not_offered',
        message: `svidgate does not offer the builtin opa.runtime: ${WITHHELD_BUILTINS['opa.runtime']}`,
        file: 'authz.rego',
        line: 2,
        column: 10,
      },
      {
        code: 'builtin_not_offered',
        message: 'svidgate does not offer the builtin internal.test_case',
        file: 'authz.rego',
        line: 3,
        column: 10,
      },
      {
        code: 'rego_type_error',
        message: 'undefined function no_such_function',
        file: 'authz.rego',
        line: 4,
        column: 8,
      },
    ]);
  });

  test('refuses every builtin that is withheld', async () => {
    for (const name of Object.keys(WITHHELD_BUILTINS)) {
      assert.ok(!OFFERED_BUILTINS.includes(name), name);
    }
    const [problem] = await problemsOf(rego('package a\nallow if http.send(input.request).status_code == 200'));
    assert.equal(problem?.code, 'builtin_not_offered');
  });

  const refused: { readonly name: string; readonly files: PolicyFiles; readonly code: string }[] = [
    { name: 'an entrypoint that no rule defines', files: rego('package a\nother := true'), code: 'entrypoint' },
    { name: 'Rego of version 0', files: rego('package a\nallow { true }'), code: 'rego_parse_error' },
    { name: 'an unsafe variable', files: rego('package a\nallow if x == 1'), code: 'rego_unsafe_var_error' },
    { name: 'recursion', files: rego('package a\nallow if not allow'), code: 'rego_recursion_error' },
    { name: 'an empty module', files: rego(''), code: 'rego_parse_error' },
    {
      name: 'two documents for one path',
      files: {
        modules: { 'a.rego': 'package a\nallow := true' },
        data: { 'data.json': '{"x":1}', 'x/data.json': '{}' },
      },
      code: 'data_conflict',
    },
    {
      name: 'data where a package is',
      files: { modules: { 'a.rego': 'package a\nallow := true' }, data: { 'data.json': '{"a":{"allow":true}}' } },
      code: 'rego_compile_error',
    },
    {
      name: 'data that is no object',
      files: { modules: { 'a.rego': 'package a\nallow := true' }, data: { 'data.json': '[1]' } },
      code: 'data_invalid',
    },
    {
      name: 'text after the JSON',
      files: { modules: { 'a.rego': 'package a\nallow := true' }, data: { 'data.json': '{} {}' } },
      code: 'data_invalid',
    },
  ];
  for (const { name, files, code } of refused) {
    test(`refuses ${name}`, async () => {
      assert.ok((await problemsOf(files)).some((problem) => problem.code === code));
    });
  }

  test('warns of what strict mode refuses', async () => {
    const built = await compiler.build(rego('package a\nimport data.unused\nallow := true'), 'a/allow', never);
    assert.ok(built.kind === 'built');
    assert.deepEqual(
      built.warnings.map(({ file, line, message }) => ({ file, line, message })),
      [{ file: 'authz.rego', line: 2, message: 'import data.unused unused' }],
    );
  });

  test('takes any text without failing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'binary', maxLength: 60 }),
        fc.string({ maxLength: 40 }),
        async (text, data) => {
          const files = { modules: { 'a.rego': `package a\nallow := true\n${text}` }, data: { 'data.yaml': data } };
          const built = await compiler.build(files, 'a/allow', never);
          assert.ok(built.kind === 'built' || built.problems.length > 0);
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe('the thread of the compiler', () => {
  test('ends with the signal', async () => {
    const stop = new AbortController();
    const building = compiler.build(rego('package a\nallow := true'), 'a/allow', stop.signal);
    stop.abort();
    await assert.rejects(building, { name: 'AbortError' });
  });

  test('ends at its time limit', async () => {
    const hurried = createRegoCompiler({ clock: systemClock, timeLimitMs: 1 });
    await assert.rejects(
      hurried.build(rego('package a\nallow := true'), 'a/allow', never),
      (error) => error instanceof SvidgateError && error.code === 'deadline_exceeded',
    );
  });

  test('prints nothing, and needs no code generation from strings', () => {
    const script = `
      import { systemClock } from './src/core/index.ts';
      import { createRegoCompiler } from './src/policy/rego-compiler.ts';
      const built = await createRegoCompiler({ clock: systemClock }).build(
        { modules: { 'a.rego': 'package a\\nallow := true' }, data: {} }, 'a/allow', new AbortController().signal);
      if (built.kind !== 'built') process.exitCode = 1;
    `;
    const output = execFileSync(
      process.execPath,
      ['--disallow-code-generation-from-strings', '--input-type=module-typescript', '-e', script],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    assert.equal(output, '');
  });
});

describe('test', () => {
  test("runs OPA's tests and tells how each ended, and where", async () => {
    const modules = {
      'a.rego': 'package a\nallow if input.x == 1',
      'a_test.rego': [
        'package a_test',
        'import data.a',
        'test_allow if { print("seen"); a.allow with input.x as 1 }',
        'test_wrong if a.allow with input.x as 2',
        'test_cases[n] if { some n in [1, 2, 3]; a.allow with input.x as n }',
        'todo_test_later if true',
      ].join('\n'),
    };
    const result = await compiler.test({ modules, data: {} }, never);
    assert.ok(result.kind === 'ran');
    assert.deepEqual(
      result.tests.map(({ name, outcome, line, failedCases }) => ({ name, outcome, line, failedCases })),
      [
        { name: 'test_allow', outcome: 'pass', line: 3, failedCases: undefined },
        { name: 'test_wrong', outcome: 'fail', line: 4, failedCases: undefined },
        { name: 'test_cases', outcome: 'fail', line: 5, failedCases: ['2', '3'] },
        { name: 'todo_test_later', outcome: 'skip', line: 6, failedCases: undefined },
      ],
    );
    assert.equal(result.tests[0]?.output, 'seen\n');
    assert.equal(result.tests[0]?.package, 'data.a_test');
    assert.ok((result.tests[0]?.durationMs ?? -1) >= 0);
  });

  test('reports tests that do not compile', async () => {
    const result = await compiler.test({ modules: { 'a_test.rego': 'package a\ntest_x if {' }, data: {} }, never);
    assert.ok(result.kind === 'refused');
    assert.equal(result.problems[0]?.file, 'a_test.rego');
  });
});
