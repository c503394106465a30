/** Check requests of Envoy's network filter: a connection, of which there is no request. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { structToJson, type CheckRequestInit, type CheckResponse } from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ID = 'spiffe://example.test';
const CONNECTIONS = `package envoy.authz

default allow := {"allowed": false}

allow := {"allowed": true, "dynamic_metadata": {"input": json.marshal(input)}} if {
	not input.attributes.request.http
	input.svidgate.peer.spiffe_id == "${ID}/peer"
	input.attributes.destination.service == "db.mesh.test"
}
`;
const REQUESTS = `package envoy.authz

default allow := false

allow if input.attributes.request.http.method == "GET"
`;

let server: TestServer;
let gate: RawClient;
let peer: PeerIdentity;
before(async () => {
  server = await startTestServer({
    entries: entriesFor('/envoy', '/peer'),
    config: `decision_log: {}
authz:
  listen: unix:./gate.sock
  path_guard: reject
  policies: { default: { path: ./connections.rego }, requests: { path: ./requests.rego } }
  listeners:
    requests: { listen: unix:./requests.sock, default_policy: requests }
`,
    files: { 'connections.rego': CONNECTIONS, 'requests.rego': REQUESTS },
  });
  gate = connect(server.gate);
  peer = await fetchIdentity(server.socket, `${ID}/peer`);
});
after(async () => {
  gate[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

function connection(service: string): CheckRequestInit {
  const address = (portValue: number) => ({ socketAddress: { address: '192.0.2.7', portValue } });
  const certificate = encodeURIComponent(peer.cert);
  return {
    attributes: {
      source: { address: address(40_000), principal: `${ID}/peer`, certificate },
      destination: { address: address(5432), principal: `${ID}/envoy`, service },
    },
  };
}

const metadataOf = ({ dynamicMetadata }: CheckResponse): Readonly<Record<string, string>> =>
  structToJson(dynamicMetadata!) as Readonly<Record<string, string>>;

test('a policy sees both sides of a connection, and the empty path of what has no request', async () => {
  const response = await gate.check(connection('db.mesh.test'));
  assert.equal(response.status?.code, 0);
  const input = JSON.parse(metadataOf(response)['input'] ?? '') as Readonly<Record<string, unknown>>;
  assert.deepEqual(input['parsed_path'], ['']);
  assert.deepEqual(input['parsed_query'], {});
  assert.equal(input['parsed_body'], null);
  assert.equal(
    (input['attributes'] as object | undefined) !== undefined && 'request' in (input['attributes'] as object),
    false,
  );
});

test('another connection is a deny, and so is one for a policy that is about requests', async () => {
  const denied = await gate.check(connection('other.mesh.test'));
  assert.deepEqual([denied.status?.code, metadataOf(denied)['reason']], [7, 'policy_denied']);
  using requests = connect(server.running.addresses['gate:requests'] ?? '');
  const undecided = await requests.check(connection('db.mesh.test'));
  assert.deepEqual([undecided.status?.code, metadataOf(undecided)['reason']], [7, 'policy_denied']);
});

test('a connection is recorded as any decision', async () => {
  const response = await gate.check(connection('db.mesh.test'));
  const id = metadataOf(response)['decision_id'] ?? 'none';
  const folder = join(server.folder, 'data/decisions');
  const line = await waitUntil('its record', 20_000, async () => {
    const files = (await readdir(folder)).filter((name) => name.endsWith('.jsonl'));
    const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
    return texts
      .join('')
      .split('\n')
      .find((each) => each.includes(id));
  });
  const { svidgate } = JSON.parse(line) as { readonly svidgate: Readonly<Record<string, unknown>> };
  assert.deepEqual(
    [svidgate['outcome'], svidgate['method'], svidgate['principal'], svidgate['listener']],
    ['allow', '-', `${ID}/peer`, 'gate'],
  );
});

test('a peer that is revoked gets no further connection', async () => {
  await cliOf(server).text('svid', 'revoke', '--serial', peer.serial);
  const denied = await gate.check(connection('db.mesh.test'));
  assert.deepEqual([denied.status?.code, metadataOf(denied)['reason']], [7, 'peer_revoked']);
});
