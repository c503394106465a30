/** Runs what docs/policies.md shows. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { OFFERED_BUILTINS, WITHHELD_BUILTINS } from '../../src/policy/builtins/offered.ts';
import { Evaluator } from '../../src/policy/evaluator.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { readSnapshot } from '../../src/policy/snapshot.ts';

const never = new AbortController().signal;
const compiler = createRegoCompiler({ clock: systemClock });
const text = await readFile(new URL('../../docs/policies.md', import.meta.url), 'utf8');

function blocks(language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, body = '']) => body);
}

test('the rules at the top allow and deny what the table below them says', async () => {
  const [data = ''] = blocks('yaml');
  const { files } = await readSnapshot(fileURLToPath(new URL('../../policies/rego', import.meta.url)));
  const entrypoint = 'envoy/authz/allow';
  const built = await compiler.build({ modules: files.modules, data: { 'data.yaml': data } }, entrypoint, never);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  const module = await WebAssembly.compile(built.wasm);
  const loaded = { module, entrypoint, data: new TextEncoder().encode(built.data) };
  const evaluator = await Evaluator.start(loaded, { clock: systemClock, logger: silentLogger, queueLimit: 10 }, never);
  const isAllowed = async (path: string): Promise<boolean> => {
    const input = {
      attributes: { request: { http: { method: 'GET', path } } },
      parsed_path: (path.split('?')[0] ?? '').slice(1).split('/'),
      svidgate: {
        peer: { verified: true, spiffe_id: 'spiffe://prod.acme.test/web' },
        caller: { kind: 'attested', spiffe_ids: ['spiffe://prod.acme.test/orders'] },
      },
    };
    const bytes = new TextEncoder().encode(JSON.stringify(input));
    const evaluation = await evaluator.evaluate(bytes, { deadline: Date.now() + 10_000 });
    return evaluation.kind === 'value' && evaluation.value === true;
  };
  try {
    const rows = [...text.matchAll(/^\| `\/.*$/gm)].map(([row]) =>
      row.split('|').map((cell) => cell.match(/(?<=`)\/[^`]*/g) ?? []),
    );
    assert.equal(rows.length, 3);
    // A path may be in one row's last column and allowed by another rule.
    const allowed = new Set(rows.flatMap(([, , yes = []]) => yes));
    for (const path of allowed) assert.equal(await isAllowed(path), true, path);
    for (const path of rows.flatMap(([, , , no = []]) => no))
      assert.equal(await isAllowed(path), allowed.has(path), path);
  } finally {
    await evaluator.close();
  }
});

test('the Rego compiles without warnings and passes its tests', async () => {
  const [policy = '', tests = ''] = blocks('rego');
  const built = await compiler.build({ modules: { 'a.rego': policy }, data: {} }, 'envoy/authz/allow', never);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  assert.deepEqual(built.warnings, []);
  const result = await compiler.test({ modules: { 'a.rego': policy, 'a_test.rego': tests }, data: {} }, never);
  assert.ok(result.kind === 'ran', JSON.stringify(result));
  assert.deepEqual(
    result.tests.map(({ outcome }) => outcome),
    ['pass', 'pass'],
  );
});

test('every builtin that is withheld is named, and none that is offered as left out', () => {
  const [section = ''] = (text.split('\n## Builtins\n')[1] ?? '').split('\n### ');
  for (const name of Object.keys(WITHHELD_BUILTINS)) assert.ok(section.includes(`\`${name}\``), name);
  const named = [...section.matchAll(/`([a-z0-9_]+\.[a-z0-9_]+)`/g)].map(([, name = '']) => name);
  for (const name of named) assert.ok(!OFFERED_BUILTINS.includes(name), name);
});
