/** The policy commands with a server that runs: decisions that it recorded, entries that it issues. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRecords, type DecisionRecord } from '../../src/evidence/index.ts';
import { connect } from '../support/grpc-client.ts';
import { presentedSvid } from '../support/presented-svid.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const PEER = 'spiffe://example.test/peer';

const POLICY = `package envoy.authz

default allow := false

# METADATA
# title: peers that read
allow if {
	peer in data.readers
	request.method == "GET"
	not denied_at_night
}

allow if {
	peer == "spiffe://example.test/nobody"
	request.headers["x-reason"] == "cleaning"
}

peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true

request := input.attributes.request.http

denied_at_night if time.clock(time.now_ns())[0] > 30
`;

const CONFIG = `authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  policies:
    default: { path: ./policy, entrypoint: envoy/authz/allow }
decision_log: {}
`;

async function recordsOf(folder: string): Promise<readonly DecisionRecord[]> {
  const records: DecisionRecord[] = [];
  for await (const record of readRecords(join(folder, 'data/decisions'))) records.push(record);
  return records;
}

test('decisions of a server that runs are explained, and its entries are known', async () => {
  await using server = await startTestServer({
    entries: entriesFor('/caller', '/peer'),
    config: CONFIG,
    files: { 'policy/authz.rego': POLICY, 'policy/data.yaml': `readers: ["${PEER}"]\n` },
  });
  const certificate = await presentedSvid(server.socket, PEER);
  using gate = connect(server.gate);
  const ask = async (method: string): Promise<void> => {
    const http = { method, path: '/orders', host: 'api.acme.test', headers: { cookie: 'secret' } };
    await gate.check({ attributes: { source: { certificate, principal: PEER }, request: { http } } });
  };
  await ask('GET');
  await ask('PUT');
  const [allowed, denied] = await waitUntil('two records', 20_000, async () => {
    const records = await recordsOf(server.folder);
    return records.length >= 2 && records;
  });
  const run = cliOf(server);

  const allow = await run.text('policy', 'explain', allowed?.decision_id ?? '');
  assert.match(
    allow,
    /: allow\nGET .* of spiffe:\/\/example\.test\/peer\n\nallowed by envoy\.authz\.allow \(peers that read\), authz\.rego:7\n/,
  );
  assert.doesNotMatch(allow, /note:/);

  const deny = await run.text('policy', 'explain', denied?.decision_id ?? '');
  assert.match(deny, /authz\.rego:9: request\.method == "GET" {3}must hold\n {6}request\.method = "PUT"\n/);
  assert.doesNotMatch(deny, /note:/);

  // The files of then are kept: what is on disk now does not matter.
  await server.write('policy/authz.rego', 'package envoy.authz\n\ndefault allow := false\n');
  assert.equal(await run.text('policy', 'explain', denied?.decision_id ?? ''), deny);
  await server.write('policy/authz.rego', POLICY);

  const checked = await run('policy', 'check', join(server.folder, 'policy'));
  assert.deepEqual([checked.code, checked.err], [0, '']);
  assert.match(
    checked.out,
    /authz\.rego:14:10: warning: no entry issues spiffe:\/\/example\.test\/nobody \(principal_unissued\)/,
  );
  assert.match(checked.out, /policy: 1 warning\n$/);
});
