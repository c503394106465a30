/** `serve` with a policy from a bundle server, proven in both directions by SVIDs, through its absence and restarts. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { startBundleServer, type BundleServer } from '../support/bundle-server.ts';
import { connect } from '../support/grpc-client.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor } from '../support/server.ts';
import { createBundleSigner, unsignedBundle } from '../support/signed-bundle.ts';
import { fetchIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ID = 'spiffe://example.test';
const LIMIT_MS = 60_000;
const FROM_DISK = 'svidgate_policy_source_from_disk{policy="default"}';
const signer = createBundleSigner();
const stranger = createBundleSigner();

const allowing = (path: string): string =>
  `package envoy.authz\n\ndefault allow := false\n\nallow if input.attributes.request.http.path == "${path}"\n`;

const configFor = (port: number): string => `entries: ./entries.yaml
authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  policy_keys:
    release: { algorithm: ES256, public_key_file: ./release.pem }
  policies:
    default:
      verify: { keys: [release] }
      bundle:
        url: https://127.0.0.1:${port}/authz.tar.gz
        poll_interval: 1s
        timeout: 5s
        tls: { spiffe_id: ${ID}/gate, server_spiffe_id: ${ID}/bundles }
`;

let bundles: BundleServer;
let server: RestartableServer;

beforeEach(async () => {
  bundles = await startBundleServer({ tls: { requestCert: true, rejectUnauthorized: true } });
  server = await restartableServer({
    config: configFor(bundles.port),
    files: { 'entries.yaml': entriesFor('/bundles', '/other'), 'release.pem': signer.publicKey },
  });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await bundles[Symbol.asyncDispose]();
});

/** Has the bundle server show the SVID of this ID, and take those of our trust domain. */
async function showAs(path: string): Promise<void> {
  const { key, cert } = await fetchIdentity(server.socket, `${ID}${path}`);
  const ca = await cliOf(server).text('bundle', 'show', '--format', 'pem');
  bundles.secure({ key, cert, ca });
}

async function isAllowed(path: string): Promise<boolean> {
  using client = connect(server.gate);
  const { status } = await client.check({ attributes: { request: { http: { method: 'GET', path } } } });
  return status?.code === 0;
}

const allowed = (path: string): Promise<boolean> => waitUntil(`${path} to be allowed`, LIMIT_MS, () => isAllowed(path));

interface Status {
  readonly policies: readonly {
    readonly problem?: string;
    readonly source: {
      readonly address: string;
      readonly from_disk: boolean;
      readonly last_contact_at?: string;
      readonly last_error?: string;
    };
  }[];
  readonly warnings: readonly string[];
}

const status = async (): Promise<Status> => (await cliOf(server).json('status')) as Status;

test('a signed bundle decides, from a server that is proven and to whom we are', async () => {
  await server.start();
  assert.equal(await isAllowed('/one'), false);
  bundles.publish(signer.bundle(allowing('/one'), 'r1'), '"r1"');
  await showAs('/bundles');
  await allowed('/one');
  assert.equal(await isAllowed('/two'), false);
  assert.equal(bundles.questions.at(-1)?.client, `URI:${ID}/gate`);
  assert.equal(await server.metric(FROM_DISK), 0);

  // A new revision is live at the next question.
  bundles.publish(signer.bundle(allowing('/two'), 'r2'), '"r2"');
  await allowed('/two');
  assert.equal(await isAllowed('/one'), false);

  // Whoever else shows an SVID of ours is not the server.
  const { length } = bundles.questions;
  bundles.publish(signer.bundle(allowing('/three'), 'r3'), '"r3"');
  await showAs('/other');
  const isTold = (reason: RegExp): boolean => server.lines.some((line) => reason.test(line.reason ?? ''));
  await waitUntil('the refusal of the server', LIMIT_MS, () =>
    isTold(/is not the server that is expected: it is .*\/other/),
  );
  assert.equal(bundles.questions.length, length);
  assert.equal(await isAllowed('/two'), true);

  // Neither does a bundle count that nobody signed, or somebody else.
  for (const [bundle, reason] of [
    [unsignedBundle(allowing('/three'), 'r3'), /missing/],
    [stranger.bundle(allowing('/three'), 'r4'), /verif/],
  ] as const) {
    bundles.publish(bundle, `"${String(reason)}"`);
    await showAs('/bundles');
    await waitUntil('the refusal of the bundle', LIMIT_MS, async () =>
      reason.test((await status()).policies[0]?.problem ?? ''),
    );
    assert.deepEqual([await isAllowed('/two'), await isAllowed('/three')], [true, false]);
  }
});

test('after a restart the last good one decides while the server is away, and the next one when it is back', async () => {
  await server.start();
  bundles.publish(signer.bundle(allowing('/one'), 'r1'), '"r1"');
  await showAs('/bundles');
  await allowed('/one');
  await server.stop();
  await bundles.down();

  await server.start();
  assert.equal(await isAllowed('/one'), true);
  assert.equal(await server.metric(FROM_DISK), 1);
  assert.ok(server.lines.some(({ message }) => message.endsWith('its last good bundle is taken')));
  const { policies, warnings } = await status();
  const source = policies[0]?.source;
  assert.equal(source?.address, `https://127.0.0.1:${bundles.port}/authz.tar.gz`);
  assert.equal(source.from_disk, true);
  assert.match(source.last_error ?? '', /cannot be asked/);
  assert.ok(Date.now() - Date.parse(source.last_contact_at ?? '') < 60_000);
  assert.ok(warnings.some((warning) => /^policy default: .* what is there was kept on disk: /.test(warning)));
  const text = await cliOf(server).text('status');
  assert.match(text, /POLICY +SOURCE +REACHED +CHANGED +FROM +PROBLEM\ndefault +https:.* disk +127/);

  bundles.publish(signer.bundle(allowing('/two'), 'r2'), '"r2"');
  await bundles.up();
  await showAs('/bundles');
  await allowed('/two');
  assert.equal(bundles.questions.at(-1)?.headers['if-none-match'], '"r1"');
  assert.equal(await server.metric(FROM_DISK), 0);
  assert.deepEqual((await status()).warnings, []);
});

test('an entry that gives callers what is shown to the server is told', async () => {
  await server.write('entries.yaml', entriesFor('/gate'));
  await server.start();
  const { warnings } = await status();
  assert.ok(warnings.includes(`an entry gives ${ID}/gate, which the gate shows, to callers`));
});

test('after a restart nothing decides that is signed by a key which does not count any more', async () => {
  await server.start();
  bundles.publish(signer.bundle(allowing('/one'), 'r1'), '"r1"');
  await showAs('/bundles');
  await allowed('/one');
  await server.stop();
  await bundles.down();
  await server.write('release.pem', stranger.publicKey);
  await server.start();
  assert.equal(await isAllowed('/one'), false);
  bundles.publish(stranger.bundle(allowing('/two'), 'r2'), '"r2"');
  await bundles.up();
  await showAs('/bundles');
  await allowed('/two');
});
