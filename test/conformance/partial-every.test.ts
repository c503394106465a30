/**
 * OPA 1.22.2 unrolls an `every` over what is known (topdown, `evalEvery.unroll`), and evaluates what stands behind it with the bindings
 * of the body. When a newer OPA is right about these, tools/rego-compiler/every.go has nothing left to find, and may go.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evaluateGrants, evaluatePartially, openPolicy, snapshotSource } from '../../src/policy/index.ts';
import { patientCompiler as compiler, patientProgram as program } from '../support/patient-compiler.ts';

const { signal } = new AbortController();
const ENTRYPOINT = 'envoy/authz/allow';
const EVERY = 'every k in ["a", "b"] { part[k] == 1 }';
const METHOD = 'whole.method == "GET"';

function policyOf(conditions: readonly string[]): string {
  const rule = `allow if {\n\t${conditions.join('\n\t')}\n}`;
  return `package envoy.authz\n\npart := whole.part\n\nwhole := input.whole\n\n${rule}\n`;
}

test('what the partial evaluator makes of conditions behind an `every` is wrong, and found', async () => {
  const [behind, last] = await Promise.all(
    [
      [EVERY, METHOD],
      [METHOD, EVERY],
    ].map(async (conditions) => {
      const files = { modules: { 'authz.rego': policyOf(conditions) }, data: {} };
      const result = await evaluatePartially(program, files, {
        queries: [`data.${ENTRYPOINT.replaceAll('/', '.')} == true`],
        entrypoint: ENTRYPOINT,
        signal,
      });
      assert.equal(result.kind, 'evaluated');
      const { residuals = [], conflicts = [] } = result.kind === 'evaluated' ? result : {};
      const path = snapshotSource('test', { files, tests: {}, digest: 'test' });
      await using policy = await openPolicy({ path, entrypoint: ENTRYPOINT, compiler, signal });
      const input = { whole: { part: { a: 1, b: 1 }, method: 'GET' } };
      return {
        conditions: residuals.flatMap(({ conjunctions }) => conjunctions.map(({ text }) => text.split('\n'))),
        found: conflicts.map(({ code, line }) => `${code} ${line}`),
        whole: await policy.evaluate(new TextEncoder().encode(JSON.stringify(input))),
      };
    }),
  );
  const allowed = { kind: 'value', value: true };
  assert.deepEqual([behind?.whole, last?.whole], [allowed, allowed], 'evaluated as a whole both allow it');
  assert.deepEqual(last?.conditions, [
    ['input.whole.method = "GET"', 'input.whole.part.a = 1', 'input.whole.part.b = 1'],
  ]);
  assert.deepEqual(last.found, []);
  // The method of the part: nothing meets this.
  const wrong = ['input.whole.part = input.whole', 'input.whole.part.method = "GET"'];
  assert.deepEqual(behind?.conditions, [['input.whole.part.a = 1', 'input.whole.part.b = 1', ...wrong]]);
  assert.deepEqual(behind.found, ['misplaced_every 8']);
});

test('grants of such a policy are not told apart', async () => {
  const files = { modules: { 'authz.rego': policyOf([EVERY, METHOD]) }, data: {} };
  const list = await evaluateGrants({
    snapshot: { files, tests: {}, digest: 'test' },
    entrypoint: ENTRYPOINT,
    program,
    signal,
  });
  await assert.rejects(list.open(), {
    code: 'policy_invalid',
    message: /^which ways .* cannot be told: authz\.rego:8:2: misplaced_every: /,
  });
});
