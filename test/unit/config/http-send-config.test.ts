import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatMistake, parseConfig } from '../../../src/config/index.ts';
import type { HttpSendConfig } from '../../../src/config/http-send-config.ts';

const FILE = '/etc/svidgate/svidgate.yaml';

function read(httpSend: string): {
  readonly config?: HttpSendConfig | undefined;
  readonly mistakes: readonly string[];
} {
  const { value, mistakes } = parseConfig(`trust_domain: td.test\nauthz: { http_send: { ${httpSend} } }\n`, FILE);
  return { config: value?.authz?.httpSend, mistakes: (mistakes ?? []).map(formatMistake) };
}

test('http.send is off where nothing is said', () => {
  assert.equal(parseConfig('trust_domain: td.test\nauthz: {}\n', FILE).value?.authz?.httpSend, undefined);
});

test('the section has defaults, but nobody to ask', () => {
  assert.deepEqual(read('allow: ["https://opa.acme.test"]').config, {
    allow: [{ scheme: 'https', hostname: 'opa.acme.test', isSuffix: false, port: 443 }],
    timeoutMs: 500,
    maxResponseBytes: 2 ** 20,
    maxInFlight: 100,
    cacheBytes: 16 * 2 ** 20,
  });
  assert.match(read('timeout: 1s').mistakes.join(), /allow/);
  assert.match(read('allow: []').mistakes.join(), /allow/);
});

test('all of it can be set', () => {
  const more = 'timeout: 1s, max_response_bytes: 2048, max_in_flight: 3, cache: { max_bytes: 0 }, ca_file: ca.pem';
  assert.deepEqual(read(`allow: ["http://127.0.0.1:8181"], ${more}`).config, {
    allow: [{ scheme: 'http', hostname: '127.0.0.1', isSuffix: false, port: 8181 }],
    timeoutMs: 1000,
    maxResponseBytes: 2048,
    maxInFlight: 3,
    cacheBytes: 0,
    caFile: '/etc/svidgate/ca.pem',
  });
});

describe('an origin', () => {
  const good: readonly (readonly [text: string, hostname: string, port: number, isSuffix?: boolean])[] = [
    ['https://OPA.acme.test/', 'opa.acme.test', 443],
    ['https://opa.acme.test:8443', 'opa.acme.test', 8443],
    ['https://*.acme.test', 'acme.test', 443, true],
    ['https://bücher.test', 'xn--bcher-kva.test', 443],
    ['https://[::1]:8443', '[::1]', 8443],
    ['https://0x7f.1', '127.0.0.1', 443],
  ];
  for (const [text, hostname, port, isSuffix = false] of good) {
    test(`${text} is taken`, () => {
      assert.deepEqual(read(`allow: ["${text}"]`).config?.allow, [{ scheme: 'https', hostname, isSuffix, port }]);
    });
  }

  const bad = [
    '',
    'opa.acme.test',
    'opa.acme.test:443',
    'ftp://opa.acme.test',
    'unix:/run/opa.sock',
    'https://',
    'https://opa.acme.test/v1',
    'https://opa.acme.test/?x',
    'https://opa.acme.test/#x',
    'https://u:p@opa.acme.test',
    'https://*',
    'https://*.test',
    'https://a.*.acme.test',
    'https://*opa.acme.test',
    'https://*.*.acme.test',
    'https://*.1.2.3',
    'https://opa.acme.test:99999',
  ];
  for (const text of bad) {
    test(`${JSON.stringify(text)} is a mistake`, () => {
      const { config, mistakes } = read(`allow: ["${text}"]`);
      assert.equal(config, undefined);
      assert.match(mistakes.join(), /authz\.http_send\.allow|expected/);
      assert.doesNotMatch(mistakes.join(), /u:p@.*u:p@/);
    });
  }
});
