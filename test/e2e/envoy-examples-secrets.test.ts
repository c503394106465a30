import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createLocalJWKSet, jwtVerify, type JWK } from 'jose';
import { missingPrograms } from '../docs/shell.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { startExample, startVariant } from '../support/run-example.ts';
import { callOnce, peerSeen, writtenSvid, type TlsTarget } from '../support/tls-caller.ts';

const missing = missingPrograms('curl', 'openssl');

for (const envoy of envoyVersions()) {
  describe(`examples of further secrets on ${envoy.name}`, { skip: envoy.skip || missing }, () => {
    test('ingress-gateway shows the certificate from the watched files, and speaks mTLS inside', async () => {
      await using example = await startExample('ingress-gateway', envoy);
      await example.followPage();
      const ca = await readFile(join(example.folder, 'certs/web.pem'), 'utf8');
      const outside: TlsTarget = {
        address: example.address,
        port: example.port(8443),
        ca,
        serverName: 'www.acme.test',
      };
      assert.equal(await peerSeen(outside), 'spiffe://mesh.test/gateway');
      const inside = { ...outside, port: example.port(8444) };
      assert.equal((await callOnce(inside)).status, 'refused');

      await using other = await startVariant(example, {
        file: 'gateway.yaml',
        executable: 'envoy-service',
        edit: withFetchTimeout,
        upstreamPorts: new Map([[8444, example.port(8444)]]),
      });
      assert.equal((await callOnce({ ...outside, port: other.port(8443) })).status, 'refused');
    });

    test('credential-injector adds a JWT-SVID for the one audience it may ask for', async () => {
      await using example = await startExample('credential-injector', envoy);
      await example.followPage();
      const bundle = JSON.parse(await readFile(join(example.folder, 'run/bundle.json'), 'utf8')) as Bundle;
      const keys = createLocalJWKSet({ keys: bundle.keys.filter(({ use }) => use === 'jwt-svid').map(withoutUse) });
      await using upstream = await startUpstream(example.address);
      const upstreamPorts = new Map([[3001, upstream.port]]);
      await using egress = await startVariant(example, {
        file: 'web.yaml',
        executable: 'envoy-web',
        edit: (text) => text.replace('node: { id: web,', 'node: { id: web-2,'),
        upstreamPorts,
      });
      const get = async (port: number): Promise<number> => {
        const headers = { authorization: 'Bearer of-my-own' };
        return (await fetch(`http://${example.address}:${port}/`, { headers })).status;
      };
      assert.equal(await get(egress.port(8080)), 200);
      assert.equal(upstream.seen.length, 1);
      const [, token = ''] = /^Bearer (\S+)$/.exec(upstream.seen[0] ?? '') ?? [];
      const { payload } = await jwtVerify(token, keys, {
        audience: 'api.mesh.test',
        subject: 'spiffe://mesh.test/web',
      });
      // In whole seconds, of which the last one counts.
      assert.ok((payload.exp ?? Infinity) - (payload.iat ?? 0) <= 301);
      assert.deepEqual([payload.aud].flat(), ['api.mesh.test']);

      await using refused = await startVariant(example, {
        file: 'web.yaml',
        executable: 'envoy-web',
        edit: (text) => withFetchTimeout(text).replace('aud=api.mesh.test', 'aud=bank.mesh.test'),
        upstreamPorts,
      });
      assert.equal(await get(refused.port(8080)), 401);
      assert.equal(upstream.seen.length, 1);
    });

    test('session-tickets of one gateway are good at the other', async () => {
      await using example = await startExample('session-tickets', envoy);
      await example.followPage();
      const { ca } = await writtenSvid(join(example.folder, 'certs'));
      for (const port of [8443, 8444]) {
        const target = { address: example.address, port: example.port(port), ca, serverName: 'gateway.mesh.test' };
        assert.equal((await callOnce(target)).status, 200);
      }
      const plain = { resource_api_version: 'V3', api_config_source: fromSvidgate };
      await using own = await startVariant(example, {
        file: 'gateway-b.yaml',
        executable: 'envoy-gateway-b',
        // With keys of its own, as Envoy has by itself.
        edit: (text) =>
          text
            .replace(/^ +session_ticket_keys[^]*?(?=^ +common_tls_context)/m, '')
            .replaceAll('*from_svidgate', JSON.stringify(plain)),
      });
      const hello = async (port: number): Promise<string> => {
        const options = `-servername gateway.mesh.test -CAfile certs/bundle.0.pem -verify_return_error -ign_eof`;
        const at = `-connect ${example.address}:${port} -sess_in run/session`;
        return await example.shell(`openssl s_client ${at} ${options} < run/request 2> /dev/null`);
      };
      assert.match(await hello(example.port(8444)), /^Reused, TLSv1\.3/m);
      assert.match(await hello(own.port(8444)), /^New, TLSv1\.3/m);
    });

    test('istio-names serves the mesh and the files of allowed folders, by the names and the socket of Istio', async () => {
      await using example = await startExample('istio-names', envoy);
      await example.followPage();
      const certs = join(example.folder, 'certs');
      const outside: TlsTarget = {
        address: example.address,
        port: example.port(8444),
        ca: await readFile(join(certs, 'web.pem'), 'utf8'),
        serverName: 'www.acme.test',
      };
      const client = {
        cert: await readFile(join(certs, 'clients.pem'), 'utf8'),
        key: await readFile(join(certs, 'client.key'), 'utf8'),
      };
      assert.equal((await callOnce(outside, client)).status, 200);
      for (const file of ['web.pem', 'web.key']) await copyFile(join(certs, file), join(example.folder, 'run', file));
      await using elsewhere = await startVariant(example, {
        file: 'gateway.yaml',
        executable: 'envoy-gateway',
        edit: (text) =>
          withFetchTimeout(text)
            .replaceAll(/\/opt\/mesh\/certs\/(web\.\w+)/g, join(example.folder, 'run/$1'))
            .replaceAll('/opt/mesh', example.folder),
      });
      assert.equal((await callOnce({ ...outside, port: elsewhere.port(8444) }, client)).status, 'refused');
    });
  });
}

/** An Envoy that is refused a secret becomes ready without it, so that it can be asked. */
function withFetchTimeout(text: string): string {
  return text.replaceAll('initial_fetch_timeout: 0s', 'initial_fetch_timeout: 1s');
}

const fromSvidgate = {
  api_type: 'GRPC',
  transport_api_version: 'V3',
  grpc_services: [{ envoy_grpc: { cluster_name: 'svidgate', authority: 'svidgate' } }],
};

interface Bundle {
  readonly keys: readonly (JWK & { readonly use: string })[];
}

/** jose wants `use: sig` or none. */
function withoutUse({ use: _use, ...key }: Bundle['keys'][number]): JWK {
  return key;
}

interface Upstream extends AsyncDisposable {
  readonly port: number;
  /** The authorization header of each request. */
  readonly seen: readonly string[];
}

async function startUpstream(address: string): Promise<Upstream> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization ?? '');
    response.end();
  });
  server.listen(0, address);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
