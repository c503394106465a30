/** A real Envoy that asks the gate by mTLS, while the identities on both sides change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startGateEnvoy } from '../support/gate-envoy.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { fetchIdentity, getOnce } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ID = 'spiffe://example.test';

/** Only who is proven on both sides. */
const POLICY = `package envoy.authz

default allow := false

allow if {
	input.svidgate.caller.kind == "tls"
	input.svidgate.caller.spiffe_ids == ["${ID}/envoy"]
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id == "${ID}/peer"
}
`;
const LIMIT_MS = 15_000;

test('an Envoy asks by mTLS, comes back with each new SVID, and is denied while its identity is revoked', async () => {
  await using server = await startTestServer({
    entries: entriesFor('/envoy', '/peer'),
    config: `authz:
  listen: unix:./authz.sock
  eval_timeout: 1s
  policies: { default: { path: ./authz.rego } }
  listeners:
    mesh: { listen: 127.0.0.1:0, tls: { spiffe_id: ${ID}/gate }, callers: [{ spiffe_id: ${ID}/envoy }] }
`,
    files: { 'authz.rego': POLICY },
  });
  const svidgate = cliOf(server);
  const address = server.running.addresses['gate:mesh'] ?? '';
  await using gate = await startGateEnvoy(server, {}, { address, gateId: `${ID}/gate` });
  const identity = await fetchIdentity(server.socket, `${ID}/peer`);
  const get = (): Promise<number> => getOnce({ address: gate.address, port: gate.strictPort }, identity);
  const comesBack = (why: string): Promise<unknown> =>
    waitUntil(why, LIMIT_MS, async () => ((await get()) === 200 ? true : undefined));
  await comesBack('the first answer');

  const { serial } = await fetchIdentity(server.socket, `${ID}/envoy`);
  await svidgate.text('svid', 'revoke', '--serial', serial);
  await comesBack('the next SVID of the Envoy');
  assert.notEqual((await fetchIdentity(server.socket, `${ID}/envoy`)).serial, serial);

  const { revocation_id: id } = (await svidgate.json('svid', 'revoke', '--spiffe-id', `${ID}/envoy`)) as {
    readonly revocation_id: string;
  };
  const denied = await Promise.all(Array.from({ length: 10 }, get));
  // The listener of the Envoy shows that identity, too, and may close before it answers.
  assert.ok(
    denied.every((status) => status === 403 || status === 0),
    denied.join(' '),
  );
  await svidgate.text('svid', 'unrevoke', id);
  await comesBack('an SVID of the Envoy again');

  assert.equal((await gate.counts()).ok, 0, 'nobody asked at the other port');
});
