/** A real Envoy at the gate: over the Unix socket, where its caller is proven, and over loopback, where it is not. */
import assert from 'node:assert/strict';
import { request } from 'node:https';
import { test } from 'node:test';
import { pemCertificates, pemEncode } from '../../src/pki/index.ts';
import { Secret, unpackAny } from '../../src/proto/index.ts';
import { forgeAround } from '../support/forged-certificate.ts';
import { startGateEnvoy, type GateEnvoy } from '../support/gate-envoy.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';

const POLICY = `package envoy.authz

default allow := false

allow if input.parsed_path == ["open"]

allow if {
	input.parsed_path == ["peer"]
	input.svidgate.peer.verified
	input.svidgate.peer.spiffe_id == "spiffe://example.test/peer"
	"spiffe://example.test/envoy" in input.svidgate.caller.spiffe_ids
}

allow if {
	input.parsed_path == ["anonymous"]
	input.svidgate.caller.kind == "anonymous"
	input.svidgate.peer == {"verified": false, "reason": "caller_anonymous"}
}

allow if {
	input.parsed_path == ["slow"]
	xs := numbers.range(1, 3000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 0
}
`;

interface Identity {
  readonly cert: string;
  readonly key: string;
}

async function peerIdentity(server: TestServer): Promise<Identity> {
  using client = connect(server.socket);
  const { resources } = await client.fetchSecrets(['spiffe://example.test/peer']);
  const { tlsCertificate } = unpackAny(Secret, resources[0]!, 1024 * 1024);
  return {
    cert: Buffer.from(tlsCertificate!.certificateChain!.inlineBytes!).toString(),
    key: Buffer.from(tlsCertificate!.privateKey!.inlineBytes!).toString(),
  };
}

interface Parts {
  readonly identity?: Identity;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Where to ask; by default where only an explicit deny denies. */
  readonly port?: number;
}

/** The status that Envoy answers with; 0 when it closes the connection without one. */
function get(at: GateEnvoy, path: string, parts: Parts = {}): Promise<number> {
  return new Promise((resolve) => {
    const { identity, headers = {}, body = '', port = at.port } = parts;
    const host = at.address;
    const method = body === '' ? 'GET' : 'POST';
    const options = { host, port, path, method, headers, rejectUnauthorized: false, agent: false, timeout: 10_000 };
    const sent = request({ ...options, ...identity }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on('error', () => resolve(0));
    sent.end(body);
  });
}

const doors = [
  { listen: 'unix:./authz.sock', name: 'the Unix socket', isProven: true },
  { listen: '127.0.0.1:0', name: 'loopback', isProven: false },
];

for (const { listen, name, isProven } of doors) {
  test(`over ${name} Envoy is told allow or deny for every request, until svidgate stops`, async (t) => {
    await using server = await startTestServer({
      entries: entriesFor('/envoy', '/peer'),
      config: `authz:
  listen: ${listen}
  eval_timeout: 300ms
  max_request_bytes: 65536
  policies: { default: { path: ./authz.rego, entrypoint: envoy/authz/allow } }
`,
      files: { 'authz.rego': POLICY },
    });
    const identity = await peerIdentity(server);
    await using gate = await startGateEnvoy(server);
    let asked = 0;
    const expect = async (path: string, status: number, parts: Parts = {}): Promise<void> => {
      asked += 1;
      assert.equal(await get(gate, path, parts), status);
    };

    await t.test('what the policy allows, and what it denies', async () => {
      await expect('/open', 200);
      await expect('/open?x=1', 200, { identity });
      await expect('/closed', 403, { identity });
      await expect('/open/../closed', 403);
      await expect('/open;x', 403);
      await expect('/open%zz', 400);
    });

    await t.test('a peer is verified only where the caller is proven, too', async () => {
      await expect('/peer', isProven ? 200 : 403, { identity });
      await expect('/peer', 403);
      await expect('/anonymous', isProven ? 403 : 200, { identity });
    });

    await t.test('certificates that nobody we know has signed', async () => {
      const [genuine] = pemCertificates(identity.cert);
      const { der, keyPem } = await forgeAround(genuine!, 'spiffe://example.test/peer');
      await expect('/open', 200, { identity: { cert: pemEncode('CERTIFICATE', der), key: keyPem } });
      await expect('/peer', 403, { identity: { cert: pemEncode('CERTIFICATE', der), key: keyPem } });
    });

    await t.test('a policy that does not end is a deny within the time that Envoy gives', async () => {
      const startedAt = performance.now();
      await expect('/slow', 403);
      assert.ok(performance.now() - startedAt < 1900);
      await expect('/open', 200);
    });

    await t.test('requests larger than the gate takes', async () => {
      await expect('/open', 403, { headers: { 'x-large': 'x'.repeat(1_000_000) } });
      await expect('/open', 403, { body: 'x'.repeat(10_000_000) });
      const refusedByEnvoy = await get(gate, '/open', { headers: { 'x-large': 'x'.repeat(10_000_000) } });
      assert.ok([0, 431].includes(refusedByEnvoy), `10 MB of headers: ${refusedByEnvoy}`);
      await expect('/open', 200);
    });

    const { ok, denied, error } = await gate.counts();
    assert.equal(error, 0, 'Envoy was told what to do each time');
    assert.equal(ok + denied, asked);

    const { strictPort } = gate;
    assert.equal(await get(gate, '/open', { port: strictPort }), 200);
    await server.running.stop('the test stops it');
    for (const path of ['/open', '/peer', '/closed']) assert.equal(await get(gate, path, { port: strictPort }), 403);
  });
}
