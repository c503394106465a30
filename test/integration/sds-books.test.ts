/** What the server knows of its Envoys, and the further names that its socket has for them. */
import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, type SecretStream } from '../support/grpc-client.ts';
import { cliOf } from '../support/run-cli.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

interface Shown {
  readonly authorities: readonly { readonly kind: string; readonly state: string; readonly waiting_for: string[] }[];
  readonly envoys: readonly {
    readonly node_id: string;
    readonly spiffe_ids: readonly string[];
    readonly resources: readonly Readonly<Record<string, string | number | boolean>>[];
  }[];
}

async function statusOf(server: TestServer): Promise<Shown> {
  return (await cliOf(server).json('status')) as Shown;
}

/** The only resource of each Envoy, by the Envoy's name. */
async function held(server: TestServer): Promise<Map<string, Shown['envoys'][number]['resources'][number]>> {
  const { envoys } = await statusOf(server);
  return new Map(envoys.map(({ node_id: id, resources }) => [id, resources[0] ?? {}]));
}

async function metric(server: TestServer, name: string): Promise<number> {
  const response = await fetch(`http://${server.running.addresses.telemetry}/metrics`);
  const [, value] = new RegExp(`^${name} (\\S+)$`, 'm').exec(await response.text()) ?? [];
  return Number(value);
}

/** An Envoy that asks for one secret. */
async function openEnvoy(stream: SecretStream, id: string, name: string) {
  stream.send({ resourceNames: [name], node: { id } });
  const first = await stream.next();
  return {
    first,
    refuse: (response: typeof first, message: string) =>
      stream.send({
        resourceNames: [name],
        versionInfo: '',
        responseNonce: response.nonce,
        errorDetail: { code: 13, message },
      }),
  };
}

test('what Envoys refuse or do not answer is in status, metrics and log, until they accept', async () => {
  await using server = await startTestServer({ config: 'sds: { ack_timeout: 1s }' });
  using client = connect(server.socket);
  const [good, bad, mute] = [client.streamSecrets(), client.streamSecrets(), client.streamSecrets()];
  const ours = await openEnvoy(good, 'good', 'default');
  good.ack(ours.first, ['default']);
  const theirs = await openEnvoy(bad, 'bad', 'ROOTCA');
  theirs.refuse(theirs.first, 'no \u001b[31mCA');
  const silent = await openEnvoy(mute, 'mute', 'default');
  await waitUntil('two that are not applied', 20_000, async () => {
    return (await metric(server, 'svidgate_sds_unapplied_rotations')) === 2;
  });
  const shown = await held(server);
  const version = ours.first.versionInfo;
  assert.equal(silent.first.versionInfo, version, 'both have the same SVID');
  const serial = shown.get('good')?.['serial'];
  assert.match(String(serial), /^[0-9a-f]{10,}$/);
  const applied = { acknowledged: true, acknowledged_version: version, unapplied: false };
  assert.partialDeepStrictEqual(shown.get('good'), { name: 'default', kind: 'x509_svid', version, ...applied });
  assert.ok(Date.parse(String(shown.get('good')?.['expires_at'])) > Date.now());
  assert.partialDeepStrictEqual(shown.get('bad'), {
    kind: 'bundle',
    acknowledged: false,
    unapplied: true,
    last_nack: 'no \u001b[31mCA',
  });
  assert.ok(Number(shown.get('bad')?.['bundle_sequence']) >= 1);
  assert.equal(shown.get('bad')?.['acknowledged_version'], undefined);
  assert.partialDeepStrictEqual(shown.get('mute'), { acknowledged: false, unapplied: true, serial });
  const warnings = await waitUntil('both warnings', 20_000, () => {
    const found = server.lines.filter(({ message }) => message === 'envoy has not applied a secret');
    return found.length === 2 ? found : undefined;
  });
  assert.deepEqual(
    new Set(warnings.map(({ node_id: id, resource_names: names, reason }) => `${id} ${names?.join()}: ${reason}`)),
    new Set(['bad ROOTCA: refused: no \u001b[31mCA', 'mute default: no answer in 1 s']),
  );
  mute.ack(silent.first, ['default']);
  bad.cancel();
  await waitUntil('none that is not applied', 20_000, async () => {
    return (await metric(server, 'svidgate_sds_unapplied_rotations')) === 0;
  });
  assert.partialDeepStrictEqual((await held(server)).get('mute'), applied);
  assert.equal(await metric(server, 'svidgate_sds_ack_seconds_count'), 2);
  for (const stream of [good, mute]) stream.cancel();
});

test('status says which Envoys have not accepted a bundle with a new CA', async () => {
  await using server = await startTestServer({ config: 'authority: { ack_timeout: 1h }' });
  using client = connect(server.socket);
  const [quick, slow] = [client.streamSecrets(), client.streamSecrets()];
  for (const [stream, id] of [
    [quick, 'quick'],
    [slow, 'slow'],
  ] as const) {
    stream.ack((await openEnvoy(stream, id, 'ROOTCA')).first, ['ROOTCA']);
  }
  await cliOf(server).text('authority', 'prepare', 'x509');
  const waitingFor = async (): Promise<readonly string[] | undefined> =>
    (await statusOf(server)).authorities.find(({ kind, state }) => kind === 'x509' && state === 'prepared')
      ?.waiting_for;
  const [toQuick, toSlow] = [await quick.next(), await slow.next()];
  quick.ack(toQuick, ['ROOTCA']);
  await waitUntil('one that is waited for', 20_000, async () => {
    const names = await waitingFor();
    return names?.length === 1 && names[0]?.startsWith('slow (pid ');
  });
  slow.ack(toSlow, ['ROOTCA']);
  await waitUntil('nobody that is waited for', 20_000, async () => (await waitingFor())?.length === 0);
  for (const stream of [quick, slow]) stream.cancel();
});

test('the workload socket answers under its further names, which go with the server', async () => {
  const names = ['socket', 'spire-agent.sock'];
  let folder = '';
  {
    await using server = await startTestServer({
      config: `workload_socket: ./run/api.sock\nworkload_socket_aliases: [${names.join()}]`,
    });
    folder = join(server.folder, 'run');
    for (const name of names) {
      assert.equal(await readlink(join(folder, name)), 'api.sock');
      using client = connect(`unix:${join(folder, name)}`);
      assert.equal((await client.fetchSecrets(['default'])).resources.length, 1);
    }
    await server.running.stop('the names go');
    assert.deepEqual(await readdir(folder), []);
  }
});

test('a server whose further name is taken does not start, and takes nothing away', async () => {
  await assert.rejects(startTestServer({ config: 'workload_socket_aliases: [mine]', files: { mine: 'precious' } }), {
    code: 'address_in_use',
    message: /mine exists and is not a socket: remove it or choose another path/,
  });
});
