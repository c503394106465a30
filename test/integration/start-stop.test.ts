import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { configFolder, serve, writeConfig } from '../support/cli.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor } from '../support/server.ts';

const WITH_ENTRIES = 'entries: ./entries.yaml';

/** What the second start on something that is taken must say, in one line. */
function assertRefused(output: { readonly out: string; readonly err: string }, pattern: RegExp): void {
  assert.match(output.err, pattern);
  assert.equal(output.err.trimEnd().split('\n').length, 1, output.err);
  assert.doesNotMatch(output.out, /svidgate started/);
}

describe('start and stop of the real program', { timeout: 120_000 }, () => {
  test('SIGTERM ends streams with UNAVAILABLE, removes sockets and pid file, and exits with 0', async () => {
    await using folder = await configFolder(
      `${WITH_ENTRIES}\ntelemetry: { listen: unix:./telemetry.sock }\nauthz: { listen: unix:./authz.sock, policies: { default: { path: ./p } } }`,
    );
    await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/a'));
    await mkdir(join(folder.path, 'p'));
    await writeFile(join(folder.path, 'p/p.rego'), 'package envoy.authz\nallow := true\n');
    await using server = serve(folder.path);
    await server.started();
    const pidFile = join(folder.path, 'data/svidgate.pid');
    assert.equal(await readFile(pidFile, 'utf8'), `${server.child.pid}\n`);
    using client = connect(`unix:${join(folder.path, 'api.sock')}`);
    const stream = client.streamSecrets();
    stream.send({ resourceNames: ['default'] });
    await stream.next();
    server.child.kill('SIGTERM');
    assert.equal((await stream.ended).code, status.UNAVAILABLE);
    assert.equal(await server.ended, 0, server.output.err);
    assert.deepEqual((await readdir(folder.path)).sort(), ['data', 'entries.yaml', 'p', 'svidgate.yaml']);
    await assert.rejects(stat(pidFile), { code: 'ENOENT' });
    assert.equal(server.output.err, '');
  });

  test('a start after kill -9 takes over: the same CA, the stale sockets replaced', async () => {
    await using folder = await configFolder(WITH_ENTRIES);
    await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/a'));
    const bundles: Buffer[] = [];
    for (let round = 0; round < 2; round += 1) {
      await using server = serve(folder.path);
      await server.started();
      using client = connect(`unix:${join(folder.path, 'api.sock')}`);
      const { resources } = await client.fetchSecrets(['ROOTCA']);
      bundles.push(Buffer.from(resources[0]?.value ?? []));
      server.child.kill('SIGKILL');
      assert.equal(await server.ended, 'SIGKILL');
      assert.ok((await stat(join(folder.path, 'api.sock'))).isSocket());
    }
    assert.deepEqual(bundles[0], bundles[1]);
  });

  test('a second instance on the same data directory is refused with the pid of the first, which goes on', async () => {
    await using folder = await configFolder();
    await writeConfig(folder.path, 'second.yaml', 'workload_socket: ./other.sock');
    await using first = serve(folder.path);
    await first.started();
    await using second = serve(folder.path, 'second.yaml');
    assert.equal(await second.ended, 1);
    assertRefused(
      second.output,
      new RegExp(`data_dir .*/data is in use .*process ${first.child.pid}.*already_running`),
    );
    assert.equal(first.child.exitCode, null);
    assert.equal(await readFile(join(folder.path, 'data/svidgate.pid'), 'utf8'), `${first.child.pid}\n`);
    await assert.rejects(stat(join(folder.path, 'other.sock')), { code: 'ENOENT' });
  });

  test('a second instance on the same socket is refused, and the first stays reachable', async () => {
    await using folder = await configFolder(WITH_ENTRIES);
    await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/a'));
    await writeConfig(folder.path, 'second.yaml', 'data_dir: ./other');
    await using first = serve(folder.path);
    await first.started();
    await using second = serve(folder.path, 'second.yaml');
    assert.equal(await second.ended, 1);
    assertRefused(second.output, /socket .*\/api\.sock is in use: another process answers on it \(already_running\)/);
    using client = connect(`unix:${join(folder.path, 'api.sock')}`);
    assert.equal((await client.fetchSecrets(['default'])).resources.length, 1);
    await assert.rejects(stat(join(folder.path, 'other/svidgate.pid')), { code: 'ENOENT' });
  });

  test('something at the socket path that is no socket is refused and stays', async () => {
    await using folder = await configFolder();
    await writeFile(join(folder.path, 'api.sock'), 'precious');
    await using server = serve(folder.path);
    assert.equal(await server.ended, 1);
    assertRefused(server.output, /api\.sock exists and is not a socket.*address_in_use/);
    assert.equal(await readFile(join(folder.path, 'api.sock'), 'utf8'), 'precious');
  });

  test('a telemetry port in use is refused by its address, and nothing is left behind', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    try {
      await using folder = await configFolder(`telemetry: { listen: 127.0.0.1:${port} }`);
      await using server = serve(folder.path);
      assert.equal(await server.ended, 1);
      assertRefused(server.output, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port} .*address_in_use`));
      assert.deepEqual((await readdir(folder.path)).sort(), ['data', 'svidgate.yaml']);
    } finally {
      other.close();
    }
  });

  const entries: readonly { name: string; make: (file: string) => Promise<unknown>; complaint: RegExp }[] = [
    { name: 'missing', make: () => Promise.resolve(), complaint: /entries\.yaml:1:1: .*it does not exist/ },
    { name: 'a folder', make: (file) => mkdir(file), complaint: /entries\.yaml:1:1: .*not a regular file/ },
    { name: 'a loop of links', make: (file) => symlink(file, file), complaint: /entries\.yaml:1:1: .*loop/ },
    {
      name: 'not YAML',
      make: (file) => writeFile(file, 'entries:\n  - [a'),
      complaint: /entries\.yaml:\d:\d+: not valid YAML/,
    },
  ];

  for (const { name, make, complaint } of entries) {
    test(`an entries file that is ${name} is told with its place, with exit code 2`, async () => {
      await using folder = await configFolder(WITH_ENTRIES);
      await make(join(folder.path, 'entries.yaml'));
      await using server = serve(folder.path);
      assert.equal(await server.ended, 2);
      assert.match(server.output.err, complaint);
      await assert.rejects(stat(join(folder.path, 'api.sock')), { code: 'ENOENT' });
    });
  }

  test('a data directory that cannot be used is told by its path', async () => {
    await using folder = await configFolder();
    await writeFile(join(folder.path, 'data'), '');
    await using server = serve(folder.path);
    assert.equal(await server.ended, 1);
    assertRefused(server.output, /data_dir .*\/data cannot be used.*file_unreadable/);
  });

  test('keys in a folder that others can read are closed to them at the start', async () => {
    await using folder = await configFolder();
    for (const path of ['data', 'data/keys', 'data/datastore']) {
      await mkdir(join(folder.path, path));
      await chmod(join(folder.path, path), 0o777);
    }
    await using server = serve(folder.path);
    await server.started();
    for (const path of ['data/keys', 'data/datastore']) {
      assert.equal((await stat(join(folder.path, path))).mode & 0o777, 0o700);
    }
  });
});
