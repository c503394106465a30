/** What a server writes down of the decisions of its gate. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { openPolicy } from '../../src/policy/index.ts';
import { AUTHORIZATION_SERVICE, jsonToStruct, type CheckRequestInit } from '../../src/proto/index.ts';
import { get, logOf } from '../support/decision-log.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';

const POLICY = `package envoy.authz

default allow := false

allow if {
	input.attributes.request.http.method == "GET"
	input.parsed_path[0] == "orders"
	time.now_ns() > 0
}
`;

/** Rules that look at all of the input, and hand it on. */
const CURIOUS = `package envoy.authz

allow if input.attributes.request.http.method == "GET"

everything := {"allowed": false, "http_status": 404, "headers": {"x-all": json.marshal(input)}, "body": json.marshal(input)}

chance := {"allowed": true, "dynamic_metadata": {"id": uuid.rfc4122(json.marshal(input)), "input": input}}

wrong := json.marshal(input)

broken := x if {
	some x in [input, 1]
}
`;

function start(policies = 'default: { path: ./authz.rego }'): Promise<TestServer> {
  return startTestServer({
    entries: entriesFor('/caller'),
    config: `authz:\n  listen: unix:./authz.sock\n  eval_timeout: 5s\n  policies:\n    ${policies}\ndecision_log: { labels: { cluster: west } }\n`,
    files: { 'authz.rego': POLICY, 'curious.rego': CURIOUS },
  });
}

const UNSURE = `package envoy.authz

nothing if input.parsed_path[0] == "there"

slow if {
	input.attributes.request.http.method
	xs := numbers.range(1, 20000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 0
}
`;

describe('the decision log', () => {
  test('has a record of each outcome, with what was asked as far as it was read', async () => {
    await using server = await start();
    {
      using client = connect(server.gate);
      const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
      const traced = { 'x-request-id': 'r-1', traceparent: `00-${trace}-00f067aa0ba902b7-01` };
      await client.check(get('/orders/1', traced));
      await client.check(get('/other'));
      await client.check(get('/%zz'));
      await client.check({
        attributes: { ...get('/orders').attributes, contextExtensions: { 'svidgate.policy': 'no' } },
      });
      await client.unary(AUTHORIZATION_SERVICE.check.path, Buffer.from([0xff]));
    }
    const { records } = await logOf(server);
    assert.deepEqual(
      records.map(({ svidgate: { outcome, reason, http_status: status, method, route, caller } }) => [
        outcome,
        reason,
        status,
        `${method} ${route}`,
        caller,
      ]),
      [
        ['allow', '', 0, 'GET orders.test/orders/*', 'attested'],
        ['deny', 'policy_denied', 403, 'GET orders.test/other', 'attested'],
        ['deny', 'request_parse_error', 400, 'GET orders.test/*', 'attested'],
        ['deny', 'policy_not_allowed', 403, 'GET orders.test/orders', 'attested'],
        ['failure', 'invalid_request', 403, '- ?/', 'attested'],
      ],
    );
    const [first] = records;
    assert.deepEqual(first?.labels, { cluster: 'west' });
    assert.equal(first?.path, 'envoy/authz/allow');
    assert.equal(first?.trace_id, '4bf92f3577b34da6a3ce929d0e0e4736');
    assert.equal(first?.svidgate.request_id, 'r-1');
    assert.deepEqual(first?.svidgate.caller_ids, ['spiffe://example.test/caller']);
    assert.ok(Math.abs(Date.parse(first?.timestamp ?? '') - Date.now()) < 60_000);
    const { mode } = await stat(join(server.folder, 'data', 'decision-log.key'));
    assert.equal(mode & 0o777, 0o600);
  });

  for (const [onError, status] of [
    ['deny', 403],
    ['error_response', 500],
    ['grpc', 403],
  ] as const) {
    test(`has one record of a failure that Envoy is told as ${onError}`, async () => {
      await using server = await startTestServer({
        entries: entriesFor('/caller'),
        config:
          `authz:\n  listen: unix:./authz.sock\n  eval_timeout: 5s\n  on_error: ${onError}\n  policies:\n` +
          '    default: { path: ./authz.rego, entrypoint: envoy/authz/nothing }\n' +
          '    slow: { path: ./authz.rego, entrypoint: envoy/authz/slow }\ndecision_log: {}\n',
        files: { 'authz.rego': UNSURE },
      });
      {
        using client = connect(server.gate);
        await client.check(get('/a')).catch(() => undefined);
        const slow = { attributes: { ...get('/b').attributes, contextExtensions: { 'svidgate.policy': 'slow' } } };
        await client.check(slow, { timeoutMs: 300 }).catch(() => undefined);
      }
      const { records } = await logOf(server);
      assert.deepEqual(
        records.map(({ error, input, result, svidgate }) => [error?.message, svidgate.http_status, input, result]),
        [
          [
            'undefined_decision',
            status,
            { attributes: { request: { http: { method: 'GET' } } }, parsed_path: ['a'] },
            undefined,
          ],
          [records[1]?.error?.message, status, records[1]?.input, undefined],
        ],
      );
      // Which of the two clocks rings first is chance.
      assert.match(records[1]?.error?.message ?? '', /^(?:evaluation_timeout|deadline_exceeded|canceled)$/);
      assert.deepEqual([records[1]?.svidgate.method, records[1]?.svidgate.policy], ['GET', 'slow']);
    });
  }

  test('is off where nothing is said', async () => {
    await using server = await startTestServer({
      entries: entriesFor('/caller'),
      config:
        'authz:\n  listen: unix:./authz.sock\n  eval_timeout: 5s\n  policies:\n    default: { path: ./authz.rego }\n',
      files: { 'authz.rego': POLICY },
    });
    using client = connect(server.gate);
    await client.check(get('/orders'));
    const names = await readdir(join(server.folder, 'data'));
    assert.deepEqual(
      names.filter((name) => name.includes('decision')),
      [],
    );
  });

  test('leaves out the share of allows that its policy says, and says how many', async () => {
    await using server = await start('default: { path: ./authz.rego, decision_log: { sample_allows: 0 } }');
    {
      using client = connect(server.gate);
      for (let count = 0; count < 20; count += 1) await client.check(get(count % 2 === 0 ? '/orders' : '/other'));
    }
    const { records, losses } = await logOf(server);
    assert.deepEqual([...new Set(records.map(({ svidgate }) => svidgate.outcome))], ['deny']);
    assert.deepEqual([records.length, losses.get('sampled')?.records], [10, 10]);
  });

  test('replays: each record gives the same decision again', async () => {
    await using server = await start();
    {
      using client = connect(server.gate);
      for (let count = 0; count < 50; count += 1) {
        await client.check(get(['/orders/1', '/orders', '/other', '/'][count % 4] ?? '', { cookie: 'a=b' }));
      }
    }
    const { records } = await logOf(server);
    assert.equal(records.length, 50);
    await using policy = await openPolicy({
      path: join(server.folder, 'authz.rego'),
      entrypoint: 'envoy/authz/allow',
      signal: new AbortController().signal,
    });
    for (const { input, nd_builtin_cache: nd, svidgate } of records) {
      assert.ok(svidgate.replayable, JSON.stringify(svidgate.unreplayable));
      const answers = Object.fromEntries(
        Object.entries(nd ?? {}).map(([name, calls]) => [
          name,
          Object.fromEntries(Object.entries(calls).map(([call, answer]) => [call, JSON.stringify(answer)])),
        ]),
      );
      const decision = await policy.decide(Buffer.from(JSON.stringify(input)), { nd: answers });
      assert.equal(decision.effect, svidgate.outcome);
      assert.equal(decision.digest, svidgate.policy_digest);
    }
  });
});

/** Ways in which a secret may stand in a text. */
function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const inBase64 = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
    return text.slice(shift === 0 ? 0 : shift + 1, -4);
  });
  const inUrl = inBase64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    bytes.toString('hex'),
    ...inBase64,
    ...inUrl,
  ];
}

type Plant = (secret: string) => CheckRequestInit['attributes'] & object;

const http = (parts: object): { readonly request: { readonly http: object } } => ({
  request: { http: { method: 'GET', path: '/orders', ...parts } },
});

/** Every place of a check request that the allow-list does not have. */
const PLACES: Readonly<Record<string, Plant>> = {
  authorization: (secret) => http({ headers: { authorization: `Bearer ${secret}` } }),
  basic: (secret) => http({ headers: { authorization: `Basic ${Buffer.from(`ann:${secret}`).toString('base64')}` } }),
  cookie: (secret) => http({ headers: { cookie: `a=1; session=${secret}` } }),
  'api key': (secret) => http({ headers: { 'x-api-key': secret } }),
  'any header': (secret) => http({ headers: { 'x-anything': secret } }),
  xfcc: (secret) => http({ headers: { 'x-forwarded-client-cert': `Cert="${secret}";URI=spiffe://a/b` } }),
  'header map': (secret) =>
    http({
      headerMap: {
        headers: [
          { key: 'x-a', rawValue: Buffer.from(secret) },
          { key: 'x-b', value: secret },
        ],
      },
    }),
  'query of the path': (secret) => http({ path: `/orders?token=${encodeURIComponent(secret)}` }),
  'query name': (secret) => http({ path: `/orders?${encodeURIComponent(secret)}` }),
  ':path': (secret) => http({ headers: { ':path': `/orders?a=${encodeURIComponent(secret)}` } }),
  query: (secret) => http({ query: secret, fragment: secret }),
  body: (secret) =>
    http({ body: `{"password":${JSON.stringify(secret)}}`, headers: { 'content-type': 'application/json' } }),
  'body name': (secret) =>
    http({ body: JSON.stringify({ [secret]: 1 }), headers: { 'content-type': 'application/json' } }),
  'raw body': (secret) => http({ rawBody: Buffer.from(secret), headers: { 'content-type': 'text/plain' } }),
  form: (secret) =>
    http({ body: `a=${encodeURIComponent(secret)}`, headers: { 'content-type': 'application/x-www-form-urlencoded' } }),
  certificate: (secret) => ({ ...http({}), source: { certificate: secret } }),
  label: (secret) => ({ ...http({}), source: { labels: { a: secret } }, destination: { labels: { b: secret } } }),
  service: (secret) => ({ ...http({}), source: { service: secret } }),
  extension: (secret) => ({ ...http({}), contextExtensions: { other: secret } }),
  metadata: (secret) => ({
    ...http({}),
    metadataContext: {
      filterMetadata: { 'envoy.filters.http.jwt_authn': jsonToStruct({ payload: { email: secret, [secret]: 1 } }) },
    },
    routeMetadataContext: { typedFilterMetadata: { a: { type_url: 'type.test/A', value: Buffer.from(secret) } } },
  }),
};

describe('a secret', () => {
  test('planted in any place of a request is in no line of the log', async () => {
    const names = ['allow', 'everything', 'chance', 'wrong', 'broken'];
    const policies = names.map((name) => `${name}: { path: ./curious.rego, entrypoint: envoy/authz/${name} }`);
    await using server = await start(policies.join('\n    '));
    const planted = new Set<string>();
    {
      using client = connect(server.gate);
      const secrets = fc.oneof(
        fc.constant('').map(() => `S-${randomBytes(12).toString('hex')}`),
        fc.constant('').map(() => `ü"\\/${randomBytes(12).toString('base64')}`),
      );
      await fc.assert(
        fc.asyncProperty(
          secrets,
          fc.constantFrom(...Object.keys(PLACES)),
          fc.constantFrom(...names),
          async (secret, place, policy) => {
            planted.add(secret);
            const { contextExtensions = {}, ...attributes } = PLACES[place]?.(secret) ?? {};
            await client.check({
              attributes: { ...attributes, contextExtensions: { ...contextExtensions, 'svidgate.policy': policy } },
            });
          },
        ),
        { numRuns: 400 },
      );
      // Each place with each policy at least once.
      for (const plant of Object.values(PLACES)) {
        for (const policy of names) {
          const secret = `S-${randomBytes(12).toString('hex')}`;
          planted.add(secret);
          const { contextExtensions = {}, ...attributes } = plant(secret);
          await client.check({
            attributes: { ...attributes, contextExtensions: { ...contextExtensions, 'svidgate.policy': policy } },
          });
        }
      }
    }
    const { text, records } = await logOf(server);
    assert.equal(records.length, 400 + Object.keys(PLACES).length * names.length);
    assert.ok(new Set(records.map(({ svidgate }) => svidgate.outcome)).size > 2);
    for (const secret of planted) {
      for (const form of formsOf(secret)) assert.ok(!text.includes(form), `${secret} as ${form}`);
    }
  });
});
