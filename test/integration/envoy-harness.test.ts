import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';
import type { YamlMap } from '../support/envoy-bootstrap.ts';
import { startEnvoy } from '../support/envoy.ts';
import { waitUntil } from '../support/wait-until.ts';

let dir = '';
let bootstrap: YamlMap = {};

before(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'sg-envoy-')));
  const address = await freeLoopbackAddress();
  const [port = 0] = await freePorts(address, 1);
  bootstrap = { admin: { address: { socket_address: { address, port_value: port } } } };
});

after(async () => rm(dir, { recursive: true, force: true }));

test('an Envoy is ready when it is handed out, runs from a link of its own, and is gone after stop', async () => {
  const envoy = await startEnvoy({ name: 'plain', bootstrap, dir });
  assert.equal((await envoy.admin('/ready')).trim(), 'LIVE');
  assert.equal(await realpath(`/proc/${envoy.pid}/exe`), join(dir, 'bin/envoy-plain'));
  assert.deepEqual(await envoy.certs(), []);
  assert.equal(await envoy.stat('server.live'), 1);
  assert.equal(await envoy.stat('no.such.stat'), undefined);
  await assert.rejects(envoy.admin('/no-such-page'), /404/);
  await envoy.stop();
  assert.equal(envoy.child.isRunning(), false);
});

test('a configuration that Envoy refuses is an error with what Envoy said', async () => {
  const refused = { ...bootstrap, no_such_field: {} };
  await assert.rejects(startEnvoy({ name: 'refused', bootstrap: refused, dir }), /no_such_field/);
});

test('an Envoy ends with the process that started it, when that is ended by a signal', async () => {
  const script = `
    import { startEnvoy } from ${JSON.stringify(import.meta.resolve('../support/envoy.ts'))};
    const envoy = await startEnvoy(${JSON.stringify({ name: 'orphan', bootstrap, dir })});
    console.log(envoy.pid);`;
  const parent = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  after(() => parent.kill('SIGKILL'));
  const [pid] = (await once(parent.stdout, 'data')) as [Buffer];
  assert.ok(isRunning(Number(pid)));
  parent.kill('SIGTERM');
  assert.deepEqual(await once(parent, 'exit'), [null, 'SIGTERM']);
  await waitUntil('Envoy to end', 5000, () => !isRunning(Number(pid)));
});

function isRunning(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) !== ''; // A zombie has a number, but no executable.
  } catch {
    return false;
  }
}
