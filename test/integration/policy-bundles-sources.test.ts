/** Sources with the real reader of bundles: changes over HTTP, a registry, and a server that does wrong. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { startBundleServer, type BundleServer } from '../support/bundle-server.ts';
import { connect } from '../support/grpc-client.ts';
import { startOciRegistry, type OciRegistry } from '../support/oci-registry.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { entriesFor } from '../support/server.ts';
import { unsignedBundle } from '../support/signed-bundle.ts';
import { tarGz } from '../support/tar-file.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 60_000;
const REPOSITORY = 'acme/authz';
/** Who may is data. */
const POLICY = `package envoy.authz

default allow := false

allow if data.paths[input.attributes.request.http.path]
`;

let bundles: BundleServer;
let registry: OciRegistry;
let server: RestartableServer;

beforeEach(async () => {
  bundles = await startBundleServer({ canWait: true });
  registry = await startOciRegistry({ repository: REPOSITORY, credentials: 'gate:secret' });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await bundles[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

async function open(bundle: string): Promise<void> {
  server = await restartableServer({
    files: { 'entries.yaml': entriesFor('/caller'), token: 'gate:secret' },
    config: `entries: ./entries.yaml
authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  policies: { default: { bundle: { ${bundle}, poll_interval: 1s, timeout: 2s } } }
`,
  });
  await server.start();
}

async function isAllowed(path: string): Promise<boolean> {
  using client = connect(server.gate);
  const { status } = await client.check({ attributes: { request: { http: { method: 'GET', path } } } });
  return status?.code === 0;
}

const allowed = (path: string): Promise<boolean> => waitUntil(`${path} to be allowed`, LIMIT_MS, () => isAllowed(path));

const MANIFEST = { revision: 'r1', roots: ['envoy', 'paths'] };

function snapshot(paths: object): Uint8Array {
  return tarGz([
    { path: '.manifest', content: JSON.stringify(MANIFEST) },
    { path: 'envoy/authz.rego', content: POLICY },
    { path: 'paths/data.json', content: JSON.stringify(paths) },
  ]);
}

function delta(revision: string, ...data: readonly object[]): Uint8Array {
  return tarGz([
    { path: '.manifest', content: JSON.stringify({ ...MANIFEST, revision }) },
    { path: 'patch.json', content: JSON.stringify({ data }) },
  ]);
}

test('changes come by long polling, and are there after a restart without the server', async () => {
  bundles.publish(snapshot({ '/one': true }), '"r1"');
  await open(`url: "http://127.0.0.1:${bundles.port}/b", long_poll: 60s`);
  await allowed('/one');
  await waitUntil('a question that waits', LIMIT_MS, () =>
    /wait=60/.test(String(bundles.questions.at(-1)?.headers['prefer'])),
  );
  bundles.publishDelta('"r1"', delta('r2', { op: 'upsert', path: '/paths/~1two', value: true }), '"r2"');
  await allowed('/two');
  assert.equal(await isAllowed('/one'), true);
  await waitUntil(
    'a question with the new tag',
    LIMIT_MS,
    () => bundles.questions.at(-1)?.headers['if-none-match'] === '"r2"',
  );
  bundles.publishDelta('"r2"', delta('r3', { op: 'remove', path: '/paths/~1one' }), '"r3"');
  await waitUntil('/one to be denied', LIMIT_MS, async () => !(await isAllowed('/one')));
  assert.equal(await isAllowed('/two'), true);
  await server.stop();
  await bundles.down();
  await server.start();
  assert.deepEqual([await isAllowed('/one'), await isAllowed('/two')], [false, true]);
});

test('a change that does not fit is made good by the whole', async () => {
  bundles.publish(snapshot({ '/one': true }), '"r1"');
  await open(`url: "http://127.0.0.1:${bundles.port}/b"`);
  await allowed('/one');
  bundles.publish(snapshot({ '/three': true }), '"r3"');
  bundles.publishDelta('"r1"', delta('r3', { op: 'replace', path: '/elsewhere/x', value: 1 }), '"r3"');
  await allowed('/three');
  assert.equal(await isAllowed('/one'), false);
});

test('a bundle from a registry decides, and the next one that its tag names', async () => {
  registry.pushBundle(snapshot({ '/one': true }), 'live');
  await open(`url: "oci://127.0.0.1:${registry.port}/${REPOSITORY}:live", token_file: ./token`);
  await allowed('/one');
  registry.pushBundle(snapshot({ '/two': true }), 'live');
  await allowed('/two');
  assert.equal(await isAllowed('/one'), false);
});

test('whatever a server does, the last good bundle decides, and the next good one is taken', async () => {
  const first = snapshot({ '/0': true });
  bundles.publish(first, '"0"');
  await open(`url: "http://127.0.0.1:${bundles.port}/b"`);
  await allowed('/0');
  const faults: readonly (readonly [name: string, fault: NonNullable<BundleServer['fault']>, reason: RegExp])[] = [
    ['half a tarball', (_, response) => void response.writeHead(200).end(first.subarray(0, first.length / 2)), /./],
    ['HTML', (_, response) => void response.writeHead(200).end('<html>'), /no bundle/],
    ['silence', () => undefined, /did not answer in full within 2000 ms/],
    [
      'another bundle without a policy',
      (_, response) => void response.writeHead(200).end(unsignedBundle('package other', 'r')),
      /entrypoint/,
    ],
  ];
  for (const [index, [name, fault, reason]] of faults.entries()) {
    const { length } = server.lines;
    bundles.fault = fault;
    await waitUntil(`${name} to be told`, LIMIT_MS, () =>
      server.lines.slice(length).some((line) => line.level === 'warn' && reason.test(line.reason ?? '')),
    );
    assert.equal(await isAllowed(`/${index}`), true, name);
    bundles.fault = undefined;
    bundles.publish(snapshot({ [`/${index + 1}`]: true }), `"${index + 1}"`);
    await allowed(`/${index + 1}`);
  }
  await bundles.down();
  await waitUntil('its absence to be told', LIMIT_MS, () =>
    server.lines.some((line) => /ECONNREFUSED/.test(line.reason ?? '')),
  );
  assert.equal(await isAllowed(`/${faults.length}`), true);
});
