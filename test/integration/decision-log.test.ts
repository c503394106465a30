/** What a server writes down of the decisions of its gate. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readRecords, type DecisionRecord } from '../../src/evidence/index.ts';
import { openPolicy } from '../../src/policy/index.ts';
import { AUTHORIZATION_SERVICE, jsonToStruct, type CheckRequestInit } from '../../src/proto/index.ts';
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

interface Log {
  readonly records: readonly DecisionRecord[];
  readonly text: string;
  readonly losses: ReadonlyMap<string, { readonly records: number }>;
}

/** Ends the server first: then all is written. */
async function logOf(server: TestServer): Promise<Log> {
  await server.running.stop('the log is read');
  const folder = join(server.folder, 'data', 'decisions');
  const reading = readRecords(folder);
  const records: DecisionRecord[] = [];
  for await (const record of reading) records.push(record);
  const files = (await readdir(folder)).filter((name) => name.endsWith('.jsonl'));
  const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
  return { records, text: texts.join(''), losses: reading.counts.losses };
}

const get = (path: string, headers: Readonly<Record<string, string>> = {}): CheckRequestInit => ({
  attributes: { request: { http: { method: 'GET', host: 'orders.test', path, headers } } },
});

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

  test('is off where nothing is said', async () => {
    await using server = await startTestServer({
      entries: entriesFor('/caller'),
      config: 'authz:\n  listen: unix:./authz.sock\n  eval_timeout: 5s\n  policies:\n    default: { path: ./authz.rego }\n',
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

const RULED = `package envoy.authz

allow if {
	input.attributes.request.http.method
	input.parsed_path
	input.attributes.request.http.headers["user-agent"]
}
`;

describe('data.system.log of a policy', () => {
  const rulesOf = async (rules: string, asked: readonly CheckRequestInit[]): Promise<Log> => {
    await using server = await startTestServer({
      entries: entriesFor('/caller'),
      config: 'authz:\n  listen: unix:./authz.sock\n  eval_timeout: 5s\n  policies:\n    default: { path: ./policy }\ndecision_log: {}\n',
      files: { 'policy/authz.rego': RULED, 'policy/log.rego': rules },
    });
    {
      using client = connect(server.gate);
      for (const each of asked) await client.check(each);
    }
    return await logOf(server);
  };
  const one = get('/orders/1', { 'user-agent': 'curl/8' });

  test('removes and replaces, and the record says what', async () => {
    const { records } = await rulesOf(
      `# What OPA has in its documentation.
package system.log

mask contains "/input/attributes/request/http/headers/user-agent"
mask contains "/input/nothing/here"
mask contains {"op": "upsert", "path": "/input/parsed_path/1", "value": "**"}
mask contains {"op": "upsert", "path": "/result", "value": "seen"} if input.result == true
`,
      [one],
    );
    const [record] = records;
    assert.deepEqual(record?.input, {
      attributes: { request: { http: { method: 'GET', headers: {} } } },
      parsed_path: ['orders', '**'],
    });
    assert.equal(record?.result, 'seen');
    assert.deepEqual(record?.erased, ['/input/attributes/request/http/headers/user-agent']);
    assert.deepEqual(record?.masked?.toSorted(), ['/input/parsed_path/1', '/result']);
    assert.equal(record?.svidgate.replayable, false);
  });

  test('drops, and the number is in the log', async () => {
    const rules = 'package system.log\n\ndrop if input.input.parsed_path[0] == "health"\n';
    const { records, losses } = await rulesOf(rules, [one, get('/health', { 'user-agent': 'x' }), one]);
    assert.deepEqual([records.length, losses.get('sampled')?.records], [2, 1]);
    assert.ok(records.every(({ svidgate }) => svidgate.replayable));
  });

  const broken: Readonly<Record<string, string>> = {
    'another type': 'mask := "/input"',
    'a path of another place': 'mask contains "/svidgate"',
    'an operation that is none': 'mask contains {"op": "hide", "path": "/input"}',
    'a conflict': 'mask := x if some x in [{"/input/a"}, {"/input/b"}]',
    'an endless loop':
      'mask contains "/input/a" if count([1 | some a in numbers.range(1, 20000); some b in numbers.range(1, 20000); a * b == 0]) == 0',
  };
  for (const [what, rule] of Object.entries(broken)) {
    test(`that fails by ${what} erases everything, and loses nothing`, async () => {
      const { records } = await rulesOf(`package system.log\n\n${rule}\n`, [one]);
      const [record] = records;
      assert.equal(record?.svidgate.outcome, 'allow');
      assert.deepEqual([record?.input, record?.result], [undefined, undefined]);
      assert.deepEqual(record?.erased, ['/input', '/result']);
      assert.equal(record?.svidgate.replayable, false);
    });
  }

  test('whose drop fails drops nothing', async () => {
    const { records } = await rulesOf('package system.log\n\ndrop := "yes"\n', [one]);
    assert.deepEqual([records.length, records[0]?.result], [1, true]);
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
