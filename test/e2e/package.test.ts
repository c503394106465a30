import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../tools/setup/paths.mjs';
import { connect } from '../support/grpc-client.ts';
import { startLoggedChild } from '../support/logged-child.ts';
import { entriesFor } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const CONFIG = `trust_domain: example.test
workload_socket: ./api.sock
admin: { socket: ./admin.sock }
entries: ./entries.yaml
telemetry: { listen: off }
authz:
  listen: unix:./authz.sock
  policies:
    default: { path: ./package/policies/rego, entrypoint: envoy/authz/allow }
`;

test('the package that npm would publish runs from JavaScript alone: identities, policies, threads', async () => {
  await using folder = await tempFolder();
  const run = (command: string, args: readonly string[], cwd: string): string =>
    execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  run(process.execPath, [join(root, 'tools/build/run.ts')], root);
  const packed = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder.path], root)) as readonly {
    readonly filename: string;
    readonly files: readonly { readonly path: string }[];
  }[];
  const [{ filename, files } = assert.fail('npm packed nothing')] = packed;
  for (const wanted of ['LICENSE', 'README.md', 'bin/svidgate.mjs', 'dist/cli/main.js', 'policies/rego/authz.rego']) {
    assert.ok(
      files.some(({ path }) => path === wanted),
      wanted,
    );
  }
  assert.deepEqual(
    files.map(({ path }) => path).filter((path) => /^(src|test|docs)\/|\.ts$/.test(path) && !path.endsWith('.d.ts')),
    [],
  );
  run('tar', ['-xzf', filename], folder.path);
  await symlink(join(root, 'node_modules'), join(folder.path, 'package/node_modules'));
  await writeFile(join(folder.path, 'svidgate.yaml'), CONFIG);
  await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/packed'));

  const launcher = join(folder.path, 'package/bin/svidgate.mjs');
  assert.match(
    run(process.execPath, [launcher, 'config', 'check', 'svidgate.yaml'], folder.path),
    /no mistakes|0 mistakes|ok/i,
  );
  const server = startLoggedChild({
    name: 'svidgate',
    command: process.execPath,
    args: [launcher, 'serve', '--config', 'svidgate.yaml'],
    cwd: folder.path,
    logFile: join(folder.path, 'svidgate.log'),
  });
  await waitUntil('the policy to be active', 20_000, () => server.log().includes('"policy activated"'));
  using client = connect(`unix:${join(folder.path, 'api.sock')}`);
  assert.equal((await client.fetchSecrets(['default', 'ROOTCA'])).resources.length, 2);
  using gate = connect(`unix:${join(folder.path, 'authz.sock')}`);
  assert.equal((await gate.check({})).status?.code, 7);
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
});
