import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { allowReply, denyReply, errorReply } from '../../../../src/endpoints/ext-authz/check-reply.ts';
import { bodyForm } from '../../../../src/gate/deny-body.ts';
import { refusedInAllow, refusedInDeny } from '../../../../src/gate/reply-rules.ts';
import { readAnswer } from '../../../../src/policy/decision-effects.ts';
import { CheckResponse, decodeMessage, structToJson } from '../../../../src/proto/index.ts';
import type { AllowEffects } from '../../../../src/policy/index.ts';

const FACTS = { decisionId: 'd-1', policy: 'default' };
const STRICT = { allowedHeaders: [], allowsSuccessOnDeny: false };
const read = (bytes: Uint8Array): CheckResponse => decodeMessage(CheckResponse, bytes, 1024 * 1024);

function effectsOf(answer: object): AllowEffects {
  const read = readAnswer({ allowed: true, ...answer });
  assert.ok(read.kind === 'allow' && read.effects !== undefined);
  return read.effects;
}

describe('an allow', () => {
  test('has an explicit status, sorted headers with an explicit append, and the decision id', () => {
    const effects = effectsOf({
      headers: { 'X-B': ['1', '2'], 'x-a': 'a' },
      response_headers_to_add: { 'Set-Cookie': ['c=1', 'd=2'] },
      request_headers_to_remove: ['X-Secret'],
      query_parameters_to_set: { q: '1' },
      query_parameters_to_remove: ['r'],
      dynamic_metadata: { team: 'red', decision_id: 'forged', policy: 'own' },
    });
    const response = read(allowReply(FACTS, effects));
    assert.equal(response.status?.code, 0);
    assert.equal(response.deniedResponse, null);
    const ok = response.okResponse;
    const flat = (headers: NonNullable<typeof ok>['headers']): unknown =>
      headers.map(({ header, append }) => [header?.key, header?.value, append?.value]);
    assert.deepEqual(flat(ok!.headers), [
      ['x-a', 'a', false],
      ['x-b', '1', false],
      ['x-b', '2', true],
    ]);
    assert.deepEqual(flat(ok!.responseHeadersToAdd), [
      ['set-cookie', 'c=1', true],
      ['set-cookie', 'd=2', true],
    ]);
    assert.deepEqual(ok!.headersToRemove, ['x-secret']);
    assert.deepEqual(
      ok!.queryParametersToSet.map(({ key, value }) => [key, value]),
      [['q', '1']],
    );
    assert.deepEqual(ok!.queryParametersToRemove, ['r']);
    assert.deepEqual(structToJson(response.dynamicMetadata!), { team: 'red', decision_id: 'd-1', policy: 'own' });
  });

  test('in a dry run says what would have been', () => {
    const { status, dynamicMetadata } = read(allowReply({ ...FACTS, reason: 'policy_denied', isDryRun: true }));
    assert.equal(status?.code, 0);
    const expected = { policy: 'default', reason: 'policy_denied', dry_run: true, decision_id: 'd-1' };
    assert.deepEqual(structToJson(dynamicMetadata!), expected);
  });
});

describe('a deny', () => {
  const deny = { httpStatus: 403 } as const;

  test('has what the policy gives it', () => {
    const effects = { headers: [{ name: 'Location', value: '/login' }], httpStatus: 302, dynamicMetadata: { a: 1 } };
    const response = read(denyReply({ ...FACTS, reason: 'policy_denied' }, { ...deny, effects, form: 'json' }));
    assert.equal(response.status?.code, 7);
    const { status, headers, body } = response.deniedResponse!;
    assert.equal(status?.code, 302);
    assert.deepEqual(
      headers.map(({ header, append }) => [header?.key, header?.value, append?.value]),
      [['location', '/login', false]],
    );
    assert.equal(body, '', 'a redirection has no body of ours');
    assert.equal(structToJson(response.dynamicMetadata!)['a'], 1);
  });

  const bodies = [
    { form: 'json', type: 'application/json', body: '{"error":"Forbidden","status":403,"decision_id":"d-1"}' },
    { form: 'text', type: 'text/plain; charset=utf-8', body: '403 Forbidden\ndecision d-1\n' },
    { form: 'grpc', type: undefined, body: 'Forbidden, decision d-1' },
  ] as const;
  for (const { form, type, body } of bodies) {
    test(`has a body as ${form} where the policy gives none`, () => {
      const { deniedResponse } = read(denyReply(FACTS, { ...deny, form }));
      assert.equal(deniedResponse?.body, body);
      assert.equal(deniedResponse.headers.find(({ header }) => header?.key === 'content-type')?.header?.value, type);
    });
  }

  test('has no body of ours beside one of the policy, beside its content type, or where that is off', () => {
    const own = read(denyReply(FACTS, { ...deny, form: 'json', effects: { headers: [], body: 'no' } })).deniedResponse;
    assert.equal(own?.body, 'no');
    assert.deepEqual(own.headers, []);
    const typed = { headers: [{ name: 'Content-Type', value: 'image/png' }] };
    assert.equal(read(denyReply(FACTS, { ...deny, form: 'json', effects: typed })).deniedResponse?.body, '');
    assert.equal(read(denyReply(FACTS, deny)).deniedResponse?.body, '');
  });

  test('reads from the request in which form', () => {
    const cases: readonly (readonly [headers: Readonly<Record<string, string>>, form: string])[] = [
      [{}, 'text'],
      [{ accept: '*/*' }, 'text'],
      [{ accept: '*/*', 'content-type': 'application/json' }, 'json'],
      [{ accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }, 'html'],
      [{ accept: 'text/html;q=0, application/problem+json' }, 'json'],
      [{ accept: 'Application/JSON; q=0.5' }, 'json'],
      [{ accept: 'text/plain', 'content-type': 'application/json' }, 'text'],
      [{ accept: 'application/json', 'content-type': 'application/grpc+proto' }, 'grpc'],
      [{ accept: ','.repeat(100_000) }, 'text'],
    ];
    for (const [headers, form] of cases) assert.equal(bodyForm(headers), form, JSON.stringify(headers).slice(0, 100));
  });
});

describe('what Envoy must not be told', () => {
  const guarded = [
    ':path',
    ':authority',
    ':Method',
    'host',
    'Host',
    'content-length',
    'transfer-encoding',
    'x-envoy-original-path',
    'X-Envoy-X',
  ];
  const invalid = ['', ' ', 'a b', 'a\r\nb', 'ä', 'a:b', '::path', 'a\u0000'];
  for (const name of [...guarded, ...invalid]) {
    test(`the header ${JSON.stringify(name)}`, () => {
      for (const key of ['headers', 'response_headers_to_add']) {
        assert.notEqual(refusedInAllow(effectsOf({ [key]: { [name]: 'v' } }), STRICT), undefined);
      }
      assert.notEqual(refusedInDeny({ headers: [{ name, value: 'v' }] }, STRICT), undefined);
    });
  }

  test('values with control characters, and removal of what moves a request', () => {
    for (const value of ['a\r\nb: c', 'a\nb', '\u0000', '\u007f']) {
      assert.match(refusedInAllow(effectsOf({ headers: { 'x-a': value } }), STRICT) ?? '', /control character/);
    }
    for (const name of ['host', ':path', 'a b', '']) {
      assert.notEqual(refusedInAllow(effectsOf({ request_headers_to_remove: [name] }), STRICT), undefined);
    }
    assert.equal(
      refusedInAllow(effectsOf({ request_headers_to_remove: ['x-envoy-peer-metadata'] }), STRICT),
      undefined,
    );
    assert.equal(refusedInAllow(effectsOf({ headers: { 'x-a': 'tab\tand é' } }), STRICT), undefined);
  });

  test('what is opted in, and nothing else', () => {
    const rules = { allowedHeaders: [':path', 'x-envoy-*'], allowsSuccessOnDeny: true };
    for (const name of [':path', ':Path', 'X-Envoy-Retry-On']) {
      assert.equal(refusedInAllow(effectsOf({ headers: { [name]: 'v' } }), rules), undefined);
    }
    for (const name of [':paths', 'host', ':authority']) {
      assert.notEqual(refusedInAllow(effectsOf({ headers: { [name]: 'v' } }), rules), undefined);
    }
    assert.notEqual(refusedInAllow(effectsOf({ headers: { ':path': '/a\r\n' } }), rules), undefined);
    assert.equal(refusedInDeny({ headers: [], httpStatus: 200 }, rules), undefined);
  });

  test('a success as a deny, and metadata that Envoy cannot read', () => {
    for (const httpStatus of [100, 200, 226])
      assert.match(refusedInDeny({ headers: [], httpStatus }, STRICT) ?? '', /http_status/);
    assert.equal(refusedInDeny({ headers: [], httpStatus: 302 }, STRICT), undefined);
    let deep: object = {};
    for (let level = 0; level < 40; level += 1) deep = { deep };
    assert.match(refusedInAllow(effectsOf({ dynamic_metadata: deep }), STRICT) ?? '', /nested deeper/);
    assert.match(refusedInDeny({ headers: [], dynamicMetadata: deep as never }, STRICT) ?? '', /nested deeper/);
  });
});

test('no deny and no error is ever without code 7, whatever a policy gave', () => {
  const header = fc.record({ name: fc.string(), value: fc.string() });
  const effects = fc.record(
    {
      headers: fc.array(header),
      httpStatus: fc.nat(600),
      body: fc.string(),
      dynamicMetadata: fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.double(), fc.constant(null))),
    },
    { requiredKeys: ['headers'] },
  );
  const facts = fc.record({ decisionId: fc.string(), policy: fc.string(), reason: fc.string() });
  fc.assert(
    fc.property(facts, effects, fc.constantFrom('json', 'html', 'text', 'grpc', undefined), (drawn, given, form) => {
      const parts = { httpStatus: 403, effects: given, ...(form === undefined ? {} : { form }) };
      for (const response of [read(denyReply(drawn, parts)), read(errorReply(drawn))]) {
        assert.equal(response.status?.code, 7);
        assert.equal(response.okResponse, null);
        assert.equal(structToJson(response.dynamicMetadata!)['decision_id'], drawn.decisionId.toWellFormed());
      }
    }),
  );
});
