/** The records of requests that an Envoy answered by the rules of a whole server, and what is made of them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { logToSvidgate, METRICS_TO_SVIDGATE } from '../support/access-log-envoy.ts';
import { logOf } from '../support/decision-log.ts';
import { startOffloadedMesh } from '../support/offloaded-mesh.ts';
import { cli, cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { fetchIdentity, tlsPeer } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 15_000;
const WEB = 'spiffe://example.test/web';
const POLICY = `package envoy.authz

default allow := false

allow if {
	input.svidgate.peer.spiffe_id == "${WEB}"
	input.attributes.request.http.method == "GET"
	input.parsed_path[0] in {"orders", "quiet"}
}

allow if input.attributes.request.http.path == "/never"
`;
const LOG_RULES = `package system.log

drop if input.input.parsed_path[0] == "quiet"
`;
const CONFIG = `authz:
  listen: unix:./authz.sock
  policies: { default: { path: ./policy, offload: on } }
decision_log: {}
telemetry: { listen: 127.0.0.1:0 }
`;

interface StatusJson {
  readonly decision_log: {
    readonly offloaded?: readonly { readonly policy: string; readonly received: number; readonly counted?: number }[];
  };
}

test('records of a whole server are replayed, and count as use of the rules that Envoy decided by', async () => {
  const files = { 'policy/authz.rego': POLICY, 'policy/log.rego': LOG_RULES };
  await using server = await startTestServer({ entries: entriesFor('/orders', '/web'), config: CONFIG, files });
  const run = cliOf(server);
  await using mesh = await startOffloadedMesh({
    ...server,
    name: 'orders',
    svid: 'spiffe://example.test/orders',
    manager: { access_log: [logToSvidgate()] },
    bootstrap: METRICS_TO_SVIDGATE,
  });
  using web = tlsPeer(mesh.gated, await fetchIdentity(server.socket, WEB));
  await waitUntil('the rules to be in force', LIMIT_MS, async () => {
    const before = await mesh.asked();
    return (await web.get('/orders/1')) === 200 && (await mesh.asked()) === before;
  });
  const asked = await mesh.asked();
  for (let count = 0; count < 50; count += 1) assert.equal(await web.get(`/orders/${count}`), 200);
  for (let count = 0; count < 3; count += 1) assert.equal(await web.get('/quiet'), 200);
  assert.equal(await web.get('/other'), 403);
  assert.equal(await mesh.asked(), asked + 1);
  const told = await waitUntil('the status to tell all of them', LIMIT_MS, async () => {
    const { offloaded = [] } = ((await run.json('status')) as StatusJson).decision_log;
    const [line] = offloaded;
    return line !== undefined && line.counted !== undefined && line.received === line.counted && line;
  });
  assert.ok(told.received >= 51);

  const { records, losses } = await logOf(server);
  const offloaded = records.filter(({ svidgate }) => svidgate.offloaded === true);
  assert.equal(offloaded.length, told.received - 3);
  assert.equal(losses.get('sampled')?.records, 3, 'the policy drops them');
  const [record] = offloaded;
  assert.deepEqual(
    [record?.svidgate.principal, record?.svidgate.principal_verified_by, record?.svidgate.replayable],
    [WEB, 'envoy', true],
  );
  assert.deepEqual(
    record?.svidgate.rules?.map(({ name, line }) => [name, line]),
    [['data.envoy.authz.allow', 5]],
  );
  const log = join(server.folder, 'data', 'decisions');
  const policy = join(server.folder, 'policy');
  const replayed = (await tool('replay', policy, log)) as { readonly replayed: number; readonly changed: number };
  assert.deepEqual([replayed.replayed, replayed.changed], [records.length, 0]);
  const usage = (await tool('unused', policy, log)) as {
    readonly rules: readonly { readonly line: number; readonly used: number }[];
  };
  assert.deepEqual(
    usage.rules.map(({ line, used }) => [line, used]),
    [
      [5, 1],
      [11, 0],
    ],
  );
});

/** A command on a policy and a log. Fails when the command does. */
async function tool(name: 'replay' | 'unused', policy: string, log: string): Promise<unknown> {
  const { code, out, err } = await cli('policy', name, '--policy', policy, '--from', log, '--output', 'json');
  assert.equal(code, 0, err);
  return JSON.parse(out) as unknown;
}
