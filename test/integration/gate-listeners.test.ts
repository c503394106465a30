/** Several listeners with callers and policies of their own: tenants that see nothing of one another. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type CheckResponse,
  decodeMessage,
  encodeMessage,
  HEALTH_SERVICE,
  HealthCheckRequest,
  HealthCheckResponse,
  structToJson,
} from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { jwksOf, makeJwtIssuer, signJwt, type JwtIssuer } from '../support/jwt-issuer.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';
import { connectWorkload } from '../support/workload-client.ts';

/** Tells its secret, who asked and what was found out about a token. */
const POLICY = `package envoy.authz

allow := {"allowed": true, "headers": {
	"x-secret": data.secret,
	"x-caller": json.marshal(input.svidgate.caller),
	"x-token": object.get(input.svidgate.jwt, "reason", "verified"),
}}
`;
const BROKEN = 'package envoy.authz\n\nallow if {';

interface StartOptions {
  /** Names of policies; each has a secret. */
  readonly policies: readonly string[];
  /** Further lines of the section `authz`. */
  readonly authz: string;
  readonly files?: Readonly<Record<string, string>>;
}

function start({ policies, authz, files = {} }: StartOptions): Promise<TestServer> {
  const folders = policies.flatMap((name) => [
    [`${name}/policy.rego`, POLICY],
    [`${name}/data.json`, JSON.stringify({ secret: `secret-of-${name}` })],
  ]);
  const lines = policies.map((name) => `    ${name}: { path: ./${name} }`).join('\n');
  return startTestServer({
    entries: entriesFor('/edge/one', '/other'),
    config: `authz:\n  policies:\n${lines}\n${authz}`,
    files: { ...(Object.fromEntries(folders) as Record<string, string>), ...files },
  });
}

interface Asked {
  readonly policy?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

function send(client: RawClient, { policy, headers = {} }: Asked = {}): Promise<CheckResponse> {
  const contextExtensions: Record<string, string> = policy === undefined ? {} : { 'svidgate.policy': policy };
  return client.check({ attributes: { contextExtensions, request: { http: { method: 'GET', path: '/', headers } } } });
}

interface Metadata {
  readonly decision_id: string;
  readonly policy: string;
  readonly reason?: string;
}

const metadataOf = ({ dynamicMetadata }: CheckResponse): Metadata =>
  structToJson(dynamicMetadata!) as unknown as Metadata;

/** The secret that an allow came with, or why there is none. */
async function ask(client: RawClient, asked: Asked = {}): Promise<string> {
  const response = await send(client, asked);
  if (response.status?.code === 0) return headersOf(response).get('x-secret') ?? 'no secret';
  assert.equal(response.status?.code, 7);
  return metadataOf(response).reason ?? 'no reason';
}

function headersOf({ okResponse }: CheckResponse): ReadonlyMap<string, string> {
  return new Map(okResponse?.headers.map(({ header }) => [header?.key ?? '', header?.value ?? '']));
}

async function health(client: RawClient, service = ''): Promise<number> {
  const bytes = await client.unary(HEALTH_SERVICE.check.path, encodeMessage(HealthCheckRequest, { service }));
  return decodeMessage(HealthCheckResponse, bytes, 1024).status;
}

const { SERVING, NOT_SERVING } = HealthCheckResponse.ServingStatus;
const gateOf = (server: TestServer, name: string): string => server.running.addresses[`gate:${name}`] ?? '';

/** The default of `clock_skew`. */
const CLOCK_SKEW_S = 30;

const TENANTS = `
  listen: unix:./gate.sock
  callers:
    - { spiffe_id: spiffe://example.test/edge/**, policies: [default] }
    - { spiffe_id: spiffe://example.test/nobody }
  jwt_providers:
    outside: { issuer: https://issuer.test, audiences: [api], algorithms: [ES256], jwks_file: ./jwks.json, single_use: true }
  listeners:
    red: { listen: unix:./red.sock, policies: [red], default_policy: red }
    blue: { listen: unix:./blue.sock, policies: [blue], default_policy: blue, callers: [{ spiffe_id: spiffe://example.test/other }] }
    closed: { listen: unix:./closed.sock, callers: [{ spiffe_id: spiffe://example.test/nobody }] }
    plain: { listen: 127.0.0.1:0, default_policy: blue }
`;

describe('tenants', () => {
  let server: TestServer;
  let issuer: JwtIssuer;
  /** Seconds since 1970. */
  let startedBy = 0;
  const gates = new Map<string, RawClient>();
  const at = (name: string): RawClient => gates.get(name)!;
  before(async () => {
    issuer = await makeJwtIssuer('one');
    const files = { 'jwks.json': jwksOf(issuer) };
    server = await start({ policies: ['default', 'red', 'blue', 'unserved'], authz: TENANTS, files });
    startedBy = Math.ceil(Date.now() / 1000);
    gates.set('gate', connect(server.gate));
    for (const name of ['red', 'blue', 'closed', 'plain']) gates.set(name, connect(gateOf(server, name)));
  });
  after(async () => {
    for (const client of gates.values()) client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  const cases: readonly (readonly [listener: string, policy: string | undefined, answer: string])[] = [
    ['gate', undefined, 'secret-of-default'],
    ['gate', 'default', 'secret-of-default'],
    ['gate', 'red', 'policy_not_allowed'],
    ['gate', 'nothing', 'policy_not_allowed'],
    ['gate', '', 'policy_not_allowed'],
    ['red', undefined, 'secret-of-red'],
    ['red', 'red', 'secret-of-red'],
    ['red', 'default', 'policy_not_allowed'],
    ['red', 'blue', 'policy_not_allowed'],
    ['blue', undefined, 'secret-of-blue'],
    ['blue', 'red', 'policy_not_allowed'],
    ['closed', undefined, 'caller_not_allowed'],
    ['closed', 'red', 'caller_not_allowed'],
    ['plain', undefined, 'secret-of-blue'],
    ['plain', 'blue', 'secret-of-blue'],
    ['plain', 'default', 'policy_not_allowed'],
    ['plain', 'red', 'policy_not_allowed'],
  ];
  for (const [listener, policy, answer] of cases) {
    test(`who asks for ${policy === undefined ? 'no policy' : JSON.stringify(policy)} at ${listener} gets ${answer}`, async () => {
      assert.equal(await ask(at(listener), { policy }), answer);
    });
  }

  test('the input says who asks, and where', async () => {
    const callerAt = async (name: string): Promise<unknown> => {
      const { spiffe_ids: ids, ...caller } = JSON.parse(headersOf(await send(at(name))).get('x-caller') ?? '') as {
        readonly spiffe_ids: readonly string[];
      };
      return { ...caller, spiffe_ids: ids.toSorted() };
    };
    const ids = ['spiffe://example.test/edge/one', 'spiffe://example.test/other'];
    assert.deepEqual(await callerAt('gate'), { kind: 'attested', listener: 'gate', spiffe_ids: ids });
    assert.deepEqual(await callerAt('red'), { kind: 'attested', listener: 'gate:red', spiffe_ids: ids });
    assert.deepEqual(await callerAt('plain'), { kind: 'anonymous', listener: 'gate:plain', spiffe_ids: [] });
  });

  const names = fc.oneof(
    fc.constantFrom('blue', 'default', 'unserved', 'Blue', 'blue ', 'blue\0', 'red/../blue', '__proto__', 'red,blue'),
    fc.string({ maxLength: 200, unit: 'binary' }).map((text) => text.toWellFormed()),
  );

  test('whatever policy is named, the deny says nothing of which there are', async () => {
    /** All of a reply but its random id and the beginning of the name that was asked for. */
    const shown = async (policy: string): Promise<string> => {
      const response = await send(at('red'), { policy });
      const { decision_id: id, policy: repeated, reason } = metadataOf(response);
      assert.ok(policy.startsWith(repeated) && repeated.length <= 64);
      return JSON.stringify({ ...response, dynamicMetadata: reason }).replaceAll(id, 'id');
    };
    const unknown = await shown('no-such-policy');
    const unlike = fc.asyncProperty(names, async (name) => {
      fc.pre(name !== 'red');
      assert.equal(await shown(name), unknown);
    });
    await fc.assert(unlike, { numRuns: 300 });
    const metrics = await (await fetch(`http://${server.running.addresses.telemetry}/metrics`)).text();
    assert.match(
      metrics,
      /svidgate_authz_decisions_total\{policy="",outcome="deny",reason="policy_not_allowed"\} \d{3}/,
    );
    assert.ok(!/policy="[^"]+"[^}]*policy_not_allowed/.test(metrics), 'what may not be asked counts for nobody');
  });

  test('whatever policy is named, no reply and no log line has the data of another', async () => {
    const kept = fc.asyncProperty(names, async (name) => {
      const text = JSON.stringify(await send(at('blue'), { policy: name }));
      assert.equal(text.includes('secret-of-blue'), name === 'blue');
      assert.ok(!text.replaceAll('secret-of-blue', '').includes('secret-of-'));
    });
    await fc.assert(kept, { numRuns: 300 });
    assert.ok(!JSON.stringify(server.lines).includes('secret-of-'));
  });

  test('a token for a single use is good once for each policy, and none learns where else it was used', async () => {
    // Issued after the start, even by a clock that is ahead of ours by all that it may be.
    const iat = startedBy + CLOCK_SKEW_S;
    await waitUntil('the next second', 2000, () => Date.now() >= startedBy * 1000);
    const claims = { iss: 'https://issuer.test', aud: 'api', sub: 'me', jti: 'one', iat, exp: iat + 60 };
    const headers = { authorization: `Bearer ${await signJwt(issuer, claims)}` };
    const tokenAt = async (name: string): Promise<string | undefined> =>
      headersOf(await send(at(name), { headers })).get('x-token');
    assert.equal(await ask(at('red'), { headers, policy: 'blue' }), 'policy_not_allowed');
    assert.equal(await tokenAt('red'), 'verified');
    assert.equal(await tokenAt('red'), 'replayed');
    assert.equal(await tokenAt('blue'), 'verified', 'what was used at another tenant was not used here');
    assert.equal(await tokenAt('blue'), 'replayed');
    assert.equal(await tokenAt('plain'), 'replayed', 'one policy at two listeners is one');
  });

  test('status and log say what listens where, and what nobody can ask for', async () => {
    const status = (await cliOf(server).json('status')) as {
      readonly listeners: readonly { readonly name: string; readonly address: string }[];
      readonly warnings: readonly string[];
    };
    const listeners = new Map(status.listeners.map(({ name, address }) => [name, address]));
    assert.equal(listeners.get('gate'), server.gate);
    assert.equal(listeners.get('gate:red'), `unix:${server.folder}/red.sock`);
    assert.match(listeners.get('gate:plain') ?? '', /^127\.0\.0\.1:\d+$/);
    assert.equal(await ask(at('red'), { policy: 'blue' }), 'policy_not_allowed');
    const denied = server.lines.filter(({ reason }) => reason?.startsWith('policy_not_allowed'));
    assert.equal(denied.at(-1)?.listener, 'gate:red');
    // Whoever has /nobody could ask for it, and so it is served.
    assert.deepEqual(status.warnings, []);
  });
});

test('a listener is ready when its own policies are', async () => {
  await using server = await start({
    policies: ['default', 'blue'],
    authz: '  listen: unix:./gate.sock\n  listeners: { red: { listen: unix:./red.sock, policies: [default] } }\n',
    files: { 'blue/policy.rego': BROKEN },
  });
  using red = connect(gateOf(server, 'red'));
  using all = connect(server.gate);
  const service = 'envoy.service.auth.v3.Authorization';
  assert.deepEqual([await health(red), await health(red, service)], [SERVING, SERVING]);
  assert.deepEqual([await health(all), await health(all, service)], [NOT_SERVING, NOT_SERVING]);
  assert.equal(await ask(all, { policy: 'blue' }), 'not_active');
  assert.equal(await ask(all), 'secret-of-default');
  await server.write('blue/policy.rego', POLICY);
  await waitUntil('the policy to be active', 20_000, async () => ((await health(all)) === SERVING ? true : undefined));
  assert.equal(await ask(all, { policy: 'blue' }), 'secret-of-blue');
});

test('a policy that nobody can ask for is a warning', async () => {
  await using server = await start({ policies: ['default', 'blue'], authz: '  listen: 127.0.0.1:0\n' });
  const says = 'no caller of any listener may ask for it';
  assert.deepEqual(
    server.lines.filter(({ message }) => message === says).map(({ policy }) => policy),
    ['blue'],
  );
  const { warnings } = (await cliOf(server).json('status')) as { readonly warnings: readonly string[] };
  assert.deepEqual(warnings, ['no caller of any listener may ask for policy blue']);
});

test('a listener that cannot open leaves no other open, and whoever has its address undisturbed', async () => {
  await using first = await start({ policies: ['default'], authz: '  listen: unix:./gate.sock\n' });
  const authz = `  listen: 127.0.0.1:0\n  listeners: { second: { listen: "${first.gate}" } }\n`;
  await assert.rejects(start({ policies: ['default'], authz }), { code: 'already_running' });
  using client = connect(first.gate);
  assert.equal(await ask(client), 'secret-of-default');
});

test('told to stop, the gate is not healthy first, and decides on until its time is over', async () => {
  const authz = '  listen: unix:./gate.sock\n  drain_time: 2s\n';
  await using server = await start({ policies: ['default'], authz });
  using client = connect(server.gate);
  using streams = connectWorkload(server.gate, []);
  const watch = streams.stream(HEALTH_SERVICE.watch.path, encodeMessage(HealthCheckRequest, {}));
  const next = async (): Promise<number> => decodeMessage(HealthCheckResponse, await watch.next(), 1024).status;
  assert.equal(await next(), SERVING);
  assert.equal(await ask(client), 'secret-of-default');
  const stopped = server.running.stop('the test stops it');
  assert.equal(await next(), NOT_SERVING);
  assert.equal(await health(client), NOT_SERVING);
  assert.equal(await ask(client), 'secret-of-default');
  using late = connect(server.gate);
  assert.equal(await ask(late), 'secret-of-default', 'on a new connection, too');
  await stopped;
});
