import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock, type Clock } from '../../src/core/index.ts';
import { structToJson, type CheckRequestInit, type CheckResponse } from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { presentedSvid } from '../support/presented-svid.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const PEER = 'spiffe://example.test/peer';
/** Beyond all times that the clock is set to. */
const PATIENCE_MS = 3_600_000;

/** The machine's clock, ahead or behind by what the test says. */
function shiftedClock(): Clock & { ms: number } {
  return {
    ms: 0,
    now() {
      return systemClock.now() + this.ms;
    },
    sleep: (ms, signal) => systemClock.sleep(ms, signal),
  };
}

/** Denies everything but GET /open, with headers of its own. */
const POLICY = `package envoy.authz

allow := {"allowed": open, "headers": {"x-policy": "yes"}, "http_status": 401}

default open := false

open if input.parsed_path == ["open"]
`;

async function start(clock: Clock, config: string): Promise<RestartableServer> {
  const server = await restartableServer({
    clock,
    config: `entries: ./entries.yaml\nauthz:\n  listen: unix:./authz.sock\n  eval_timeout: 30s\n${config}`,
    files: { 'entries.yaml': entriesFor('/caller', '/peer'), 'authz.rego': POLICY },
  });
  try {
    await server.start();
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

interface Answer {
  readonly allowed: boolean;
  readonly reason: unknown;
  readonly response: CheckResponse;
}

async function ask(
  gate: RawClient,
  more: { readonly path?: string; readonly certificate?: string } = {},
): Promise<Answer> {
  const { path = '/closed', certificate = '' } = more;
  const request: CheckRequestInit = {
    attributes: { source: { certificate, principal: PEER }, request: { http: { method: 'GET', path, host: 'a' } } },
  };
  const response = await gate.check(request, { timeoutMs: PATIENCE_MS });
  const metadata = response.dynamicMetadata === null ? {} : structToJson(response.dynamicMetadata);
  return { allowed: response.status?.code === 0, reason: metadata['reason'], response };
}

const unenforced = (ms: number): string => {
  const until = new Date(Math.ceil((Date.now() + ms) / 1000) * 1000).toISOString().replace('.000Z', 'Z');
  return `  policies: { default: { path: ./authz.rego, unenforced: { until: ${until} } } }\n`;
};

test('a policy that does not decide yet lets through what it denies, until its time comes by the clock', async () => {
  const clock = shiftedClock();
  await using server = await start(clock, unenforced(300_000));
  using gate = connect(server.gate);
  const { allowed, reason, response } = await ask(gate);
  assert.deepEqual([allowed, reason], [true, 'unenforced']);
  assert.deepEqual(response.okResponse?.headers, [], 'an allow of ours has no effects of the policy');
  assert.equal((await ask(gate, { path: '/open' })).allowed, true);

  const told = server.lines.filter(({ message }) => message === 'policy not enforced: what it denies is let through');
  assert.equal(told.length, 1);
  const metric = 'svidgate_policy_unenforced_until_seconds{policy="default"}';
  assert.ok((await server.metric(metric)) * 1000 > Date.now());
  const report = async (): Promise<string> => await cliOf(server).text('policy', 'shadow-report', 'default');
  await waitUntil('both to be counted', 60_000, async () => / of 2 requests agree/.test(await report()));
  assert.match(await report(), /^default \(not enforced, .*1 would be denied, 1 would have other effects/);
  assert.equal(await server.metric('svidgate_shadow_decisions_total{policy="default",comparison="would_deny"}'), 1);
  const status = await cliOf(server).text('status');
  assert.match(status, /policy default is not enforced until 20\S+Z: its requests are let through/);
  assert.match(status, /default +active +from 20/);

  clock.ms = 310_000;
  const denied = await ask(gate);
  assert.deepEqual([denied.allowed, denied.reason], [false, 'policy_denied']);
  assert.equal(denied.response.deniedResponse?.status?.code, 401);
  assert.equal((await ask(gate, { path: '/open' })).response.okResponse?.headers.length, 1);
  assert.equal(await server.metric(metric), 0);
  assert.doesNotMatch(await cliOf(server).text('status'), /not enforced/);
  clock.ms = -310_000;
  assert.equal((await ask(gate)).allowed, false, 'for good');
});

test('everything else that denies, denies there', async () => {
  await using server = await start(
    shiftedClock(),
    `  path_guard: reject\n  deny_unregistered: true\n${unenforced(300_000)}`,
  );
  using gate = connect(server.gate);
  const certificate = await presentedSvid(server.socket, PEER);
  assert.deepEqual((await ask(gate, { certificate })).reason, 'unenforced');
  assert.deepEqual((await ask(gate, { path: '/a/../b', certificate })).reason, 'path_refused');
  assert.deepEqual((await ask(gate, { path: '/%zz', certificate })).reason, 'request_parse_error');
  await server.write('entries.yaml', entriesFor('/caller'));
  await waitUntil(
    'the entry to be gone',
    60_000,
    async () => (await ask(gate, { certificate })).reason === 'peer_unregistered',
  );
  await server.write('entries.yaml', entriesFor('/caller', '/peer'));
  await waitUntil('the entry to be back', 60_000, async () => (await ask(gate, { certificate })).allowed);
  await cliOf(server).text('svid', 'revoke', '--spiffe-id', PEER);
  const revoked = await ask(gate, { certificate });
  assert.deepEqual([revoked.allowed, revoked.reason], [false, 'peer_revoked']);
  await cliOf(server).text('svid', 'revoke', '--spiffe-id', 'spiffe://example.test/caller');
  await server.write('entries.yaml', entriesFor('/nobody-at-all').replace(/unix:uid:\d+/, 'unix:uid:4294967290'));
  await waitUntil('the caller to be nobody', 60_000, async () => (await ask(gate)).reason === 'caller_unregistered');
});

test('a policy that cannot be loaded lets requests through until its time, and denies them from then on', async () => {
  const clock = shiftedClock();
  await using server = await restartableServer({
    clock,
    config: `entries: ./entries.yaml\nauthz:\n  listen: unix:./authz.sock\n  eval_timeout: 30s\n${unenforced(300_000)}`,
    files: { 'entries.yaml': entriesFor('/caller'), 'authz.rego': 'package envoy.authz\n\nallow if\n' },
  });
  await server.start();
  using gate = connect(server.gate);
  assert.equal((await ask(gate)).reason, 'unenforced');
  clock.ms = 310_000;
  assert.equal((await ask(gate)).reason, 'not_active');
});

test('a time that has passed enforces from the start, and says so', async () => {
  await using server = await start(shiftedClock(), unenforced(-60_000));
  using gate = connect(server.gate);
  assert.equal((await ask(gate)).reason, 'policy_denied');
  assert.ok(server.lines.some(({ message }) => message === 'policy enforced: its time without has ended'));
});
