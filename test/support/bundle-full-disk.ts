/** Run by runOnSmallDisk with 8 MB: a policy from a server whose bundles cannot be kept. Asserts, exits 0 or 1. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startBundleServer } from './bundle-server.ts';
import { connect } from './grpc-client.ts';
import { restartableServer } from './restartable-server.ts';
import { entriesFor } from './server.ts';
import { unsignedBundle } from './signed-bundle.ts';
import { waitUntil } from './wait-until.ts';

const disk = process.argv[2] ?? '';
const ballast = join(disk, 'ballast');
const LIMIT_MS = 60_000;
const FAILURES = 'svidgate_policy_keep_failures_total{policy="default"}';

/** Takes all room that is left, to the byte. */
function fill(): void {
  for (const size of [4096, 1]) {
    try {
      for (;;) writeFileSync(ballast, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
}

const allowing = (path: string): string =>
  `package envoy.authz\n\ndefault allow := false\n\nallow if input.attributes.request.http.path == "${path}"\n`;

await using bundles = await startBundleServer();
await using server = await restartableServer({
  files: { 'entries.yaml': entriesFor('/caller') },
  config: `data_dir: ${disk}/data
entries: ./entries.yaml
authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  policies: { default: { bundle: { url: "http://127.0.0.1:${bundles.port}/b", poll_interval: 1s } } }
`,
});
const isAllowed = async (path: string): Promise<boolean> => {
  using client = connect(server.gate);
  const { status } = await client.check({ attributes: { request: { http: { method: 'GET', path } } } });
  return status?.code === 0;
};

bundles.publish(unsignedBundle(allowing('/one'), 'r1'), '"r1"');
await server.start();
await waitUntil('/one to be allowed', LIMIT_MS, () => isAllowed('/one'));
await waitUntil('it on disk', LIMIT_MS, () => existsSync(join(disk, 'data/bundles/default')));
fill();

// Deciding comes first.
bundles.publish(unsignedBundle(allowing('/two'), 'r2'), '"r2"');
await waitUntil('/two to be allowed', LIMIT_MS, () => isAllowed('/two'));
await waitUntil('the failures to be counted', LIMIT_MS, async () => (await server.metric(FAILURES)) >= 2);
const told = server.lines.filter(({ message }) => message === 'bundle not kept on disk');
assert.equal(told.length, 1);
assert.match(told[0]?.reason ?? '', /ENOSPC/);

// What was kept before is whole, and nothing half written stands beside it.
assert.deepEqual(readdirSync(join(disk, 'data/bundles')), ['default']);

// With room again it is kept, without a new bundle.
rmSync(ballast);
const kept = join(disk, 'data/bundles/default');
await waitUntil('the bundle on disk', LIMIT_MS, () => readFileSync(kept, 'latin1').includes('"etag":"\\"r2\\""'));
await server.stop();
await bundles.down();
await server.start();
assert.deepEqual([await isAllowed('/one'), await isAllowed('/two')], [false, true]);
assert.equal(await server.metric('svidgate_policy_source_from_disk{policy="default"}'), 1);
