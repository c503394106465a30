/** svidgate is told to stop while a real Envoy asks: whatever is asked until its time is over has an answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  decodeMessage,
  encodeMessage,
  HEALTH_SERVICE,
  HealthCheckRequest,
  HealthCheckResponse,
} from '../../src/proto/index.ts';
import { startGateEnvoy } from '../support/gate-envoy.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { fetchIdentity, getOnce } from '../support/tls-peer.ts';

const POLICY = `package envoy.authz

default allow := false

allow if input.parsed_path == ["quick"]

# A tenth of a second, or a few.
allow if {
	input.parsed_path == ["slow"]
	xs := numbers.range(1, 100)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 0
}
`;
const DRAIN_MS = 2000;

test('a gate that is told to stop answers everything that is asked while it drains, and all that is under way', async () => {
  await using server = await startTestServer({
    entries: entriesFor('/envoy', '/peer'),
    config: `authz:
  listen: unix:./authz.sock
  drain_time: ${DRAIN_MS}ms
  eval_timeout: 1800ms
  policies: { default: { path: ./authz.rego } }
`,
    files: { 'authz.rego': POLICY },
  });
  await using gate = await startGateEnvoy(server);
  const identity = await fetchIdentity(server.socket, 'spiffe://example.test/peer');
  const statuses: number[] = [];
  // Envoy denies there where nobody answers.
  const ask = async (path: string): Promise<void> => {
    statuses.push(await getOnce({ address: gate.address, port: gate.strictPort }, identity, path));
  };
  const over = new AbortController();
  const keepAsking = async (): Promise<void> => {
    while (!over.signal.aborted) await ask('/quick');
  };
  const asking = [keepAsking(), keepAsking(), keepAsking()];
  await delay(300);
  const stopping = server.running.stop('the test stops it');
  using client = connect(server.gate);
  const bytes = await client.unary(HEALTH_SERVICE.check.path, encodeMessage(HealthCheckRequest, {}));
  assert.equal(decodeMessage(HealthCheckResponse, bytes, 1024).status, HealthCheckResponse.ServingStatus.NOT_SERVING);
  // As an Envoy that looks after its health would, they ask elsewhere before the time is over.
  await delay(DRAIN_MS * 0.7);
  over.abort();
  const underWay = [ask('/slow'), ask('/slow')];
  await Promise.all([...asking, ...underWay, stopping]);
  assert.ok(statuses.length > 10);
  assert.deepEqual(new Set(statuses), new Set([200]), `of ${statuses.length} requests`);
  assert.equal((await gate.envoy.stat('http.strict.ext_authz.error')) ?? 0, 0);
  assert.equal(await getOnce({ address: gate.address, port: gate.strictPort }, identity, '/quick'), 403);
});
