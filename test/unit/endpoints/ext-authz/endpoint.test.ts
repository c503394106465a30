/** Faults that no real part makes on demand, put where the parts are joined. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { noMetrics, silentLogger, SvidgateError, systemClock } from '../../../../src/core/index.ts';
import { createExtAuthzEndpoint, type ExtAuthzOptions } from '../../../../src/endpoints/ext-authz/index.ts';
import { decide } from '../../../../src/policy/decision.ts';
import type { Evaluation } from '../../../../src/policy/evaluation.ts';
import { CheckRequest, CheckResponse, decodeMessage, encodeMessage } from '../../../../src/proto/index.ts';

const REQUEST = encodeMessage(CheckRequest, { attributes: { request: { http: { method: 'GET', path: '/a' } } } });
const SOURCE = { policy: 'default', digest: 'd1' };

const NOBODY = {
  peer: { verified: false, reason: 'caller_anonymous' },
  xfcc: { verified: false, reason: 'absent', elements: [] },
  tokens: [],
} as const;

const GOOD: ExtAuthzOptions = {
  attestor: { attest: () => Promise.reject(new Error('only TCP here')) },
  entries: { match: () => [] },
  policies: { decide: () => Promise.resolve({ effect: 'allow', ...SOURCE }) },
  requests: {
    verify: () => Promise.resolve(NOBODY as never),
  },
  maxRequestBytes: 4096,
  rules: {
    skipsBody: false,
    pathGuard: 'off',
    isDryRun: false,
    reply: { allowedHeaders: [], allowsSuccessOnDeny: false },
  },
  onError: 'deny',
  givesDenyBody: true,
  access: { listener: 'gate', policies: new Set(['default']), defaultPolicy: 'default' },
  clock: systemClock,
  logger: silentLogger,
  metrics: noMetrics,
};

/** What Envoy gets: from the handler, or from what answers for it when it throws, as the transport does. */
async function answer(
  options: ExtAuthzOptions,
  bytes = REQUEST,
  deadlineMs = 1000,
): Promise<CheckResponse | 'grpc error'> {
  const [method] = createExtAuthzEndpoint(options);
  assert.ok(method?.kind === 'unary');
  const call = {
    peer: { kind: 'tcp' },
    signal: new AbortController().signal,
    deadline: systemClock.now() + deadlineMs,
    header: () => [],
  } as never;
  const reply = await method.handle(bytes, call).catch((error: unknown) => method.onFault?.(SvidgateError.from(error)));
  return reply === undefined ? 'grpc error' : decodeMessage(CheckResponse, reply, 1024 * 1024);
}

function isAllowed(response: CheckResponse | 'grpc error'): boolean {
  if (response === 'grpc error') return false;
  if (response.status?.code === 0) return true;
  assert.equal(response.status?.code, 7);
  assert.equal(response.okResponse, null);
  return false;
}

describe('an allow comes of nothing but an allow', () => {
  test('the parts here do allow, so that each deny below is of its fault', async () => {
    assert.equal(isAllowed(await answer(GOOD)), true);
  });

  const never = new Promise<never>(() => undefined);
  const boom = (): never => {
    throw new Error('boom');
  };
  const faults: readonly (readonly [name: string, options: Partial<ExtAuthzOptions>, bytes?: Uint8Array])[] = [
    ['the engine throws', { policies: { decide: boom } }],
    ['the engine rejects', { policies: { decide: () => Promise.reject(new Error('boom')) } }],
    ['the engine never answers', { policies: { decide: () => never } }],
    ['the engine answers with nothing', { policies: { decide: () => Promise.resolve(undefined as never) } }],
    [
      'the engine answers in an unknown way',
      { policies: { decide: () => Promise.resolve({ effect: 'yes' } as never) } },
    ],
    ['the verifier throws', { requests: { verify: boom } }],
    ['the verifier never answers', { requests: { verify: () => never } }],
    ['the verifier gives nothing', { requests: { verify: () => Promise.resolve(undefined as never) } }],
    ['what knows of trials throws', { trials: { isUnenforced: boom, isWatched: () => false, observe: boom } }],
    ['the log throws', { logger: { ...silentLogger, debug: boom } }],
    ['the metrics throw', { metrics: { ...noMetrics, count: boom } }],
    [
      'the gRPC reader throws',
      { rules: { ...GOOD.rules, readGrpc: boom } },
      encodeMessage(CheckRequest, {
        attributes: {
          request: {
            http: { headers: { 'content-type': 'application/grpc' }, rawBody: Buffer.alloc(9), path: '/a/b' },
          },
        },
      }),
    ],
    ['the request is too large', {}, Buffer.alloc(4097)],
    ['the request is none', {}, Buffer.from([0xff])],
  ];
  for (const onError of ['deny', 'error_response', 'grpc'] as const) {
    for (const [name, options, bytes] of faults) {
      test(`${name}, with on_error: ${onError}`, async () => {
        const response = await answer({ ...GOOD, ...options, onError }, bytes, 200);
        assert.equal(isAllowed(response), false);
        if (onError === 'deny') assert.notEqual(response, 'grpc error');
      });
    }

    test(`a caller whose certificate is not accepted any more, with on_error: ${onError}`, async () => {
      const [method] = createExtAuthzEndpoint({ ...GOOD, onError });
      assert.ok(method?.kind === 'unary');
      const reply = method.onFault?.(new SvidgateError('certificate_invalid', 'the certificate is revoked'));
      assert.ok(reply !== undefined, 'a gRPC error');
      const { status, deniedResponse } = decodeMessage(CheckResponse, reply, 1024 * 1024);
      assert.deepEqual([status?.code, deniedResponse?.status?.code], [7, 403]);
    });
  }

  test('a policy that does not decide yet allows what can be read, is not asked, and nothing else is let through', async () => {
    const shown: string[] = [];
    const options: ExtAuthzOptions = {
      ...GOOD,
      policies: { decide: boom },
      trials: {
        isUnenforced: (policy) => policy === 'default',
        isWatched: () => true,
        observe: ({ policy }) => void shown.push(policy),
      },
    };
    const response = await answer(options);
    assert.equal(isAllowed(response), true);
    assert.deepEqual(shown, [], 'the caller is anonymous');
    const of = (more: object): Uint8Array => encodeMessage(CheckRequest, { attributes: more });
    const http = (path: string): object => ({ request: { http: { method: 'GET', path } } });
    const denied: readonly (readonly [bytes: Uint8Array, more?: Partial<ExtAuthzOptions>])[] = [
      [Buffer.from([0xff])],
      [Buffer.alloc(4097)],
      [of(http('/%zz'))],
      [of(http('/a/../b')), { rules: { ...GOOD.rules, pathGuard: 'reject' } }],
      [of({ ...http('/a'), contextExtensions: { 'svidgate.policy': 'other' } })],
      [REQUEST, { requests: { verify: () => Promise.resolve({ ...NOBODY, revoked: 'peer_revoked' } as never) } }],
      [REQUEST, { requests: { verify: boom } }],
    ];
    for (const [index, [bytes, more]] of denied.entries()) {
      assert.equal(isAllowed(await answer({ ...options, ...more }, bytes)), false, `case ${index}`);
    }
  });

  test('whatever the policy gives, in each configuration', async () => {
    const name = fc.oneof(fc.constantFrom('x-a', 'host', ':path', 'x-envoy-a', 'a b'), fc.string());
    const headers = fc.oneof(fc.dictionary(name, fc.oneof(fc.string(), fc.array(fc.string()))), fc.jsonValue());
    const object = fc.record(
      {
        allowed: fc.oneof(fc.boolean(), fc.jsonValue()),
        headers,
        response_headers_to_add: headers,
        request_headers_to_remove: fc.oneof(fc.array(name), fc.jsonValue()),
        query_parameters_to_set: headers,
        http_status: fc.oneof(fc.constantFrom(200, 302, 401), fc.jsonValue()),
        body: fc.oneof(fc.string(), fc.jsonValue()),
        dynamic_metadata: fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    const evaluation: fc.Arbitrary<Evaluation> = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.oneof(object, fc.boolean(), fc.jsonValue()).map((value) => ({ kind: 'value', value }) as const),
      },
      fc.constantFrom<Evaluation>(
        { kind: 'undefined' },
        { kind: 'timeout' },
        { kind: 'overloaded' },
        { kind: 'canceled' },
      ),
    );
    const rules = fc.record({
      skipsBody: fc.boolean(),
      pathGuard: fc.constantFrom('off', 'reject', 'normalize'),
      isDryRun: fc.boolean(),
      reply: fc.record({
        allowedHeaders: fc.subarray([':path', 'host', 'x-envoy-*']),
        allowsSuccessOnDeny: fc.boolean(),
      }),
    });
    const onError = fc.constantFrom('deny', 'error_response', 'grpc');
    let allows = 0;
    await fc.assert(
      fc.asyncProperty(evaluation, rules, onError, async (drawn, drawnRules, drawnOnError) => {
        const decision = decide(SOURCE, drawn);
        const options = {
          ...GOOD,
          rules: drawnRules,
          onError: drawnOnError,
          policies: { decide: () => Promise.resolve(decision) },
        };
        const allowed = isAllowed(await answer(options));
        if (allowed) allows += 1;
        const says = drawn.kind === 'value' ? drawn.value : undefined;
        const isObject = typeof says === 'object' && says !== null && 'allowed' in says;
        const saysYes = says === true || (isObject && says.allowed === true);
        const saysNo = says === false || (isObject && says.allowed === false);
        if (allowed) assert.ok(saysYes || (drawnRules.isDryRun && saysNo));
        if (says === true) assert.ok(allowed);
      }),
      { numRuns: 1500 },
    );
    assert.ok(allows > 50, `${allows} allows`);
  });
});
