import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { structToJson, type CheckResponse } from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { presentedSvid } from '../support/presented-svid.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const PEER = 'spiffe://example.test/peer';

/** Allows GET; its rules below are candidates. */
const POLICY = `package envoy.authz

default allow := false

allow if input.attributes.request.http.method in ["GET", "PUT"]

default stricter := false

stricter if input.attributes.request.http.method == "GET"

headers := {"allowed": allow, "headers": {"x-a": "b"}}

partial if input.attributes.request.http.method == "GET"
`;

function policies(entries: Readonly<Record<string, string>>): string {
  const lines = Object.entries(entries).map(([name, more]) => `    ${name}: { path: ./authz.rego, ${more} }\n`);
  return `authz:\n  listen: unix:./authz.sock\n  eval_timeout: 30s\n  policies:\n${lines.join('')}`;
}

const LIVE = 'entrypoint: envoy/authz/allow';
const shadow = (rule: string): string => `entrypoint: envoy/authz/${rule}, shadow_of: default`;

function start(config: string): Promise<TestServer> {
  return startTestServer({ entries: entriesFor('/caller', '/peer'), config, files: { 'authz.rego': POLICY } });
}

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly certificate?: string;
  readonly policy?: string;
  readonly route?: string;
}

async function ask(gate: RawClient, asked: Asked): Promise<CheckResponse> {
  const { method = 'GET', path = '/orders/7?token=secret', certificate = '', policy, route } = asked;
  return await gate.check(
    {
      attributes: {
        source: { certificate, principal: PEER },
        request: { http: { method, path, host: 'api.acme.test' } },
        contextExtensions: {
          ...(policy === undefined ? {} : { 'svidgate.policy': policy }),
          ...(route === undefined ? {} : { 'svidgate.route': route }),
        },
      },
    },
    { timeoutMs: 5000 },
  );
}

const isAllowed = (response: CheckResponse): boolean => response.status?.code === 0;

function metadataOf(response: CheckResponse): Readonly<Record<string, unknown>> {
  return response.dynamicMetadata === null ? {} : structToJson(response.dynamicMetadata);
}

interface Summary {
  readonly policy: string;
  readonly live_policy: string;
  readonly current: boolean;
  readonly [count: string]: unknown;
}

interface Report {
  readonly policies: readonly Summary[];
  readonly differences: readonly Readonly<Record<string, unknown>>[];
}

async function reportOf(server: { readonly folder: string }, ...args: readonly string[]): Promise<Report> {
  return (await cliOf(server).json('policy', 'shadow-report', ...args)) as Report;
}

/** Everything that was counted of one policy. */
function totalOf(summary: Summary | undefined): number {
  const names = ['same', 'other_effects', 'would_allow', 'would_deny', 'live_failed', 'candidate_failed', 'dropped'];
  return names.reduce((sum, name) => sum + Number(summary?.[name] ?? 0), 0);
}

/** When this many requests have been shown to each policy that is tried. */
async function reportAfter(server: { readonly folder: string }, count: number): Promise<Report> {
  return await waitUntil(`${count} requests to be counted`, 60_000, async () => {
    const report = await reportOf(server);
    return report.policies.every((summary) => totalOf(summary) === count) && report;
  });
}

test('candidates see the requests of their policy, change no answer, and are reported by who asked for what', async () => {
  await using server = await start(
    policies({ default: LIVE, stricter: shadow('stricter'), other: shadow('headers'), partial: shadow('partial') }),
  );
  using gate = connect(server.gate);
  const certificate = await presentedSvid(server.socket, PEER);
  const ids = new Map<string, unknown>();
  for (const method of ['GET', 'PUT', 'POST']) {
    const response = await ask(gate, { method, certificate });
    assert.equal(isAllowed(response), method !== 'POST', method);
    assert.deepEqual(response.okResponse?.headers ?? [], []);
    assert.equal(metadataOf(response)['policy'], 'default');
    ids.set(method, metadataOf(response)['decision_id']);
  }
  await ask(gate, { method: 'PUT', route: 'orders-write' });
  for (const policy of ['stricter', 'other', 'partial']) {
    const response = await ask(gate, { policy, certificate });
    assert.equal(metadataOf(response)['reason'], 'policy_not_allowed');
  }
  const { policies: summaries, differences } = await reportAfter(server, 4);
  const counts = Object.fromEntries(
    summaries.map((summary) => {
      const { policy, live_policy: live, same, other_effects, would_deny, candidate_failed } = summary;
      return [policy, [live, same, other_effects, would_deny, candidate_failed]];
    }),
  );
  assert.deepEqual(counts, {
    stricter: ['default', 2, 0, 2, 0],
    other: ['default', 0, 4, 0, 0],
    partial: ['default', 1, 0, 0, 3],
  });
  const put = differences.find((row) => row['policy'] === 'stricter' && row['principal'] === PEER);
  const { digest, first_seen, last_seen, ...rest } = put ?? {};
  assert.match(String(digest), /^[0-9a-f]{64}$/);
  assert.ok(Math.abs(Date.parse(String(first_seen)) - Date.now()) < 60_000 && first_seen === last_seen);
  assert.deepEqual(rest, {
    policy: 'stricter',
    live_policy: 'default',
    principal: PEER,
    method: 'PUT',
    route: 'api.acme.test/orders/*',
    comparison: 'would_deny',
    live: 'allow',
    candidate: 'deny',
    candidate_reason: 'policy_denied',
    count: 1,
    compared: 1,
    agreed: 0,
    sample_decision_id: ids.get('PUT'),
  });
  const named = await reportOf(server, 'stricter', '--route', 'orders-write');
  assert.deepEqual(
    named.differences.map(({ principal, route, method }) => [principal, route, method]),
    [['unverified', 'orders-write', 'PUT']],
  );
  assert.doesNotMatch(JSON.stringify(await reportOf(server)), /secret/);
  const metrics = await metricsOf(server);
  assert.match(metrics, /^svidgate_shadow_decisions_total\{policy="stricter",comparison="would_deny"\} 2$/m);
  assert.match(metrics, /^svidgate_authz_decisions_total\{policy="default",outcome="allow",reason=""\} 3$/m);
});

async function metricsOf(server: TestServer): Promise<string> {
  return await (await fetch(`http://${server.running.addresses.telemetry ?? ''}/metrics`)).text();
}

test('the report in text, its conditions, and clearing it', async () => {
  await using server = await start(policies({ default: LIVE, stricter: shadow('stricter') }));
  using gate = connect(server.gate);
  const run = cliOf(server);
  const report = (...args: readonly string[]): Promise<string> => run.text('policy', 'shadow-report', ...args);
  assert.match(await report(), /^stricter \(shadow of default, [0-9a-f]{12}\): no request was compared yet\n$/);
  await ask(gate, {});
  await reportAfter(server, 1);
  assert.match(await report('stricter'), /: no differences in 1 requests since 20\S+Z\n$/);
  for (let at = 0; at < 3; at += 1) await ask(gate, { method: 'PUT' });
  await reportAfter(server, 4);
  const text = await report('--method', 'PUT', '--principal', 'unverified', '--since', '1h');
  assert.match(text, /: 0 of 3 requests agree since \S+: 3 would be denied\nPRINCIPAL +METHOD +ROUTE/);
  assert.match(
    text,
    /\nunverified +PUT +api\.acme\.test\/orders\/\* +allow +deny +3 +0 of 3 +\S+ ago +[0-9a-f-]{36}\n$/,
  );
  assert.match(await report(), /: 1 of 4 requests agree/);
  assert.match(await report('--method', 'DELETE'), /no request was compared yet/);
  for (let at = 0; at < 4; at += 1) await ask(gate, { method: 'PUT', route: 'often' });
  await reportAfter(server, 8);
  assert.match(
    await report(),
    /\n\S+ +PUT +often .* 4 .*\n\S+ +PUT +api\.acme\.test.* 3 .*\n$/,
    'the most frequent first',
  );

  const unknown = await run('policy', 'shadow-report', 'default');
  assert.deepEqual([unknown.code, unknown.out], [1, '']);
  assert.match(unknown.err, /no policy "default" is tried/);
  for (const args of [['--clear'], ['stricter', '--clear', '--method', 'GET'], ['--since', 'yesterday']]) {
    assert.equal((await run('policy', 'shadow-report', ...args)).code, 2, args.join(' '));
  }
  assert.equal(await report('stricter', '--clear'), 'cleared the counts of stricter\n');
  assert.match(await report(), /no request was compared yet/);
  assert.match(await readFile(join(server.folder, 'data/audit/audit.jsonl'), 'utf8').catch(() => ''), CLEARED);
});

const CLEARED = /"method":"PolicyAdmin\/ClearShadowReport".*"policy":"stricter"/;

test('a new version of a candidate begins a new report; what cannot be loaded says so and denies nothing', async () => {
  await using server = await startTestServer({
    entries: entriesFor('/caller', '/peer'),
    config: `authz:
  listen: unix:./authz.sock
  eval_timeout: 30s
  policies:
    default: { path: ./authz.rego }
    next: { path: ./next.rego, shadow_of: default }
    broken: { path: ./broken.rego, shadow_of: default }
`,
    files: {
      'authz.rego': POLICY,
      'next.rego': 'package envoy.authz\n\nallow := false\n',
      'broken.rego': 'package envoy.authz\n\nallow if\n',
    },
  });
  using gate = connect(server.gate);
  const ready = await fetch(`http://${server.running.addresses.telemetry ?? ''}/ready`);
  assert.equal(ready.status, 200, 'a candidate is nothing that the gate waits for');
  assert.equal(isAllowed(await ask(gate, {})), true);
  const counts = async (...args: readonly string[]): Promise<readonly (readonly unknown[])[]> => {
    const { policies: all } = await reportOf(server, ...args);
    return all.map(({ policy, current, same, would_deny }) => [policy, current, same, would_deny]);
  };
  await waitUntil('the request to be counted', 60_000, async () => (await counts('next'))[0]?.[3] === 1);
  assert.match(await cliOf(server).text('policy', 'shadow-report', 'broken'), /not loaded, nothing is compared/);
  await server.write('next.rego', 'package envoy.authz\n\nallow := true\n');
  await waitUntil('the new version', 60_000, async () => (await counts('next'))[0]?.[3] === 0);
  assert.equal(isAllowed(await ask(gate, {})), true);
  await waitUntil('a request to be counted', 60_000, async () => (await counts('next'))[0]?.[2] === 1);
  assert.deepEqual(await counts('next', '--all-digests'), [
    ['next', true, 1, 0],
    ['next', false, 0, 1],
  ]);
});

test('under a dry run the live answer is what the policy said', async () => {
  const config = policies({ default: 'entrypoint: envoy/authz/stricter', next: shadow('allow') });
  await using server = await start(config.replace('  policies:', '  dry_run: true\n  policies:'));
  using gate = connect(server.gate);
  assert.equal(isAllowed(await ask(gate, { method: 'PUT' })), true);
  const { differences } = await reportAfter(server, 1);
  assert.deepEqual(
    differences.map(({ comparison, live, live_reason: reason, candidate }) => [comparison, live, reason, candidate]),
    [['would_allow', 'deny', 'policy_denied', 'allow']],
  );
});

test('anonymous callers are evidence of nothing', async () => {
  const config = policies({ default: LIVE, stricter: shadow('stricter') });
  const listeners = '127.0.0.1:0\n  listeners: { local: { listen: unix:./authz.sock } }';
  await using server = await start(config.replace('unix:./authz.sock', listeners));
  using anonymous = connect(server.gate);
  for (const method of ['GET', 'PUT']) assert.equal(isAllowed(await ask(anonymous, { method })), true);
  using proven = connect(`unix:${join(server.folder, 'authz.sock')}`);
  await ask(proven, { method: 'PUT' });
  // It came last, and is the only one.
  const { differences } = await reportAfter(server, 1);
  assert.deepEqual(
    differences.map(({ method, count }) => [method, count]),
    [['PUT', 1]],
  );
  assert.match(
    await metricsOf(server),
    /^svidgate_shadow_decisions_total\{policy="stricter",comparison="would_deny"\} 1$/m,
  );
});
