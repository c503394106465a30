/** What `policy test` gives beyond OPA's runner: coverage, and tests by name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import { createPolicyTools } from '../../../../src/policy/index.ts';
import { never } from '../support.ts';

const tools = createPolicyTools({ clock: systemClock });

const SNAPSHOT = {
  files: {
    modules: {
      'a.rego':
        'package a\n\ndefault allow := false\n\nallow if {\n\tcount(input.x) > 0\n\tcount(input.y) > 1\n\tcount(input.z) > 2\n}\n',
      'lib/b.rego': '# nothing to evaluate\npackage lib.b\n',
    },
    data: {},
  },
  tests: {
    'a_test.rego':
      'package a_test\n\nimport data.a\n\ntest_denied if not a.allow with input as {"x": [1], "y": [1], "z": [1]}\n\ntest_other if true\n',
  },
};

test('lines that no test evaluates are in the coverage, and the tests are not', async () => {
  const run = await tools.test(SNAPSHOT, { coverage: true, signal: never });
  assert.ok(run.kind === 'ran');
  assert.deepEqual(
    run.tests.map(({ name, outcome }) => [name, outcome]),
    [
      ['test_denied', 'pass'],
      ['test_other', 'pass'],
    ],
  );
  assert.deepEqual(run.coverage, [
    {
      file: 'a.rego',
      covered: 3,
      total: 5,
      uncovered: [
        [5, 5],
        [8, 8],
      ],
    },
    { file: 'lib/b.rego', covered: 0, total: 0, uncovered: [] },
  ]);
});

test('only tests that match are run, and without being asked nothing is covered', async () => {
  const run = await tools.test(SNAPSHOT, { run: 'a_test\\.test_o', signal: never });
  assert.ok(run.kind === 'ran');
  assert.deepEqual(
    run.tests.map(({ name }) => name),
    ['test_other'],
  );
  assert.deepEqual(run.coverage, []);
});

test('a pattern that is none is refused', async () => {
  const run = await tools.test(SNAPSHOT, { run: '(', signal: never });
  assert.ok(run.kind === 'refused');
  assert.match(run.problems[0]?.message ?? '', /missing closing \)/);
});
