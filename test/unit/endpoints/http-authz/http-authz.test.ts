import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { noMetrics, silentLogger, SvidgateError, systemClock, type ErrorCode } from '../../../../src/core/index.ts';
import { splitAskedPath } from '../../../../src/endpoints/http-authz/asked-path.ts';
import { createHttpAuthzEndpoint, type HttpAuthzOptions } from '../../../../src/endpoints/http-authz/index.ts';
import { decide } from '../../../../src/policy/decision.ts';
import type { HttpHeader, HttpReply } from '../../../../src/transport/index.ts';

const SOURCE = { policy: 'default', digest: 'd1' };
const SCHEMES = ['envoy', 'nginx', 'traefik'] as const;

const GOOD: HttpAuthzOptions = {
  scheme: 'envoy',
  path: { prefix: '/', hasPolicy: false },
  isPeerInXfcc: false,
  attestor: { attest: () => Promise.reject(new Error('only TLS here')) },
  entries: { match: () => [] },
  policies: { decide: () => Promise.resolve({ effect: 'allow', ...SOURCE }) },
  requests: {
    verify: () =>
      Promise.resolve({
        peer: { verified: false, reason: 'no_certificate' },
        xfcc: { verified: false, reason: 'absent', elements: [] },
        tokens: [],
      }),
  },
  rules: {
    skipsBody: false,
    pathGuard: 'off',
    isDryRun: false,
    reply: { allowedHeaders: [], allowsSuccessOnDeny: true },
  },
  onError: 'deny',
  givesDenyBody: true,
  access: { listener: 'http', policies: new Set(['default']), defaultPolicy: 'default' },
  clock: systemClock,
  logger: silentLogger,
  metrics: noMetrics,
};

const HEADERS: Readonly<Record<(typeof SCHEMES)[number], readonly HttpHeader[]>> = {
  envoy: [['host', 'a.test']],
  nginx: [
    ['host', 'a.test'],
    ['x-original-uri', '/a'],
    ['x-original-method', 'GET'],
  ],
  traefik: [
    ['x-forwarded-method', 'GET'],
    ['x-forwarded-proto', 'https'],
    ['x-forwarded-host', 'a.test'],
    ['x-forwarded-uri', '/a'],
    ['x-forwarded-for', '192.0.2.7'],
  ],
};

function ask(options: HttpAuthzOptions, headers = HEADERS[options.scheme], target = '/'): Promise<HttpReply> {
  const endpoint = createHttpAuthzEndpoint(options);
  return endpoint
    .handle({
      peer: { kind: 'tls', connectionId: 1, address: '', spiffeId: 'spiffe://example.test/edge', serial: '1' },
      signal: new AbortController().signal,
      method: 'GET',
      target,
      headers,
      body: Buffer.alloc(0),
    })
    .catch((error: unknown) => endpoint.onFault(SvidgateError.from(error)));
}

describe('an allow comes of nothing but an allow', () => {
  for (const scheme of SCHEMES) {
    test(`${scheme}: the parts here do allow, with exactly the headers that are needed`, async () => {
      const options = { ...GOOD, scheme };
      assert.equal((await ask(options)).status, 200);
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...HEADERS[scheme].keys()),
          fc.constantFrom('missing', 'twice', 'empty'),
          async (index, how) => {
            const [name = '', value = ''] = HEADERS[scheme][index] ?? [];
            const others = HEADERS[scheme].toSpliced(index, 1);
            const changed: readonly HttpHeader[] =
              how === 'missing'
                ? others
                : how === 'twice'
                  ? [...HEADERS[scheme], [name, value]]
                  : [...others, [name, '']];
            assert.equal((await ask(options, changed)).status, 403, `${name} ${how}`);
          },
        ),
      );
    });
  }

  test('whatever the policy gives: 200 for an allow, and for all else never 1xx, 2xx, 5xx nor a header that splits', async () => {
    const name = fc.oneof(
      fc.constantFrom('x-a', 'host', ':path', 'connection', 'x-svidgate-policy', 'a b'),
      fc.string(),
    );
    const headers = fc.dictionary(name, fc.oneof(fc.string(), fc.array(fc.string())), { maxKeys: 3 });
    const object = fc.record(
      {
        allowed: fc.oneof({ weight: 5, arbitrary: fc.boolean() }, fc.jsonValue()),
        headers,
        response_headers_to_add: headers,
        request_headers_to_remove: fc.array(name, { maxLength: 2 }),
        query_parameters_to_set: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, headers),
        http_status: fc.constantFrom(100, 200, 204, 226, 302, 401, 404, 500, 503, 511),
        body: fc.string(),
        dynamic_metadata: fc.dictionary(fc.string(), fc.jsonValue()),
        svidgate: fc.constantFrom({}, { jwt_svid: { audience: 'a' } }, { jwt_svid: {} }, 1),
      },
      { requiredKeys: [] },
    );
    const value = fc.oneof({ weight: 5, arbitrary: object }, fc.boolean(), fc.jsonValue());
    let allows = 0;
    await fc.assert(
      fc.asyncProperty(value, fc.constantFrom(...SCHEMES), async (given, scheme) => {
        const decision = decide(SOURCE, { kind: 'value', value: given });
        const options = { ...GOOD, scheme, policies: { decide: () => Promise.resolve(decision) } };
        const { status, headers: sent } = await ask(options);
        if (decision.effect === 'deny') assert.notEqual(status, 200);
        if (status === 200) allows += 1;
        else assert.ok(status >= 300 && status <= 499, String(status));
        for (const [header, text] of sent) {
          assert.match(header, /^[!#$%&'*+.^_`|~0-9a-z-]+$/);
          // oxlint-disable-next-line no-control-regex
          assert.match(text, /^[\t\u0020-\u007e\u0080-\u00ff]*$/);
        }
      }),
      { numRuns: 1000 },
    );
    assert.ok(allows > 50, String(allows));
  });

  const codes: readonly ErrorCode[] = [
    'invalid_request',
    'too_large',
    'canceled',
    'certificate_invalid',
    'shutting_down',
    'internal',
  ];
  for (const onError of ['deny', 'error_response', 'grpc'] as const) {
    test(`faults of the connection, with on_error: ${onError}`, () => {
      for (const code of codes) {
        const { status } = createHttpAuthzEndpoint({ ...GOOD, onError }).onFault(new SvidgateError(code, 'x'));
        const isOurs = code === 'shutting_down' || code === 'internal';
        assert.equal(status, isOurs && onError === 'error_response' ? 500 : 403, code);
      }
    });

    test(`a policy that cannot decide, with on_error: ${onError}`, async () => {
      const policies = { decide: () => Promise.reject(new Error('boom')) };
      assert.equal((await ask({ ...GOOD, onError, policies })).status, onError === 'error_response' ? 500 : 403);
    });
  }
});

const paths: readonly (readonly [target: string, prefix: string, hasPolicy: boolean, split: unknown])[] = [
  ['/', '/', false, { rest: '/' }],
  ['/a?b', '/', false, { rest: '/a?b' }],
  ['/check/a', '/check', false, { rest: '/a' }],
  ['/check', '/check', false, { rest: '' }],
  ['/checked', '/check', false, undefined],
  ['/CHECK/a', '/check', false, undefined],
  ['/check/p/a/b?c', '/check', true, { policy: 'p', rest: '/a/b?c' }],
  ['/check/p', '/check', true, { policy: 'p', rest: '' }],
  ['/check/p?a', '/check', true, undefined],
  ['/check//p', '/check', true, undefined],
  ['/check/../p', '/check', true, undefined],
  ['/check/', '/check', true, undefined],
  ['/check', '/check', true, undefined],
  ['http://a/check/p', '/check', true, undefined],
  ['*', '/', false, undefined],
];
test('a path is split at what the configuration names, and nowhere else', () => {
  for (const [target, prefix, hasPolicy, split] of paths) {
    assert.deepEqual(splitAskedPath(target, { prefix, hasPolicy }), split, target);
  }
});
