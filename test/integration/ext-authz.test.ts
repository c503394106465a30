import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import {
  AUTHORIZATION_SERVICE,
  CheckResponse,
  decodeMessage,
  Secret,
  structToJson,
  unpackAny,
  type CheckRequestInit,
} from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const MAX = 1024 * 1024;
const PERMISSION_DENIED = 7;

/** Allows a verified peer to GET /allowed; tells by name what else it saw. */
const POLICY = `package envoy.authz

default allow := false

allow if {
	input.svidgate.peer.verified
	input.svidgate.peer.spiffe_id == "spiffe://example.test/peer"
	"spiffe://example.test/caller" in input.svidgate.caller.spiffe_ids
	input.attributes.request.http.method == "GET"
	input.parsed_path == ["allowed"]
}

# What these give is not known before they are asked.
text := json.unmarshal("\\"allow\\"") if input.attributes

object := json.unmarshal("{\\"allowed\\": \\"true\\"}") if input.attributes

number := json.unmarshal("1") if input.attributes

undefined_rule if input.nothing

header if input.attributes.request.http.headers["x-open"] == "sesame"

slow if {
	input.attributes.request.http.method
	xs := numbers.range(1, 3000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 0
}
`;

const ENTRYPOINTS = ['allow', 'text', 'object', 'number', 'undefined_rule', 'header', 'slow'];
const policyLine = (name: string): string =>
  `    ${name === 'allow' ? 'default' : name}: { path: ./authz.rego, entrypoint: envoy/authz/${name} }`;

function configure(options: StartOptions): string {
  const { more = '', listen = 'unix:./authz.sock', entrypoints = ['allow'] } = options;
  return `authz:\n  listen: ${listen}\n${more}  policies:\n${entrypoints.map(policyLine).join('\n')}\n`;
}

interface StartOptions {
  /** Further lines of the authz section. */
  readonly more?: string;
  readonly listen?: string;
  readonly policy?: string;
  /** One policy each; `allow` is the default one. Each is compiled, so few of them are quick. */
  readonly entrypoints?: readonly string[];
}

function start(options: StartOptions = {}): Promise<TestServer> {
  return startTestServer({
    entries: entriesFor('/caller', '/peer'),
    config: configure(options),
    files: { 'authz.rego': options.policy ?? POLICY },
  });
}

/** The leaf of our own `/peer` SVID, as Envoy would present it. */
async function presentedPeer(server: TestServer): Promise<string> {
  using client = connect(server.socket);
  const { resources } = await client.fetchSecrets(['spiffe://example.test/peer']);
  const secret = unpackAny(Secret, resources[0]!, MAX);
  return encodeURIComponent(Buffer.from(secret.tlsCertificate!.certificateChain!.inlineBytes!).toString());
}

interface RequestParts {
  readonly certificate?: string;
  readonly policy?: string;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function request(parts: RequestParts): CheckRequestInit {
  const { certificate = '', policy, method = 'GET', path = '/allowed', headers = {} } = parts;
  return {
    attributes: {
      source: { certificate, principal: 'spiffe://example.test/peer' },
      request: { http: { method, path, headers } },
      contextExtensions: policy === undefined ? {} : { 'svidgate.policy': policy },
    },
  };
}

/** What Envoy would do with the reply (§ CheckResponse of the protocol: no status, or code 0, allows). */
function summary(response: CheckResponse): {
  readonly allowed: boolean;
  readonly http?: number;
  readonly reason?: unknown;
} {
  if ((response.status?.code ?? 0) === 0) return { allowed: true };
  assert.equal(response.status?.code, PERMISSION_DENIED);
  const metadata = response.dynamicMetadata === null ? {} : structToJson(response.dynamicMetadata);
  assert.match(JSON.stringify(metadata['decision_id']), /^"[0-9a-f-]{36}"$/);
  return { allowed: false, http: response.deniedResponse?.status?.code ?? 0, reason: metadata['reason'] };
}

async function ask(client: RawClient, parts: RequestParts, timeoutMs = 5000): Promise<ReturnType<typeof summary>> {
  return summary(await client.check(request(parts), { timeoutMs }));
}

test('a verified peer with an allowed method and path is allowed, with an explicit status', async () => {
  await using server = await start();
  using client = connect(server.gate);
  const certificate = await presentedPeer(server);
  const response = await client.check(request({ certificate }));
  assert.equal(response.status?.code, 0);
  assert.notEqual(response.okResponse, null);
  assert.equal(response.deniedResponse, null);
});

test('every other request is an explicit deny with code 7 and its reason', async () => {
  await using server = await start({ more: '  eval_timeout: 300ms\n', entrypoints: ENTRYPOINTS });
  using client = connect(server.gate);
  const certificate = await presentedPeer(server);
  const cases = [
    { parts: { certificate, method: 'POST' }, http: 403, reason: 'policy_denied' },
    { parts: { certificate, path: '/allowed/x' }, http: 403, reason: 'policy_denied' },
    { parts: { certificate, path: '/../allowed' }, http: 403, reason: 'policy_denied' },
    { parts: {}, http: 403, reason: 'policy_denied' },
    { parts: { certificate: 'nonsense' }, http: 403, reason: 'policy_denied' },
    { parts: { certificate, path: '/%zz' }, http: 400, reason: 'request_parse_error' },
    { parts: { certificate, path: '/allowed?a;b' }, http: 400, reason: 'request_parse_error' },
    { parts: { certificate, policy: 'missing' }, http: 403, reason: 'policy_not_allowed' },
    { parts: { certificate, policy: '' }, http: 403, reason: 'policy_not_allowed' },
    { parts: { certificate, policy: 'constructor' }, http: 403, reason: 'policy_not_allowed' },
    { parts: { certificate, policy: 'text' }, http: 403, reason: 'wrong_type' },
    { parts: { certificate, policy: 'object' }, http: 403, reason: 'wrong_type' },
    { parts: { certificate, policy: 'number' }, http: 403, reason: 'wrong_type' },
    { parts: { certificate, policy: 'undefined_rule' }, http: 403, reason: 'undefined_decision' },
    { parts: { certificate, policy: 'slow' }, http: 403, reason: 'evaluation_timeout' },
  ];
  for (const { parts, ...expected } of cases) {
    assert.deepEqual(await ask(client, parts), { allowed: false, ...expected }, JSON.stringify(parts.policy ?? parts));
  }
  assert.deepEqual(await ask(client, { certificate }), { allowed: true }, 'and the gate still allows what it should');
});

test('bytes that are no check request, and one of 10 MB, are explicit denies', async () => {
  await using server = await start();
  using client = connect(server.gate);
  const { path } = AUTHORIZATION_SERVICE.check;
  const huge = request({ headers: { 'x-big': 'x'.repeat(10_000_000) } });
  assert.deepEqual(summary(await client.check(huge)), { allowed: false, http: 403, reason: 'too_large' });
  for (const bytes of [Buffer.from([0xff]), Buffer.from([0x0a, 0x80]), Buffer.alloc(100, 0xee)]) {
    const response = decodeMessage(CheckResponse, await client.unary(path, bytes), MAX);
    assert.deepEqual(summary(response), { allowed: false, http: 403, reason: 'invalid_request' });
  }
  assert.equal((await ask(client, {})).allowed, false);
  const empty = decodeMessage(CheckResponse, await client.unary(path, new Uint8Array()), MAX);
  assert.equal(summary(empty).allowed, false);
});

const onError = [
  {
    mode: 'error_response',
    check: (response: CheckResponse) => assert.equal(response.errorResponse?.status?.code, 500),
  },
];

for (const { mode, check } of onError) {
  test(`on_error: ${mode} tells Envoy of a failure, and still denies what the policy denies`, async () => {
    await using server = await start({ more: `  on_error: ${mode}\n`, entrypoints: ['allow', 'text'] });
    using client = connect(server.gate);
    const response = await client.check(request({ policy: 'text' }));
    assert.equal(response.status?.code, PERMISSION_DENIED);
    check(response);
    assert.deepEqual(await ask(client, {}), { allowed: false, http: 403, reason: 'policy_denied' });
  });
}

test('on_error: grpc ends the call with an error, as opa-envoy-plugin does', async () => {
  await using server = await start({ more: '  on_error: grpc\n', entrypoints: ['allow', 'text'] });
  using client = connect(server.gate);
  await assert.rejects(client.check(request({ policy: 'text' })), { code: status.INTERNAL });
  assert.deepEqual(await ask(client, {}), { allowed: false, http: 403, reason: 'policy_denied' });
});

test('a caller on TCP is anonymous: no verified peer for it, and no policy but the default one', async () => {
  await using server = await start({ listen: '127.0.0.1:0', entrypoints: ['allow', 'header'] });
  using client = connect(server.gate);
  const certificate = await presentedPeer(server);
  assert.deepEqual(await ask(client, { certificate }), { allowed: false, http: 403, reason: 'policy_denied' });
  const open = { headers: { 'x-open': 'sesame' }, policy: 'header' };
  assert.deepEqual(await ask(client, open), { allowed: false, http: 403, reason: 'policy_not_allowed' });
});

test('a caller that no entry matches is denied whatever it asks, from the next request on', async () => {
  await using server = await start({ entrypoints: ['header'] });
  using client = connect(server.gate);
  const open = { headers: { 'x-open': 'sesame' }, policy: 'header' };
  assert.deepEqual(await ask(client, open), { allowed: true });
  await server.write('entries.yaml', 'entries: []');
  const denied = await waitUntil('the entries to be gone', 5000, async () => {
    const answer = await ask(client, open);
    return answer.allowed ? undefined : answer;
  });
  assert.deepEqual(denied, { allowed: false, http: 403, reason: 'caller_unregistered' });
});

test('a caller with a revoked SPIFFE ID does not ask for that ID any more, until the revocation is undone', async () => {
  await using server = await start();
  using client = connect(server.gate);
  const svidgate = cliOf(server);
  const certificate = await presentedPeer(server);
  assert.deepEqual(await ask(client, { certificate }), { allowed: true });
  const revoked = await svidgate.json('svid', 'revoke', '--spiffe-id', 'spiffe://example.test/caller');
  assert.deepEqual(await ask(client, { certificate }), { allowed: false, http: 403, reason: 'policy_denied' });
  await svidgate.text('svid', 'unrevoke', (revoked as { readonly revocation_id: string }).revocation_id);
  assert.deepEqual(await ask(client, { certificate }), { allowed: true });
});

test('with deny_unregistered a peer whose entry is gone is denied on the open connection', async () => {
  await using server = await start({ more: '  deny_unregistered: true\n' });
  using client = connect(server.gate);
  const certificate = await presentedPeer(server);
  assert.deepEqual(await ask(client, { certificate }), { allowed: true });
  await server.write('entries.yaml', entriesFor('/caller'));
  const denied = await waitUntil('the entry to be gone', 5000, async () => {
    const answer = await ask(client, { certificate });
    return answer.allowed ? undefined : answer;
  });
  assert.deepEqual(denied, { allowed: false, http: 403, reason: 'peer_unregistered' });
});

test('a policy that does not compile at the start denies; mended it allows; broken again the last good one stays', async () => {
  await using server = await start({ policy: 'package envoy.authz\n\nallow if {' });
  using client = connect(server.gate);
  const certificate = await presentedPeer(server);
  assert.deepEqual(await ask(client, { certificate }), { allowed: false, http: 403, reason: 'not_active' });
  await server.write('authz.rego', POLICY);
  await waitUntil('the mended policy', 20_000, async () => (await ask(client, { certificate })).allowed);
  const activations = server.lines.filter(({ message }) => message === 'policy activated').length;
  await server.write('authz.rego', `${POLICY}\nbroken if {`);
  await waitUntil('the broken policy to be refused', 20_000, () =>
    server.lines.some(({ message }) => message.startsWith('policy refused')),
  );
  assert.deepEqual(await ask(client, { certificate }), { allowed: true });
  assert.equal(server.lines.filter(({ message }) => message === 'policy activated').length, activations);
});

test('a stuck policy is denied before the deadline of its caller, and costs other policies nothing', async () => {
  await using server = await start({ more: '  eval_timeout: 2s\n', entrypoints: ['header', 'slow'] });
  using client = connect(server.gate);
  const open = { headers: { 'x-open': 'sesame' }, policy: 'header' };
  await ask(client, open);
  const stuck = Promise.all([1, 2, 3].map(() => ask(client, { policy: 'slow' }, 1000)));
  const started = performance.now();
  for (let asked = 0; asked < 20; asked += 1) assert.deepEqual(await ask(client, open), { allowed: true });
  assert.ok(performance.now() - started < 900, 'twenty other decisions were made meanwhile');
  for (const answer of await stuck) assert.equal(answer.allowed, false);
});

test('whatever a check request says, it is allowed only if the policy gives an allow', async () => {
  await using server = await start({ entrypoints: ['allow', 'header', 'text'] });
  using client = connect(server.gate);
  const certificate = await presentedPeer(server);
  const anything = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    fc.constantFrom('', 'GET', '/allowed', 'sesame'),
  );
  const map = fc.dictionary(fc.oneof(anything, fc.constantFrom('x-open', 'svidgate.policy')), anything, { maxKeys: 4 });
  const peer = fc.option(
    fc.record({
      principal: fc.oneof(anything, fc.constant('spiffe://example.test/peer')),
      certificate: fc.oneof(anything, fc.constant(certificate)),
      service: anything,
      labels: map,
    }),
  );
  const http = fc.record({
    method: fc.oneof(anything, fc.constant('GET')),
    path: fc.oneof(anything, fc.constantFrom('/allowed', '//allowed', '/allowed?x=1', '/allowed?;')),
    headers: map,
    host: anything,
    body: anything,
    size: fc.integer(),
  });
  const attributes = fc.record({
    source: peer,
    destination: peer,
    request: fc.option(fc.record({ http: fc.option(http) })),
    contextExtensions: fc.oneof(
      fc.constant({}),
      map,
      fc.record({ 'svidgate.policy': fc.constantFrom('header', 'text', 'default') }),
    ),
    tlsSession: fc.option(fc.record({ sni: anything })),
  });
  let allows = 0;
  await fc.assert(
    fc.asyncProperty(fc.record({ attributes: fc.option(attributes) }), async (drawn) => {
      const { allowed } = summary(await client.check(drawn));
      const source = drawn.attributes?.source;
      const asked = drawn.attributes?.request?.http;
      const extensions: Readonly<Record<string, string>> = drawn.attributes?.contextExtensions ?? {};
      const policy = Object.hasOwn(extensions, 'svidgate.policy') ? extensions['svidgate.policy'] : 'default';
      const [path, query = ''] = (asked?.path ?? '').split('?');
      const parses = !/%|;/.test(`${path}${query}`);
      const verified =
        source?.certificate === certificate && ['', 'spiffe://example.test/peer'].includes(source.principal);
      const byDefault = verified && asked?.method === 'GET' && (path ?? '').replace(/^\/+/, '') === 'allowed';
      const byHeader =
        asked !== null &&
        asked !== undefined &&
        Object.hasOwn(asked.headers, 'x-open') &&
        asked.headers['x-open'] === 'sesame';
      const expected = parses && ((policy === 'default' && byDefault) || (policy === 'header' && byHeader));
      if (!/%/.test(`${path}${query}`)) assert.equal(allowed, expected);
      if (allowed) allows += 1;
    }),
    { numRuns: 400 },
  );
  assert.ok(allows > 0, 'some of the requests were such as the policy allows');
});
