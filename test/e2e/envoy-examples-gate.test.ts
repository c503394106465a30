import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { root } from '../../tools/setup/paths.mjs';
import { missingPrograms } from '../docs/shell.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { startLoggedChild } from '../support/logged-child.ts';
import { startExample, startVariant, type RunningExample } from '../support/run-example.ts';
import { waitUntil } from '../support/wait-until.ts';

const missing = missingPrograms('curl', 'openssl');

const [newest = assert.fail('no Envoy')] = envoyVersions();

// What these show is decided behind the same call of each Envoy; their bootstraps are tried on all (envoy-examples.test.ts).
describe(`examples of the gate on ${newest.name}`, { skip: newest.skip || missing }, () => {
  test("opa-migration decides as OPA's plugin did, by its configuration and its Rego", async () => {
    await using example = await startExample('opa-migration', newest);
    await example.followPage();

    // Where the plugin listened, for an Envoy as it was.
    const tcp = `s|unix:./run/authz.sock|${example.address}:${example.port(9191)}|; s|/run/|/run/tcp-|`;
    await example.shell(`sed '${tcp}; s|^telemetry.*|data_dir: ./tcp-data|' svidgate.yaml > tcp.yaml`);
    await example.shell(`echo 'telemetry: { listen: off }' >> tcp.yaml`);
    await using open = new AsyncDisposableStack();
    const svidgate = startLoggedChild({
      name: 'svidgate on TCP',
      command: process.execPath,
      args: [join(root, 'bin/svidgate.mjs'), 'serve', '--config', 'tcp.yaml'],
      cwd: example.folder,
      logFile: join(example.folder, 'run/tcp.log'),
    });
    open.defer(async () => void (await svidgate.stop()));
    await using unchanged = await startVariant(example, {
      file: 'tickets.yaml',
      executable: 'envoy-tickets',
      edit: (text) =>
        text.replace('{ pipe: { path: ./run/authz.sock } }', /It was (.*)\.$/m.exec(text)?.[1] ?? 'not said'),
      upstreamPorts: new Map([[9191, example.port(9191)]]),
    });
    const token = (await example.shell('node issuer.mjs token reader')).trim();
    const ask = async (path: string): Promise<number> => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(`http://${example.address}:${unchanged.port(8080)}${path}`, { headers })).status;
    };
    await waitUntil('the gate on TCP', 60_000, async () => (await ask('/tickets/7')) === 200);
    assert.equal(await ask('/tickets/7/notes'), 403, svidgate.log());
  });

  test('jwt-gateway knows clients by tokens of an outside issuer, and believes no header of theirs', async () => {
    await using example = await startExample('jwt-gateway', newest);
    await example.followPage();
    assert.match(example.log(), /token of login claim_mismatch/);
  });

  test('xfcc-two-hops believes each proxy by the word of the next', async () => {
    await using example = await startExample('xfcc-two-hops', newest);
    await example.followPage();
    for (const reason of ['xfcc writer_mismatch', 'xfcc writer_not_trusted']) {
      assert.ok(example.log().includes(reason), reason);
    }
  });

  test('shadow shows what a candidate would deny, and takes it into force', async () => {
    await using example = await startExample('shadow', newest);
    await example.followPage();
    assert.match(example.log(), /not enforced: what it denies is let through/);
    assert.match(example.log(), /peer_revoked/);
  });
});

for (const envoy of envoyVersions()) {
  describe(`examples of the gate and the peer on ${envoy.name}`, { skip: envoy.skip || missing }, () => {
    test('policy-per-route asks the policy that the route names, and denies where there is none', async () => {
      await using example = await startExample('policy-per-route', envoy);
      await example.followPage();
    });

    test('xfcc-one-hop believes the gateway about its clients, and nobody about himself', async () => {
      await using example = await startExample('xfcc-one-hop', envoy);
      await using forwarding = await startVariant(example, {
        file: 'gateway.yaml',
        executable: 'envoy-gateway',
        // The mistake that lets a client begin the header.
        edit: (text) => text.replace('SANITIZE_SET', 'APPEND_FORWARD'),
        upstreamPorts: new Map([[8444, example.port(8444)]]),
      });
      await untilServing(example);
      await example.shell('svidgate svid fetch --config svidgate.yaml --write certs');
      const call = async (svid: number, forged = ''): Promise<string> => {
        const at = `--resolve gateway.mesh.test:${forwarding.port(8443)}:${example.address}`;
        const tls = `--cacert certs/bundle.0.pem --cert certs/svid.${svid}.pem --key certs/svid.${svid}.key`;
        const url = `https://gateway.mesh.test:${forwarding.port(8443)}/`;
        const header = forged === '' ? '' : `-H 'x-forwarded-client-cert: ${forged}'`;
        return await example.shell(`curl -s -o run/body -w '%{http_code}' ${at} ${tls} ${header} ${url}`);
      };
      assert.equal(await call(0), '200');
      assert.equal(await call(1), '403');
      for (const by of ['gateway', 'batch', 'service']) {
        assert.equal(await call(1, `By=spiffe://mesh.test/${by};URI=spiffe://mesh.test/web`), '403', by);
      }
      assert.equal(await call(0, 'By=spiffe://mesh.test/gateway;URI=spiffe://mesh.test/web'), '403', 'web, of itself');
      await example.followPage();
      for (const reason of ['xfcc writer_mismatch', 'xfcc writer_not_trusted', 'client_revoked']) {
        assert.ok(example.log().includes(reason), reason);
      }
    });

    test('gate-mtls answers callers on its list, and Envoy takes nobody else for the gate', async () => {
      await using example = await startExample('gate-mtls', envoy);
      await example.followPage();
      await example.shell('ln -L bin/envoy-orders bin/envoy-billing || cp bin/envoy-orders bin/envoy-billing');
      const upstreamPorts = new Map([[9191, example.port(9191)]]);
      const renamed = (text: string): string => text.replace('node: { id: orders,', 'node: { id: orders-2,');
      const elsewhere = (text: string): string => text.replace('mesh.test/gate', 'mesh.test/web');
      for (const [executable, edit, status] of [
        ['orders', renamed, '200'],
        ['billing', renamed, '403'],
        ['orders', elsewhere, '403'],
      ] as const) {
        const file = { file: 'orders.yaml', executable: `envoy-${executable}` };
        await using variant = await startVariant(example, { ...file, edit, upstreamPorts });
        const port = variant.port(8443);
        const at = `--resolve ${executable}.mesh.test:${port}:${example.address}`;
        const tls = '--cacert certs/bundle.0.pem --cert certs/svid.0.pem --key certs/svid.0.key';
        const url = `https://${executable}.mesh.test:${port}/orders/7`;
        assert.equal(await example.shell(`curl -s -o run/body -w '%{http_code}' ${at} ${tls} ${url}`), status);
        const errors = await variant.envoy.stat('http.orders.ext_authz.error');
        assert.equal((errors ?? 0) > 0, status === '403', `${executable}: denied by Envoy, as nobody answers`);
      }
      assert.match(example.log(), /not_a_caller/);
    });
  });
}

/** Until each policy is compiled every request is denied. */
async function untilServing(example: RunningExample): Promise<void> {
  await waitUntil('svidgate to be ready', 60_000, async () => {
    return (await fetch(`http://${example.address}:${example.port(9988)}/ready`)).ok;
  });
}
