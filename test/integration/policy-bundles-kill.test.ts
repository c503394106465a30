/** The last good bundle on disk: kill -9 between and in the middle of its writes, and a disk that is full. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createKeptBundleFiles } from '../../src/datastore/index.ts';
import { decodeDownloadedBundle } from '../../src/policy/download/kept-bundle.ts';
import { startBundleServer } from '../support/bundle-server.ts';
import { connect } from '../support/grpc-client.ts';
import { numberedBundle, PLACE, POLICY } from '../support/kept-bundles-program.ts';
import { serveAgain } from '../support/serve-again.ts';
import { entriesFor } from '../support/server.ts';
import { unsignedBundle } from '../support/signed-bundle.ts';
import { noSmallDisk, runOnSmallDisk } from '../support/small-disk.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const PROGRAM = fileURLToPath(new URL('../support/kept-bundles-program.ts', import.meta.url));
const KILLS = 8;

/** Runs the program until it has said this many lines and a moment more, and gives the last. */
async function runAndKill(folder: string, first: number, lines: number): Promise<number> {
  const child = spawn(process.execPath, [PROGRAM, folder, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: number[] = [];
  try {
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => {
      said.push(Number(line));
      if (said.length === lines) setTimeout(() => child.kill('SIGKILL'), Math.random() * 15);
    });
    await Promise.all([once(child, 'exit'), once(reader, 'close')]);
  } finally {
    child.kill('SIGKILL');
  }
  assert.equal(child.signalCode, 'SIGKILL', 'it ends only because we ended it');
  return said.at(-1) ?? first;
}

test(`after each of ${KILLS} kills the last bundle that was written is there and whole`, async () => {
  await using folder = await tempFolder();
  let last = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    last = await runAndKill(folder.path, last + 1, 1 + Math.floor(Math.random() * 10));
    const files = createKeptBundleFiles({ path: folder.path, close: () => Promise.resolve() }, { policies: [POLICY] });
    const found = await files.load(POLICY);
    const bundle = decodeDownloadedBundle(PLACE, found?.bytes ?? new Uint8Array());
    assert.ok(bundle !== undefined, 'it is whole');
    // The kill can have come between a write and its line.
    assert.ok(bundle.downloadedAt === last || bundle.downloadedAt === last + 1, `${bundle.downloadedAt} of ${last}`);
    const { parts } = numberedBundle(bundle.downloadedAt);
    assert.ok(bundle.parts.every((part, index) => Buffer.compare(part, parts[index] ?? new Uint8Array()) === 0));
    const names = await readdir(join(folder.path, 'bundles'));
    assert.ok(names.length <= 2, `${names.join()}: no more than it and what the kill left`);
  }
});

const allowing = (path: string): string =>
  `package envoy.authz\n\ndefault allow := false\n\nallow if input.attributes.request.http.path == "${path}"\n`;
const LIMIT_MS = 60_000;

test('a server that is killed while a bundle comes decides by it, or by the one before', async () => {
  await using folder = await tempFolder();
  await using bundles = await startBundleServer();
  const publish = (number: number): void =>
    bundles.publish(unsignedBundle(allowing(`/${number}`), `r${number}`), `"${number}"`);
  await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/caller'));
  await writeFile(
    join(folder.path, 'svidgate.yaml'),
    `trust_domain: example.test
data_dir: ./data
workload_socket: ./api.sock
admin: { socket: ./admin.sock }
entries: ./entries.yaml
telemetry: { listen: 127.0.0.1:0 }
authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  policies: { default: { bundle: { url: "http://127.0.0.1:${bundles.port}/b", poll_interval: 1s } } }
`,
  );
  const isAllowed = async (path: string): Promise<boolean> => {
    using client = connect(`unix:${join(folder.path, 'authz.sock')}`);
    const { status } = await client.check({ attributes: { request: { http: { method: 'GET', path } } } });
    return status?.code === 0;
  };
  const allowed = (path: string): Promise<boolean> =>
    waitUntil(`${path} to be allowed`, LIMIT_MS, () => isAllowed(path));
  publish(0);
  await using server = await serveAgain(folder.path);
  await allowed('/0');
  for (let number = 1; number <= 3; number += 1) {
    const { length } = bundles.questions;
    publish(number);
    await waitUntil('its download', LIMIT_MS, () => bundles.questions.length > length);
    await delay(Math.random() * 3000);
    await server.stop('SIGKILL');
    await bundles.down();
    await server.start();
    const [before, now] = [await isAllowed(`/${number - 1}`), await isAllowed(`/${number}`)];
    assert.notEqual(before, now, `one of ${number - 1} and ${number} decides`);
    await bundles.up();
    await allowed(`/${number}`);
    assert.equal(await isAllowed(`/${number - 1}`), false);
  }
});

test('a full disk costs no decision, and the bundle is kept once there is room', { skip: noSmallDisk }, async () => {
  await runOnSmallDisk(fileURLToPath(import.meta.resolve('../support/bundle-full-disk.ts')), 8 * 1024 * 1024);
});
