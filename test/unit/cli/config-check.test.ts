import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { runCli } from '../../../src/cli/index.ts';

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...args: readonly string[]): Promise<Run> {
  let [out, err] = ['', ''];
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err };
}

async function folderWith(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'svidgate-cli-'));
  t.after(() => rm(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

describe('config check', () => {
  test('a right configuration gets exit code 0 and one line', async (t) => {
    const folder = await folderWith(t, {
      'svidgate.yaml': 'trust_domain: td.test\nentries: entries.yaml\n',
      'entries.yaml': 'entries: []\n',
    });
    const file = join(folder, 'svidgate.yaml');
    assert.deepEqual(await run('config', 'check', file), { code: 0, out: `${file}: no mistakes\n`, err: '' });
  });

  test('every mistake is a line on standard output, then their count', async (t) => {
    const folder = await folderWith(t, { 'svidgate.yaml': 'trust_domian: td.test\nauthority: {ca_ttl: 5}\n' });
    const file = join(folder, 'svidgate.yaml');
    assert.deepEqual(await run('config', 'check', file), {
      code: 2,
      out: [
        `${file}:1:1: missing key \`trust_domain\`: expected a trust domain such as prod.acme.test`,
        `${file}:1:1: unknown key \`trust_domian\`: did you mean \`trust_domain\`?`,
        `${file}:2:21: \`authority.ca_ttl\` is the number 5: expected a duration from 10s to 87600h, such as 24h`,
        `${file}: 3 mistakes`,
        '',
      ].join('\n'),
      err: '',
    });
  });

  test('the mistakes of the entries file are among them', async (t) => {
    const folder = await folderWith(t, {
      'svidgate.yaml': 'trust_domain: td.test\nentries: entries.yaml\n',
      'entries.yaml': 'entries:\n  - spiffe_id: spiffe://other.test/a\n    selectors: []\n',
    });
    const entries = join(folder, 'entries.yaml');
    const file = join(folder, 'svidgate.yaml');
    assert.deepEqual((await run('config', 'check', file)).out.split('\n'), [
      `${entries}:2:16: \`entries[0].spiffe_id\` is "spiffe://other.test/a": expected an ID of the trust domain td.test`,
      `${entries}:3:16: \`entries[0].selectors\` is an empty list: expected a list of at least one selector, such as unix:uid:1001`,
      `${file}: 2 mistakes`,
      '',
    ]);
  });

  test('a policy that is missing, does not compile or lacks its rule is told at its place', async (t) => {
    const folder = await folderWith(t, {
      'svidgate.yaml': [
        'trust_domain: td.test',
        'authz:',
        '  policies:',
        '    default: { path: broken }',
        '    gone: { path: gone }',
        '    one: { path: one.rego, entrypoint: envoy/authz/nope }',
        '',
      ].join('\n'),
      'one.rego': 'package envoy.authz\n\ndefault allow := false\n',
    });
    await mkdir(join(folder, 'broken'));
    await writeFile(join(folder, 'broken', 'a.rego'), 'package envoy.authz\n\nallow if {\n');
    const file = join(folder, 'svidgate.yaml');
    const { code, out } = await run('config', 'check', file);
    assert.equal(code, 2);
    const lines = out.split('\n');
    assert.match(lines[0] ?? '', /\/broken\/a\.rego:\d+:\d+: policy `default`: rego_parse_error: /);
    assert.match(lines[1] ?? '', /svidgate\.yaml:5:19: policy `gone`: file_unreadable: /);
    assert.match(lines[2] ?? '', /svidgate\.yaml:6:40: policy `one`: entrypoint: .*: name a rule of the policy$/);
    assert.equal(lines[3], `${file}: 3 mistakes`);
  });

  test('the shipped policy is right', async (t) => {
    const folder = await folderWith(t, { 'svidgate.yaml': 'trust_domain: td.test\nauthz: {}\n' });
    await cp(new URL('../../../policies/rego', import.meta.url), join(folder, 'policies', 'rego'), { recursive: true });
    const { code, out } = await run('config', 'check', join(folder, 'svidgate.yaml'));
    assert.deepEqual({ code, out }, { code: 0, out: `${join(folder, 'svidgate.yaml')}: no mistakes\n` });
  });

  test('a time without enforcement that has passed or is far is no mistake, and is told', async (t) => {
    const folder = await folderWith(t, {
      'svidgate.yaml': `trust_domain: td.test
authz:
  policies:
    default: { path: a.rego, unenforced: { until: 2020-01-01T00:00:00Z } }
    far: { path: a.rego, unenforced: { until: 2999-01-01T00:00:00Z } }
    one: { path: a.rego, shadow_of: default }
`,
      'a.rego': 'package envoy.authz\n\ndefault allow := false\n',
    });
    const file = join(folder, 'svidgate.yaml');
    const { code, out, err } = await run('config', 'check', file);
    assert.deepEqual({ code, out }, { code: 0, out: `${file}: no mistakes\n` });
    assert.deepEqual(err.split('\n'), [
      `${file}:4:51: policy \`default\` is enforced: the time has passed: leave \`unenforced\` out, or choose a later time`,
      `${file}:5:47: policy \`far\` lets everything through for more than 90 days: choose an earlier time`,
      '',
    ]);
  });

  test('JSON output is one object', async (t) => {
    const folder = await folderWith(t, { 'svidgate.yaml': 'trust_domain: [\n' });
    const file = join(folder, 'svidgate.yaml');
    const { code, out } = await run('config', 'check', file, '--output', 'json');
    assert.equal(code, 2);
    assert.deepEqual(JSON.parse(out), {
      file,
      ok: false,
      mistakes: [
        {
          file,
          line: 2,
          column: 1,
          message: 'not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
          remedy: 'align this line with its neighbours',
        },
      ],
    });
  });
});

describe('the command line', () => {
  test('wrong usage is told on standard error with exit code 2', async () => {
    for (const [args, message] of [
      [['nonsense'], /unknown command 'nonsense'/],
      [['confg'], /Did you mean config\?/],
      [['config', 'check', 'a', 'b'], /too many arguments/],
      [['config', 'check', 'a', '--output', 'xml'], /Allowed choices are text, json/],
      [['config', 'check', '--nope'], /unknown option '--nope'/],
      [['config'], /Usage: svidgate config/],
      [[], /Usage: svidgate/],
    ] as const) {
      const { code, out, err } = await run(...args);
      assert.deepEqual({ code, out }, { code: 2, out: '' }, args.join(' '));
      assert.match(err, message);
    }
  });

  test('every command has help with an example', async () => {
    for (const args of [[], ['serve'], ['config'], ['config', 'check'], ['config', 'reference']]) {
      const { code, out } = await run(...args, '--help');
      assert.equal(code, 0);
      assert.match(out, /Examples:\n {2}\$ (?:SVIDGATE_CONFIG=\S+ )?svidgate /, args.join(' '));
    }
  });

  test('the version is the one of the package', async () => {
    assert.match((await run('--version')).out, /^\d+\.\d+\.\d+\n$/);
  });

  test('the reference is Markdown, or JSON for programs', async () => {
    assert.match((await run('config', 'reference')).out, /\| `trust_domain` +\| .* required +\|\n/);
    const rows = JSON.parse((await run('config', 'reference', '--output', 'json')).out) as { key: string }[];
    assert.ok(rows.some(({ key }) => key === 'authz.policies.NAME.path'));
  });
});
