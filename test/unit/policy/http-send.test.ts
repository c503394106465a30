/** http.send in evaluations, against servers of the test. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { silentLogger, systemClock } from '../../../src/core/index.ts';
import { createBuiltinHost } from '../../../src/policy/builtins/builtin-host.ts';
import { NETWORK_BUILTINS, OFFERED_BUILTINS } from '../../../src/policy/builtins/offered.ts';
import type { Evaluation } from '../../../src/policy/evaluation.ts';
import { Evaluator } from '../../../src/policy/evaluator.ts';
import type { LoadedModule } from '../../../src/policy/evaluator-protocol.ts';
import type { HttpSendRules } from '../../../src/policy/network/http-send-rules.ts';
import { createPolicyNetwork } from '../../../src/policy/network/policy-network.ts';
import { EvaluationSuspended, instantiatePolicy } from '../../../src/policy/policy-instance.ts';
import { createRegoCompiler } from '../../../src/policy/rego-compiler.ts';
import { startHttpStandIn, type HttpStandIn } from '../../support/http-stand-in.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { json, load, never } from './support.ts';

/** Each case of the input is one use. */
const REGO = `package test
ask(request) := http.send(object.union({"method": "GET", "raise_error": false}, request))
allow := ask(input.request) if input.case == "ask"
allow := http.send(input.request).status_code if input.case == "plain"
allow := "open" if { input.case == "not"; not http.send(input.request).body.blocked }
allow := [ask({"url": url}).body.path | some url in input.urls] if input.case == "many"
allow := true if {
  input.case == "luck"
  id := uuid.rfc4122("a")
  number := rand.intn("b", 1000000)
  now := time.now_ns()
  first := ask({"url": sprintf("%s/?q=%s-%d-%d", [input.base, id, number, now])}).body.path
  second := ask({"url": sprintf("%s/2?q=%s-%d-%d", [input.base, id, number, now])}).body.path
  trim_prefix(first, "/") == trim_prefix(second, "/2")
}
allow := net.lookup_ip_addr(input.name) if input.case == "lookup"
allow := count(input.list) if input.case == "local"
`;

let loaded: LoadedModule;
let server: HttpStandIn;
let base: string;
const open: { close(): unknown }[] = [];

before(async () => {
  const builtins = [...OFFERED_BUILTINS, ...NETWORK_BUILTINS];
  loaded = await load(REGO, '{}', createRegoCompiler({ clock: systemClock, builtins, timeLimitMs: 60_000 }));
  server = await startHttpStandIn({ answer: (request, response) => answerPath(request.url ?? '', response) });
  base = `http://127.0.0.1:${server.port}`;
});
after(async () => {
  await Promise.all(open.map((each) => each.close()));
  await server[Symbol.asyncDispose]();
});

function answerPath(path: string, response: ServerResponse): void {
  if (path.startsWith('/slow')) return;
  if (path.startsWith('/large')) return void response.end('x'.repeat(5000));
  if (path.startsWith('/away')) {
    return void response.writeHead(302, { location: `http://127.0.0.2:${server.port}/` }).end();
  }
  const cached = path.startsWith('/kept') ? { 'cache-control': 'max-age=60' } : {};
  response.writeHead(200, { 'content-type': 'application/json', ...cached });
  response.end(JSON.stringify({ path, blocked: true }));
}

async function start(rules: Partial<HttpSendRules> = {}): Promise<Evaluator> {
  const network = createPolicyNetwork(
    {
      allow: [{ scheme: 'http', hostname: '127.0.0.1', isSuffix: false, port: server.port }],
      timeoutMs: 5000,
      maxResponseBytes: 4000,
      maxInFlight: 64,
      cacheBytes: 2 ** 20,
      ...rules,
    },
    { clock: systemClock },
  );
  const options = { clock: systemClock, logger: silentLogger, queueLimit: 1000, network };
  const evaluator = await Evaluator.start(loaded, options, never);
  open.push(network, evaluator);
  return evaluator;
}

function evaluate(evaluator: Evaluator, input: unknown, ms = 20_000): Promise<Evaluation> {
  return evaluator.evaluate(json(input), { deadline: Date.now() + ms });
}

async function valueOf(evaluator: Evaluator, input: unknown): Promise<unknown> {
  const evaluation = await evaluate(evaluator, input);
  assert.ok(evaluation.kind === 'value', JSON.stringify(evaluation));
  return evaluation.value;
}

/** Of `raise_error: false`. */
async function errorOf(evaluator: Evaluator, request: object): Promise<{ code: string; message: string }> {
  const result = (await valueOf(evaluator, { case: 'ask', request })) as {
    readonly status_code: number;
    readonly error: { code: string; message: string };
  };
  assert.equal(result.status_code, 0);
  return result.error;
}

describe('an evaluation that asks the network', () => {
  test('gets the answer, and each of several', async () => {
    const evaluator = await start();
    assert.equal(await valueOf(evaluator, { case: 'plain', request: { method: 'GET', url: base } }), 200);
    const urls = [`${base}/a`, `${base}/b`, `${base}/a`, `${base}/c`];
    server.requests.length = 0;
    assert.deepEqual(await valueOf(evaluator, { case: 'many', urls }), ['/a', '/b', '/a', '/c']);
    assert.deepEqual(
      server.requests.map(({ path }) => path),
      ['/a', '/b', '/c'],
    );
  });

  test('sees the same time, numbers and ids at each attempt', async () => {
    const evaluator = await start();
    server.requests.length = 0;
    assert.equal(await valueOf(evaluator, { case: 'luck', base }), true);
    assert.equal(server.requests.length, 2);
  });

  test('keeps what may be kept for the next one, and for no other policy', async () => {
    const [one, other] = [await start(), await start()];
    server.requests.length = 0;
    const input = { case: 'ask', request: { url: `${base}/kept`, cache: true } };
    for (const evaluator of [one, one, other, one, other]) await valueOf(evaluator, input);
    assert.equal(server.requests.length, 2);
    await valueOf(one, { case: 'ask', request: { url: `${base}/kept` } });
    assert.equal(server.requests.length, 3);
  });

  test('lets others be decided meanwhile, and is no stuck one', async () => {
    const evaluator = await start();
    const slow = evaluate(evaluator, { case: 'ask', request: { url: `${base}/slow` } }, 3000);
    for (let round = 0; round < 20; round += 1) {
      assert.equal(await valueOf(evaluator, { case: 'local', list: [1, 2] }), 2);
    }
    assert.deepEqual(await slow, { kind: 'timeout' });
    assert.equal(await valueOf(evaluator, { case: 'local', list: [] }), 0);
  });

  test('ends its exchange when its caller goes, and when the evaluator is closed', async () => {
    let ended = 0;
    await using slow = await startHttpStandIn({
      answer: (_request, response) => void response.on('close', () => (ended += 1)),
    });
    const evaluator = await start({
      allow: [{ scheme: 'http', hostname: '127.0.0.1', isSuffix: false, port: slow.port }],
    });
    const request = { method: 'GET', url: `http://127.0.0.1:${slow.port}/` };
    const stop = new AbortController();
    const input = json({ case: 'plain', request });
    const canceled = evaluator.evaluate(input, { deadline: Date.now() + 20_000, signal: stop.signal });
    await waitUntil('the request arrives', 10_000, () => slow.requests.length === 1);
    stop.abort();
    assert.deepEqual(await canceled, { kind: 'canceled' });
    await waitUntil('the connection is closed', 10_000, () => ended === 1);
    const closed = evaluate(evaluator, { case: 'plain', request });
    await waitUntil('the request arrives', 10_000, () => slow.requests.length === 2);
    await evaluator.close();
    assert.deepEqual(await closed, { kind: 'error', message: 'the evaluator was closed' });
    await waitUntil('the connection is closed', 10_000, () => ended === 2);
  });

  test('is overloaded when too many are under way', async () => {
    const evaluator = await start({ maxInFlight: 2 });
    const request = { url: `${base}/slow` };
    const calls = [1, 2, 3].map(() => evaluate(evaluator, { case: 'ask', request }, 1500));
    const kinds = (await Promise.all(calls)).map(({ kind }) => kind);
    assert.deepEqual(kinds.toSorted(), ['overloaded', 'timeout', 'timeout']);
  });

  test('fails when it asks without end', async () => {
    const evaluator = await start();
    const urls = Array.from({ length: 17 }, (_, at) => `${base}/${at}`);
    const evaluation = await evaluate(evaluator, { case: 'many', urls });
    assert.ok(evaluation.kind === 'error');
    assert.match(evaluation.message, /more than 16 times/);
  });

  test('looks up names of allowed origins only', async () => {
    const evaluator = await start({
      allow: [{ scheme: 'https', hostname: 'localhost', isSuffix: false, port: 443 }],
    });
    const addresses = (await valueOf(evaluator, { case: 'lookup', name: 'localhost' })) as readonly string[];
    assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'));
    for (const name of ['example.com', 'localhost:443', 'a@localhost', '']) {
      const evaluation = await evaluate(evaluator, { case: 'lookup', name });
      assert.ok(evaluation.kind === 'error', name);
      assert.match(evaluation.message, /does not allow the name/);
    }
  });
});

describe('a request that fails', () => {
  test('is an error object where the policy asks for one, else the evaluation fails', async () => {
    const evaluator = await start();
    const cases = [
      [{ url: `http://127.0.0.2:${server.port}/?token=secret` }, /does not allow it/],
      [{ url: `http://localhost:${server.port}/?token=secret` }, /does not allow it/],
      [{ url: `https://127.0.0.1:${server.port}/?token=secret` }, /does not allow it/],
      [{ url: `${base}/?token=secret`, headers: { Host: 'secret.example' } }, /Host header/],
      [{ url: `http://u:secret@127.0.0.1:${server.port}/` }, /credentials/],
      [{ url: `unix://localhost/x?socket=%2Fsecret` }, /does not allow it|protocol scheme/],
      [{ url: 'file:///etc/secret' }, /protocol scheme/],
      [{ url: `${base}/away?token=secret`, enable_redirect: true }, /does not allow it/],
      [{ url: `${base}/large?token=secret` }, /larger than 4000 bytes/],
      [{ url: `${base}/slow?token=secret`, timeout: '50ms' }, /in time|timed out/],
      [{ url: base, tls_ca_cert_file: '/secret' }, /tls_ca_cert_file is not offered/],
      [{ url: base, tls_client_key_env_variable: 'secret' }, /tls_client_key_env_variable is not offered/],
      [{ url: base, tls_insecure_skip_verify: true }, /tls_insecure_skip_verify is not offered/],
      [{ url: base, headers: { authorization: ['secret'] } }, /header/],
    ] as const;
    for (const [request, message] of cases) {
      const error = await errorOf(evaluator, request);
      assert.match(error.message, message, JSON.stringify(request));
      assert.doesNotMatch(error.message, /token/);
      for (const raised of ['plain', 'not']) {
        const evaluation = await evaluate(evaluator, { case: raised, request: { method: 'GET', ...request } });
        assert.ok(evaluation.kind === 'error', JSON.stringify([request, evaluation]));
        assert.match(evaluation.message, message);
        assert.doesNotMatch(evaluation.message, /secret(?!\.example)/);
      }
    }
  });

  test('is tried again as often as it asks for', async () => {
    const evaluator = await start();
    let attempts = 0;
    await using flaky = await startHttpStandIn({
      answer: (request, response) => {
        attempts += 1;
        if (attempts < 3) request.socket.destroy();
        else response.end();
      },
    });
    const other = await start({
      allow: [{ scheme: 'http', hostname: '127.0.0.1', isSuffix: false, port: flaky.port }],
    });
    const request = { method: 'GET', url: `http://127.0.0.1:${flaky.port}/`, max_retry_attempts: 2 };
    assert.equal(await valueOf(other, { case: 'plain', request }), 200);
    assert.equal(attempts, 3);
    assert.equal((await evaluate(evaluator, { case: 'plain', request })).kind, 'error');
  });
});

describe('an instance whose evaluations are given up', () => {
  const limits = { recycleBytes: 4 * 2 ** 20, maxBytes: 64 * 2 ** 20 };

  test('answers rightly and keeps its memory after a thousand of them', () => {
    const policy = instantiatePolicy({ ...loaded, limits }, createBuiltinHost({ network: { responseCacheBytes: 0 } }));
    const asking = json({ case: 'ask', request: { url: base, headers: { x: 'y'.repeat(1000) } } }).buffer;
    const local = json({ case: 'local', list: [1] }).buffer;
    for (let round = 0; round < 1000; round += 1) {
      assert.throws(
        () => policy.evaluate(asking),
        (error) => error instanceof EvaluationSuspended && error.isSound,
      );
      if (round % 100 === 0) assert.deepEqual(policy.evaluate(local), [{ result: 1 }]);
    }
    assert.deepEqual(policy.evaluate(local), [{ result: 1 }]);
    assert.equal(policy.isGrown(), false);
  });
});

test('a policy that asks is refused where nobody may be asked, with the key that turns it on', async () => {
  const files = { modules: { 'test.rego': REGO }, data: {} };
  const built = await createRegoCompiler({ clock: systemClock, timeLimitMs: 60_000 }).build(files, 'test/allow', never);
  assert.ok(built.kind === 'refused');
  assert.match(built.problems[0]?.message ?? '', /http\.send: authz\.http_send turns it on/);
  const limits = { recycleBytes: 2 ** 20, maxBytes: 2 ** 24 };
  assert.throws(() => instantiatePolicy({ ...loaded, limits }), /does not offer: .*http\.send/);
});
