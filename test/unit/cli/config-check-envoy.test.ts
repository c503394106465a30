import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { root } from '../../../tools/setup/paths.mjs';
import { cli } from '../../support/run-cli.ts';
import { tempFolder } from '../../support/temp-folder.ts';

describe('config check --envoy', () => {
  const offloads = globSync('envoy-examples/*/*.yaml', { cwd: root })
    .map((path) => join(root, path))
    .filter((path) => readFileSync(path, 'utf8').includes('name: svidgate.offload.'));

  test('there is an example with offload', () => assert.notEqual(offloads.length, 0));

  for (const file of offloads) {
    test(`${file.slice(root.length + 1)} passes, by the configuration beside it`, async () => {
      const config = join(dirname(file), 'svidgate.yaml');
      assert.ok(existsSync(config));
      const { code, out, err } = await cli('config', 'check', '--envoy', file, '--config', config);
      assert.deepEqual({ code, out }, { code: 0, out: `${file}: no mistakes\n` });
      assert.match(err, /^1 HTTP connection manager with offload judged$/m);
    });
  }

  test('findings end with 1, and have their places', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'envoy.yaml');
    const text = readFileSync(offloads[0] ?? '', 'utf8').replace(
      'failure_mode_allow: false',
      'failure_mode_allow: true',
    );
    await writeFile(file, text);
    const line = text.split('\n').findIndex((each) => each.includes('failure_mode_allow: true')) + 1;
    const { code, out } = await cli('config', 'check', '--envoy', file);
    assert.equal(code, 1);
    const message =
      '`envoy.filters.http.ext_authz` has `failure_mode_allow`: requests pass without any decision when svidgate is away';
    assert.equal(out, `${file}:${line}:43: ${message}: remove \`failure_mode_allow\`\n${file}: 1 mistake\n`);
    const json = await cli('config', 'check', '--envoy', file, '--output', 'json');
    assert.deepEqual(JSON.parse(json.out), {
      file,
      ok: false,
      mistakes: [{ file, line, column: 43, message, remedy: 'remove `failure_mode_allow`' }],
    });
  });

  test('a file that is not there is a finding, and a broken configuration of svidgate is wrong usage', async () => {
    await using folder = await tempFolder();
    const missing = join(folder.path, 'envoy.yaml');
    const { code, out } = await cli('config', 'check', '--envoy', missing);
    assert.equal(code, 1);
    assert.match(out, /envoy\.yaml:1:1: cannot read the file: it does not exist/);
    const config = join(folder.path, 'svidgate.yaml');
    await writeFile(config, 'trust_domian: x\n');
    assert.equal((await cli('config', 'check', config, '--envoy', offloads[0] ?? '')).code, 2);
  });
});
