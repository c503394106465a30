import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import type { DecisionFacts } from '../../../../src/evidence/records/decision-facts.ts';
import type { DecisionRecord } from '../../../../src/evidence/records/decision-record.ts';
import type { ShownParts } from '../../../../src/evidence/records/input-rules.ts';
import { createRecordMaker } from '../../../../src/evidence/records/make-record.ts';

const NOTHING_SHOWN: ShownParts = { headers: [], query: [], claims: [], paths: [] };
const KEY = new Uint8Array(32).fill(7);

function facts(given: Partial<DecisionFacts> = {}): DecisionFacts {
  return {
    decisionId: 'd1',
    at: Date.UTC(2026, 10, 22, 10, 0, 0, 123),
    durationNs: 51_000,
    requestNumber: 3,
    policy: 'default',
    digest: 'abc',
    outcome: 'allow',
    reason: '',
    httpStatus: 0,
    caller: 'attested',
    callerIds: ['spiffe://example.test/envoy'],
    listener: 'gate',
    request: { method: 'GET', host: 'orders.test', path: '/orders/17?token=x', route: '' },
    evaluated: { value: true, cached: false, entrypoint: 'envoy/authz/allow', recorded: 'all' },
    ...given,
  };
}

function recordOf(input: unknown, shown: Partial<ShownParts> = {}, given: Partial<DecisionFacts> = {}): DecisionRecord {
  const make = createRecordMaker({ labels: { cluster: 'west' }, shown: { ...NOTHING_SHOWN, ...shown }, key: KEY });
  const text = typeof input === 'string' ? input : JSON.stringify(input);
  // As it stands in the log.
  return JSON.parse(JSON.stringify(make(facts(given), new TextEncoder().encode(text)))) as DecisionRecord;
}

const http = (given: object): object => ({ attributes: { request: { http: given } } });

describe('a record', () => {
  test('has what decided, and when', () => {
    const { svidgate, ...event } = recordOf({ parsed_path: ['orders', '17'] });
    assert.deepEqual(event, {
      labels: { cluster: 'west' },
      decision_id: 'd1',
      path: 'envoy/authz/allow',
      input: { parsed_path: ['orders', '17'] },
      result: true,
      metrics: { timer_server_handler_ns: 51_000 },
      timestamp: '2026-11-22T10:00:00.123000000Z',
      req_id: 3,
    });
    const { input_hash: hash, ...context } = svidgate;
    assert.equal(hash, createHmac('sha256', KEY).update('{"parsed_path":["orders","17"]}').digest('hex'));
    assert.deepEqual(context, {
      policy: 'default',
      policy_digest: 'abc',
      outcome: 'allow',
      reason: '',
      http_status: 0,
      principal: 'unverified',
      caller: 'attested',
      caller_ids: ['spiffe://example.test/envoy'],
      listener: 'gate',
      method: 'GET',
      route: 'orders.test/orders/*',
      recorded: 'all',
      cached: false,
      replayable: true,
    });
  });

  test('keeps of headers what the allow-list has, and says what else there was', () => {
    const headers = {
      ':method': 'GET',
      ':path': '/a',
      'user-agent': 'curl/8',
      'x-request-id': 'r-1',
      'x-tenant': 'blue',
      authorization: 'Bearer abc',
      cookie: 'a=b',
      'x-5f2e8a91c0de': 'y',
    };
    const { input, erased, svidgate } = recordOf(http({ method: 'GET', headers }), { headers: ['x-tenant', 'cookie'] });
    assert.deepEqual(input, http({ method: 'GET', headers: pick(headers, 5) }));
    const at = '/input/attributes/request/http/headers';
    assert.deepEqual(erased, [`${at}/authorization`, `${at}/cookie`, at]);
    assert.deepEqual([svidgate.replayable, svidgate.unreplayable], [false, erased]);
  });

  test('cuts a query, unless all of it is shown', () => {
    const path = '/a/b?page=1&sort=up';
    const given = { ...http({ path, headers: { ':path': path } }), parsed_query: { page: ['1'], sort: ['up'] } };
    const cut = recordOf(given, { query: ['page'] });
    assert.deepEqual(cut.input, {
      ...http({ path: '/a/b', headers: { ':path': '/a/b' } }),
      parsed_query: { page: ['1'] },
    });
    assert.deepEqual(cut.erased, ['/input/parsed_query']);
    const at = '/input/attributes/request/http';
    assert.deepEqual(cut.masked, [`${at}/path`, `${at}/headers/:path`]);
    assert.equal(cut.svidgate.replayable, false);
    const whole = recordOf(given, { query: ['page', 'sort'] });
    assert.deepEqual(whole.input, given);
    assert.equal(whole.svidgate.replayable, true);
  });

  test('says by name what a policy looked at', () => {
    const recorded = [
      ['parsed_query', 'page'],
      ['parsed_query', 'code'],
    ];
    const evaluated = { value: true, cached: false, entrypoint: 'a/allow', recorded };
    const { erased } = recordOf({ parsed_query: { page: ['1'], code: ['s3cret'] } }, {}, { evaluated });
    assert.deepEqual(erased, ['/input/parsed_query/page', '/input/parsed_query/code']);
  });

  test('keeps no body, metadata, certificate, label nor extension of others', () => {
    const input = {
      attributes: {
        source: {
          principal: 'spiffe://a/b',
          certificate: 'PEM',
          labels: { a: 'b' },
          address: { socketAddress: { address: '10.0.0.1' } },
        },
        request: { http: { body: 'x', rawBody: 'eA==', query: 'q', fragment: 'f', size: 1 } },
        contextExtensions: { 'svidgate.route': 'orders', other: 'x' },
        metadataContext: { filterMetadata: { 'envoy.filters.http.jwt_authn': { payload: { email: 'x' } } } },
        routeMetadataContext: {},
      },
      parsed_body: { a: 1 },
      truncated_body: false,
    };
    const record = recordOf(input);
    assert.deepEqual(record.input, {
      attributes: {
        source: { principal: 'spiffe://a/b', address: { socketAddress: { address: '10.0.0.1' } } },
        request: { http: { size: 1 } },
        contextExtensions: { 'svidgate.route': 'orders' },
        metadataContext: { filterMetadata: {} },
        routeMetadataContext: {},
      },
      truncated_body: false,
    });
    assert.equal(record.svidgate.replayable, false);
    assert.equal(recordOf({ parsed_body: null, truncated_body: false }).svidgate.replayable, true);
  });

  test('keeps of a verified token the registered claims, and those that are shown', () => {
    const claims = { iss: 'https://idp', sub: 'ann', aud: ['a'], exp: 1, email: 'ann@example.test', groups: ['x'] };
    const jwt = { verified: true, header: 'authorization', provider: 'idp', claims };
    const input = { svidgate: { jwt: { ...jwt, tokens: [jwt] } } };
    const { groups: _, email: __, ...few } = claims;
    const shown = { ...few, groups: ['x'] };
    const token = { verified: true, text: 'Bearer aaa.bbb.ccc', issuer: 'https://idp', subject: 'ann' };
    const record = recordOf(input, { claims: ['groups'] }, { tokens: [token] });
    assert.deepEqual(record.input, {
      svidgate: { jwt: { ...jwt, claims: shown, tokens: [{ ...jwt, claims: shown }] } },
    });
    const [known] = record.svidgate.tokens ?? [];
    assert.match(known?.token_hash ?? '', /^[0-9a-f]{64}$/);
    const [again] = recordOf({}, {}, { tokens: [{ ...token, text: 'aaa.bbb.ccc' }] }).svidgate.tokens ?? [];
    assert.equal(again?.token_hash, known?.token_hash);
  });

  test('keeps of a result what decides, and of its texts nothing', () => {
    const value = { allowed: false, http_status: 404, headers: { 'x-user': 'ann' }, body: 'no', why: 'ann', extra: [] };
    const evaluated = () => ({ value: { ...value }, cached: false, entrypoint: 'a/allow', recorded: 'all' }) as const;
    const { result, erased, svidgate } = recordOf(
      {},
      {},
      { evaluated: evaluated(), outcome: 'deny', reason: 'policy_denied' },
    );
    assert.deepEqual(result, { allowed: false, http_status: 404, extra: [] });
    assert.deepEqual(erased, ['/result/headers', '/result/body', '/result']);
    assert.equal(svidgate.replayable, true);
    const text = recordOf({}, {}, { evaluated: { ...evaluated(), value: 'ann' } });
    assert.deepEqual([text.result, text.erased], [undefined, ['/result']]);
    const shown = recordOf({}, { paths: ['/result/body'] }, { evaluated: evaluated() });
    assert.deepEqual(shown.result, { allowed: false, http_status: 404, body: 'no', extra: [] });
  });

  test('never keeps what looks like a secret, wherever it is and whatever is shown', () => {
    const token = `eyJhbGciOiJub25lIn0.e30.`;
    for (const secret of [
      token,
      `Bearer ${'a'.repeat(30)}`,
      'basic%20YWJj',
      '-----BEGIN EC PRIVATE KEY-----',
      '-----BEGIN%20CERTIFICATE-----',
      Buffer.from(`Bearer abcdef`).toString('base64'),
      'AKIAABCDEFGHIJKLMNOP',
      'https://ann:secret@example.test/',
    ]) {
      const input = { parsed_path: ['reset', secret], ...http({ path: `/reset/${secret}`, host: secret, id: secret }) };
      const record = recordOf(input, { paths: ['/input'] });
      assert.deepEqual(record.input, { parsed_path: ['reset', null], attributes: { request: { http: {} } } }, secret);
      assert.equal(record.svidgate.replayable, false);
    }
    const headers = { cookie: 'a', 'X-Api-Key': 'b', 'x-auth-token': 'c', 'x-plain': 'd' };
    const headerMap = {
      headers: [
        { key: 'Cookie', rawValue: 'eA==' },
        { key: 'x-plain', value: 'd' },
      ],
    };
    const shown = recordOf(http({ headers, headerMap }), { paths: ['/input/attributes'] });
    assert.deepEqual(
      shown.input,
      http({ headers: { 'x-plain': 'd' }, headerMap: { headers: [null, { key: 'x-plain', value: 'd' }] } }),
    );
  });

  test('keeps no text that is long, and says where it was', () => {
    const [short, long] = ['x'.repeat(4096), 'x'.repeat(4097)];
    const body = { short, long, [long]: 1, list: [short, long] };
    const given = { parsed_body: body, ...http({ id: long, method: 'GET' }) };
    const { input, erased, svidgate } = recordOf(given, { paths: ['/input/parsed_body'] });
    assert.deepEqual(input, { parsed_body: { short, list: [short, null] }, ...http({ method: 'GET' }) });
    // The names of members of a body may come from anybody.
    assert.deepEqual(erased, ['/input', '/input/attributes/request/http/id']);
    assert.equal(svidgate.replayable, false);
    const digits = `{"parsed_body":{"n":${'1'.repeat(5000)}}}`;
    assert.deepEqual(recordOf(digits, { paths: ['/input/parsed_body'] }).input, { parsed_body: {} });
  });

  test('shows no credential, whatever is shown', () => {
    const secret = 'hunter2-xyz';
    const body = {
      password: { plain: secret },
      access_token: secret,
      accessKey: secret,
      'x-vault-key': secret,
      list: [{ name: 'authorization', value: secret }, ['x-api-key', secret], { key: ':path', rawValue: secret }],
    };
    const given = { parsed_body: body, parsed_query: { code: [secret] } };
    for (const path of [
      '/input',
      '/input/parsed_body',
      '/input/parsed_body/password',
      '/input/parsed_body/password/plain',
      '/input/parsed_body/access_token',
      '/input/parsed_body/list',
      '/input/parsed_body/list/0',
      '/input/parsed_body/list/0/value',
      '/input/parsed_body/list/1/1',
    ]) {
      const { parsed_query: _, ...input } = recordOf(given, { paths: [path] }).input ?? {};
      assert.ok(!JSON.stringify(input).includes(secret), `${path}: ${JSON.stringify(input)}`);
    }
    assert.deepEqual(recordOf({ parsed_path: ['tokens', 'a'] }).input, { parsed_path: ['tokens', 'a'] });
  });

  test('shows of a path no query that is not shown', () => {
    const given = http({ path: '/a?code=x', headers: { ':path': '/a?code=x' } });
    const cut = http({ path: '/a', headers: { ':path': '/a' } });
    for (const path of ['/input', '/input/attributes/request/http/path', '/input/attributes/request/http/headers']) {
      assert.deepEqual(recordOf(given, { paths: [path] }).input, cut, path);
    }
    assert.deepEqual(recordOf(given, { paths: ['/input'], query: ['code'] }).input, given);
  });

  test('keeps of a host no user, and of a path no parameters of its segments', () => {
    const host = 'ann:hunter2@orders.test:8443';
    const path = '/a;jsessionid=s3cret/b;v=1?page=1;2';
    const given = {
      ...http({ host, path, headers: { ':authority': host, host, ':path': path } }),
      parsed_path: ['a;jsessionid=s3cret', 'b;v=1', 'c'],
    };
    const { input, masked, svidgate } = recordOf(given, { query: ['page'] });
    const shown = 'orders.test:8443';
    const cut = '/a/b?page=1;2';
    assert.deepEqual(input, {
      ...http({ host: shown, path: cut, headers: { ':authority': shown, host: shown, ':path': cut } }),
      parsed_path: ['a', 'b', 'c'],
    });
    assert.equal(masked?.length, 7);
    assert.equal(svidgate.replayable, false);
  });

  test('keeps numbers as they were', () => {
    const make = createRecordMaker({
      labels: {},
      shown: { ...NOTHING_SHOWN, paths: ['/input/parsed_body'] },
      key: KEY,
    });
    const text = '{"parsed_body":{"id":12345678901234567890,"price":1.50}}';
    assert.ok(JSON.stringify(make(facts(), new TextEncoder().encode(text))).includes(`"input":${text}`));
  });

  test('names the trace of the request', () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const span = '00f067aa0ba902b7';
    const of = (given: object): readonly unknown[] => {
      const { trace_id: id, span_id: spanId } = recordOf(
        {},
        {},
        {
          request: { method: 'GET', host: '', path: '/', route: '', ...given },
        },
      );
      return [id, spanId];
    };
    assert.deepEqual(of({ traceparent: `00-${trace}-${span}-01` }), [trace, span]);
    assert.deepEqual(of({ traceparent: `00-${'0'.repeat(32)}-${span}-01` }), [undefined, undefined]);
    assert.deepEqual(of({ b3: `${trace.toUpperCase()}-${span}-1` }), [trace, span]);
    assert.deepEqual(of({ b3TraceId: span, b3SpanId: span }), [`${'0'.repeat(16)}${span}`, span]);
    assert.deepEqual(of({ traceparent: 'junk' }), [undefined, undefined]);
  });

  test('says why there is no result, without words of the request', () => {
    const evaluated = { cached: false, entrypoint: 'a/allow', recorded: 'all' } as const;
    const failed = { evaluated, outcome: 'failure', reason: 'evaluation_error', httpStatus: 403 } as const;
    const of = (detail: string): unknown => recordOf(http({ body: 'hunter2-xyz' }), {}, { ...failed, detail }).error;
    assert.deepEqual(of('a.rego:3: conflict'), { message: 'evaluation_error: a.rego:3: conflict' });
    assert.deepEqual(of('cannot read hunter2-xyz'), { message: 'evaluation_error' });
  });
});

describe('what builtins answered', () => {
  const of = (nd: Record<string, Record<string, string>>, input: unknown = {}, shown: Partial<ShownParts> = {}) =>
    recordOf(input, shown, {
      evaluated: { value: true, nd, cached: false, entrypoint: 'a/allow', recorded: 'all' },
    });

  test('is kept with exact numbers', () => {
    const nd = { 'time.now_ns': { '[]': '1755555555123456789' }, 'rand.intn': { '["dice", 6]': '4' } };
    const make = createRecordMaker({ labels: {}, shown: NOTHING_SHOWN, key: KEY });
    const evaluated = { value: true, nd, cached: false, entrypoint: 'a/allow', recorded: 'all' } as const;
    const line = JSON.stringify(make(facts({ evaluated }), new TextEncoder().encode('{}')));
    assert.ok(line.includes(`{"time.now_ns":{"[]":1755555555123456789},"rand.intn":{"[\\"dice\\", 6]":4}}`), line);
    assert.ok(line.includes('"replayable":true'));
  });

  test('is left out where its arguments come from what is erased', () => {
    const basic = Buffer.from('ann:hunter2').toString('base64');
    const input = http({ headers: { authorization: `Basic ${basic}` } });
    for (const argument of [`Basic ${basic}`, basic, 'hunter2', 'ann:hunter2', 'HUNTER2']) {
      const record = of({ 'uuid.rfc4122': { [JSON.stringify([argument])]: '"0f8f"' } }, input);
      assert.equal(record.nd_builtin_cache, undefined, argument);
      assert.ok(record.svidgate.unreplayable?.includes('/nd_builtin_cache/uuid.rfc4122'));
    }
    assert.ok(of({ 'uuid.rfc4122': { '["decision"]': '"0f8f"' } }, input).nd_builtin_cache !== undefined);
  });

  test('of http.send names whom it asked, unless it is shown', () => {
    const call = '[{"headers": {"x-a": "b"}, "method": "GET", "url": "https://idp.test/introspect/abc?d=e"}]';
    const nd = { 'http.send': { [call]: '{"status_code": 200, "body": {"active": true}}' } };
    const record = of(nd);
    assert.deepEqual(record.nd_builtin_cache, {
      'http.send': { '[{"url": "https://idp.test"}]': { status_code: 200 } },
    });
    assert.deepEqual(record.svidgate.unreplayable, ['/nd_builtin_cache/http.send']);
    const shown = of(nd, {}, { paths: ['/nd_builtin_cache/http.send'] });
    assert.deepEqual(shown.nd_builtin_cache, {
      'http.send': { [call]: { status_code: 200, body: { active: true } } },
    });
    assert.equal(shown.svidgate.replayable, true);
    const withToken = { 'http.send': { [call.replace('x-a', 'Authorization')]: '{"status_code": 200}' } };
    assert.ok(!JSON.stringify(of(withToken, {}, { paths: ['/nd_builtin_cache'] })).includes('Authorization'));
  });

  test('of signing is never kept', () => {
    const nd = { 'io.jwt.encode_sign': { '[{"alg": "HS256"}, {}, {"k": "c2VjcmV0", "kty": "oct"}]': '"a.b.c"' } };
    const record = of(nd, {}, { paths: ['/nd_builtin_cache'] });
    assert.equal(record.nd_builtin_cache, undefined);
    assert.deepEqual(record.svidgate.unreplayable, ['/nd_builtin_cache/io.jwt.encode_sign']);
  });

  test('is the time alone where the input is too large to be compared with', () => {
    const nd = { 'time.now_ns': { '[]': '1' }, 'rand.intn': { '["a", 2]': '1' } };
    const evaluated = { nd, cached: false, entrypoint: 'a/allow', recorded: 'all', tooLarge: ['input'] } as const;
    const given = { evaluated, outcome: 'failure', reason: 'evaluation_error', detail: 'of hunter2-xyz' } as const;
    const record = recordOf('', {}, given);
    assert.deepEqual(record.nd_builtin_cache, { 'time.now_ns': { '[]': 1 } });
    assert.deepEqual(record.svidgate.unreplayable, ['/input', '/nd_builtin_cache/rand.intn']);
    assert.deepEqual(record.error, { message: 'evaluation_error' });
  });

  test('that had no value, or was too large, is missing', () => {
    const record = of({ 'net.lookup_ip_addr': { '["nowhere.test"]': '' } });
    assert.deepEqual(record.svidgate.unreplayable, ['/nd_builtin_cache/net.lookup_ip_addr']);
  });
});

function pick(object: Readonly<Record<string, string>>, count: number): object {
  return Object.fromEntries(Object.entries(object).slice(0, count));
}
