/** The commands that read decision logs, as scripts use them. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openPolicy } from '../../src/policy/index.ts';
import { recordOf } from '../support/decision-records.ts';
import { cli } from '../support/run-cli.ts';
import { tempFolder } from '../support/temp-folder.ts';

const METHOD = 'input.attributes.request.http.method';
const policy = (condition: string): string =>
  `package envoy.authz\n\ndefault allow := false\n\nallow if ${condition}\n`;

interface Scene extends AsyncDisposable {
  readonly log: string;
  readonly path: (name: string) => string;
}

/** Policies, and a log of a GET and a PUT that `old.rego` decided. */
async function scene(): Promise<Scene> {
  const folder = await tempFolder();
  const path = (name: string): string => join(folder.path, name);
  await writeFile(path('old.rego'), policy(`${METHOD} == "GET"`));
  await writeFile(path('new.rego'), policy(`${METHOD} == "PUT"`));
  await writeFile(path('more.rego'), policy('input.attributes.request.http.path == "/"'));
  await writeFile(
    path('every.rego'),
    policy(`{\n\tevery x in ["P", "D"] { not startswith(${METHOD}, x) }\n\t${METHOD} == "GET"\n}`),
  );
  await writeFile(path('broken.rego'), 'package envoy.authz\nallow if nonsense(1)\n');
  const { signal } = new AbortController();
  await using opened = await openPolicy({ path: path('old.rego'), entrypoint: 'envoy/authz/allow', signal });
  const records = await Promise.all(
    ['GET', 'PUT'].map((method) => recordOf(opened, { attributes: { request: { http: { method } } } })),
  );
  await writeFile(path('log.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return { log: path('log.jsonl'), path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

test('a replay ends with 1 beyond its limits, and when nothing could be tried', async () => {
  await using at = await scene();
  const replay = (...args: readonly string[]): ReturnType<typeof cli> =>
    cli('policy', 'replay', '--from', at.log, ...args);
  const same = await replay('--policy', at.path('old.rego'));
  assert.equal(same.code, 0, same.err);
  const changed = await replay('--policy', at.path('new.rego'), '--output', 'json');
  assert.equal(changed.code, 1);
  const report = JSON.parse(changed.out) as Readonly<Record<string, unknown>>;
  assert.deepEqual([report['passed'], report['replayed'], report['changed']], [false, 2, 2]);
  assert.equal((await replay('--policy', at.path('new.rego'), '--max-changed', '2')).code, 0);
  const more = await replay('--policy', at.path('more.rego'));
  assert.equal(more.code, 1);
  assert.match(more.out, /\/input\/attributes\/request\/http\/path +2/);
  assert.match(more.out, /not passed: no decision could be replayed/);
});

test('what cannot be right is wrong usage, and what is not there is a failure', async () => {
  await using at = await scene();
  const policyPath = ['--policy', at.path('old.rego')];
  const cases: readonly (readonly [args: readonly string[], code: number, says: RegExp])[] = [
    [['replay', ...policyPath], 2, /--from/],
    [['replay', '--from', at.log, ...policyPath, '--max-changed', 'many'], 2, /not a whole number/],
    [['replay', '--from', at.log, ...policyPath, '--since', 'yesterday'], 2, /--since takes a time/],
    [['replay', '--from', at.path('none.jsonl'), ...policyPath], 1, /cannot be read/],
    [['replay', '--from', at.log, '--policy', at.path('broken.rego')], 1, /undefined function nonsense/],
    [['unused', '--from', at.log, '--policy', at.path('broken.rego')], 1, /undefined function nonsense/],
    [
      ['unused', '--from', at.log, '--policy', at.path('every.rego')],
      1,
      /cannot be told: every\.rego:6:2: .*put it last/,
    ],
    [['migration-report', '--from', at.log, '--old-credential', 'cookie:a'], 2, /header:NAME/],
    [['diff', at.path('old.rego')], 2, /missing required argument/],
  ];
  for (const [args, code, says] of cases) {
    const run = await cli('policy', ...args);
    assert.equal(run.code, code, `${args.join(' ')}: ${run.err}`);
    assert.match(run.err, says);
  }
});

test('a diff ends with 0 where nothing was found, and with 1 where the policies differ', async () => {
  await using at = await scene();
  const diff = (other: string, ...args: readonly string[]): ReturnType<typeof cli> =>
    cli('policy', 'diff', at.path('old.rego'), at.path(other), '--tries', '300', ...args);
  const same = await diff('old.rego');
  assert.equal(same.code, 0, same.err);
  assert.match(same.out, /no proof/);
  assert.doesNotMatch(same.out, /not told/);
  const other = await diff('new.rego', '--output', 'json', '--from', at.log);
  assert.equal(other.code, 1, other.err);
  const { groups } = JSON.parse(other.out) as { readonly groups: readonly { readonly change: string }[] };
  assert.deepEqual(groups.map(({ change }) => change).toSorted(), ['would_allow', 'would_deny']);
  const every = await cli('policy', 'diff', at.path('every.rego'), at.path('new.rego'), '--tries', '300');
  assert.equal(every.code, 1, every.err);
  assert.match(every.out, /^allowed by the old policy only$/m, 'by no rule');
  assert.match(every.out, /^which rules of the old policy allow is not told, .*: every\.rego:6:2: /m);
});
