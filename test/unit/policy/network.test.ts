import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/core/index.ts';
import type { ExchangeAnswer } from '../../../src/policy/evaluator-protocol.ts';
import {
  isAllowed,
  isAllowedName,
  parseOrigin,
  type AllowedOrigin,
  type HttpSendRules,
} from '../../../src/policy/network/http-send-rules.ts';
import { createPolicyNetwork } from '../../../src/policy/network/policy-network.ts';
import { json, startHttpStandIn } from '../../support/http-stand-in.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { createWebCa } from '../../support/web-certificate.ts';
import { never } from './support.ts';

const allowed = (scheme: 'http' | 'https', hostname: string, port: number, isSuffix = false): AllowedOrigin => ({
  scheme,
  hostname,
  port,
  isSuffix,
});

describe('an origin', () => {
  const allow = [
    allowed('https', 'opa.acme.test', 443),
    allowed('https', 'svc.acme.test', 8443, true),
    allowed('http', '127.0.0.1', 8181),
    allowed('http', '[::1]', 80),
    allowed('https', 'xn--bcher-kva.test', 443),
  ];
  const cases: readonly (readonly [scheme: string, host: string, expected: boolean])[] = [
    ['https', 'opa.acme.test', true],
    ['https', 'OPA.acme.test:443', true],
    ['https', 'opa.acme.test.', false],
    ['https', 'opa.acme.test:444', false],
    ['http', 'opa.acme.test', false],
    ['https', 'x.opa.acme.test', false],
    ['https', 'a.svc.acme.test:8443', true],
    ['https', 'a.b.svc.acme.test:8443', true],
    ['https', 'svc.acme.test:8443', false],
    ['https', '.svc.acme.test:8443', false],
    ['https', 'evilsvc.acme.test:8443', false],
    ['https', 'a.svc.acme.test', false],
    ['http', '127.0.0.1:8181', true],
    ['http', '127.1:8181', true],
    ['http', '0x7f000001:8181', true],
    ['http', '127.0.0.2:8181', false],
    ['http', '[::1]', true],
    ['http', '[0:0:0:0:0:0:0:1]:80', true],
    ['http', '[::ffff:127.0.0.1]:8181', false],
    ['https', 'opa.acme.test@evil.test', false],
    ['https', 'evil.test#opa.acme.test', false],
    ['https', 'evil.test/opa.acme.test', false],
    ['https', 'evil.test\\opa.acme.test', false],
    ['https', 'opa.acme.test?', false],
    ['https', 'opa.acme.test/', false],
    ['https', 'opa\t.acme.test', false],
    ['https', 'opa. acme.test', false],
    ['https', 'bücher.test', true],
    ['https', '', false],
    ['unix', 'opa.acme.test', false],
    ['file', 'opa.acme.test', false],
  ];
  for (const [scheme, host, expected] of cases) {
    test(`${JSON.stringify(`${scheme}://${host}`)} is ${expected ? '' : 'not '}allowed`, () => {
      const origin = parseOrigin(scheme, host);
      assert.equal(origin !== undefined && isAllowed(origin, allow), expected);
    });
  }

  test('gives names that may be looked up', () => {
    const names = {
      'opa.acme.test': true,
      'a.svc.acme.test': true,
      'svc.acme.test': false,
      'opa.acme.test:443': false,
    };
    for (const [name, expected] of Object.entries(names)) assert.equal(isAllowedName(name, allow), expected, name);
    for (const name of ['', ' ', 'a@opa.acme.test', 'opa.acme.test/', 'evil.test']) {
      assert.equal(isAllowedName(name, allow), false, name);
    }
  });
});

const TLS = { ca: '', usesSystemCerts: false, cert: '', key: '', serverName: '' };

function wanted(host: string, more: object = {}): string {
  const plain = { kind: 'http', method: 'GET', scheme: 'https', host, path: '/', hostHeader: '' };
  return JSON.stringify({ ...plain, headers: null, body: null, timeoutMs: 0, retries: 0, tls: TLS, ...more });
}

async function exchange(rules: Partial<HttpSendRules>, text: string): Promise<ExchangeAnswer> {
  const limits = { allow: [], timeoutMs: 10_000, maxResponseBytes: 1000, maxInFlight: 1, cacheBytes: 0 };
  const network = createPolicyNetwork({ ...limits, ...rules }, { clock: systemClock });
  try {
    const answer = await network.exchange(text, never);
    assert.ok(answer !== 'overloaded');
    return answer;
  } finally {
    network.close();
  }
}

const isOk = (answer: ExchangeAnswer): boolean => 'statusCode' in answer && answer.statusCode === 200;

describe('an exchange over TLS', () => {
  test('checks the server by the CAs of the configuration, of the policy, or of both', async () => {
    await using folder = await tempFolder();
    const [ca, other] = [await createWebCa(), await createWebCa()];
    const tls = await ca.issue([{ type: 'ip', value: '127.0.0.1' }]);
    await using server = await startHttpStandIn({ tls, answer: json({}) });
    const allow = [allowed('https', '127.0.0.1', server.port)];
    const [caFile, otherFile] = [join(folder.path, 'ca.pem'), join(folder.path, 'other.pem')];
    await writeFile(caFile, ca.ca);
    await writeFile(otherFile, other.ca);
    const host = `127.0.0.1:${server.port}`;
    const withCa = (pem: string, usesSystemCerts: boolean): string =>
      wanted(host, { tls: { ...TLS, ca: pem, usesSystemCerts } });
    const cases: readonly (readonly [Partial<HttpSendRules>, string, boolean])[] = [
      [{ allow, caFile }, wanted(host), true],
      [{ allow }, wanted(host), false],
      [{ allow, caFile: otherFile }, wanted(host), false],
      [{ allow, caFile: join(folder.path, 'none') }, wanted(host), false],
      [{ allow }, withCa(ca.ca, false), true],
      [{ allow, caFile }, withCa(other.ca, false), false],
      [{ allow, caFile }, withCa(ca.ca, true), true],
      [{ allow }, withCa(ca.ca, true), true],
      [{ allow: [allowed('https', '127.0.0.1', 1)], caFile }, wanted(host), false],
    ];
    for (const [index, [rules, text, expected]] of cases.entries()) {
      assert.equal(isOk(await exchange(rules, text)), expected, `case ${index}`);
    }
  });

  test('checks the name that the policy gives, and shows its certificate', async () => {
    const ca = await createWebCa();
    const tls = { ...(await ca.issue([{ type: 'dns', value: 'opa.acme.test' }])), clientCa: ca.ca };
    const own = await ca.issue([{ type: 'dns', value: 'client' }]);
    await using server = await startHttpStandIn({ tls, answer: json({}) });
    const allow = [allowed('https', '127.0.0.1', server.port), allowed('https', 'opa.acme.test', server.port)];
    const host = `127.0.0.1:${server.port}`;
    const ask = async (more: object): Promise<boolean> =>
      isOk(await exchange({ allow }, wanted(host, { tls: { ...TLS, ca: ca.ca, ...own, ...more } })));
    assert.equal(await ask({ serverName: 'opa.acme.test' }), true);
    assert.equal(await ask({}), false);
    assert.equal(await ask({ serverName: 'other.acme.test' }), false);
    assert.equal(await ask({ serverName: 'opa.acme.test', cert: '', key: '' }), false);
  });
});

test('an exchange names nothing but a code when it fails', async () => {
  const answer = await exchange(
    { allow: [allowed('https', '127.0.0.1', 1)] },
    wanted('127.0.0.1:1', { path: '/?secret' }),
  );
  assert.deepEqual(answer, { fault: 'the exchange failed (ECONNREFUSED)', reason: 'failed' });
});

test('an exchange that ends is told, with how', async () => {
  await using server = await startHttpStandIn({
    answer: (request, response) => {
      if (request.url !== '/slow') response.end('ok');
    },
  });
  const results: string[] = [];
  const allow = [allowed('http', '127.0.0.1', server.port)];
  const limits = { allow, timeoutMs: 10_000, maxResponseBytes: 1000, maxInFlight: 1, cacheBytes: 0 };
  const network = createPolicyNetwork(limits, { clock: systemClock, onEnd: (result) => results.push(result) });
  const ask = (more: object, signal = never, host = `127.0.0.1:${server.port}`): Promise<unknown> =>
    network.exchange(wanted(host, { scheme: 'http', ...more }), signal);
  const stop = new AbortController();
  try {
    await ask({});
    await ask({ path: '/slow', timeoutMs: 20 });
    await ask({}, never, 'evil.test');
    await ask({ path: '/a b' });
    const canceled = ask({ path: '/slow' }, stop.signal);
    await ask({});
    stop.abort();
    await canceled;
  } finally {
    network.close();
  }
  assert.deepEqual(results, ['answered', 'timeout', 'refused', 'failed', 'overloaded', 'canceled']);
});

test('a connection that the server closed meanwhile costs no request', async () => {
  const sockets = new Set<{ destroy(): unknown }>();
  await using server = await startHttpStandIn({
    answer: (request, response) => {
      sockets.add(request.socket);
      // The second request on a connection finds it closed, as where the server has just given it up.
      if (request.socket.bytesWritten > 0) request.socket.resetAndDestroy();
      else response.end('ok');
    },
  });
  const allow = [allowed('http', '127.0.0.1', server.port)];
  const limits = { allow, timeoutMs: 10_000, maxResponseBytes: 1000, maxInFlight: 1, cacheBytes: 0 };
  const network = createPolicyNetwork(limits, { clock: systemClock });
  const ask = async (method: string): Promise<boolean> => {
    const text = wanted(`127.0.0.1:${server.port}`, { scheme: 'http', method });
    const answer = await network.exchange(text, never);
    return answer !== 'overloaded' && isOk(answer);
  };
  try {
    assert.deepEqual([await ask('GET'), await ask('GET')], [true, true]);
    assert.equal(sockets.size, 2);
    // Who knows what the first attempt did.
    assert.deepEqual([await ask('GET'), await ask('POST')], [true, false]);
  } finally {
    network.close();
  }
});
