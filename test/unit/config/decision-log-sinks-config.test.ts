import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type DecisionLogSinksConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate.yaml';

function textOf(keys: string): string {
  return `trust_domain: td.test\ndata_dir: ./state\ndecision_log: { ${keys} }\n`;
}

function sinksOf(keys: string): DecisionLogSinksConfig {
  const { value, mistakes } = parseConfig(textOf(keys), FILE);
  assert.ok(value?.decisionLog, mistakes?.map(formatMistake).join('\n'));
  const { labels: _labels, shown: _shown, ...sinks } = value.decisionLog;
  return sinks;
}

test('records are kept in the data directory, and nobody else gets them', () => {
  assert.deepEqual(sinksOf(''), { folder: '/etc/state/decisions', maxBytes: 2 ** 30, stdout: false });
});

test('every key of the sinks', () => {
  const receiver = 'url: "https://logs.test:8443/a/logs", token_file: ./token, ca_file: /ca.pem';
  const opa = `${receiver}, min_delay: 1s, max_delay: 2m, upload_bytes: 65536, max_decisions_per_second: 100`;
  const otlp = 'url: "http://[::1]:4318/v1/logs"';
  assert.deepEqual(sinksOf(`folder: ./log, max_bytes: 1048576, stdout: true, opa: { ${opa} }, otlp: { ${otlp} }`), {
    folder: '/etc/log',
    maxBytes: 2 ** 20,
    stdout: true,
    opa: {
      url: 'https://logs.test:8443/a/logs',
      tokenFile: '/etc/token',
      caFile: '/ca.pem',
      minDelayMs: 1000,
      maxDelayMs: 120_000,
      uploadBytes: 65_536,
      maxDecisionsPerSecond: 100,
    },
    otlp: { url: 'http://[::1]:4318/v1/logs' },
  });
  assert.partialDeepStrictEqual(sinksOf('opa: { url: "http://localhost:8080/logs" }'), {
    opa: { minDelayMs: 5000, maxDelayMs: 60_000, uploadBytes: 32 * 1024 },
  });
});

const WRONG: readonly (readonly [keys: string, mistake: RegExp])[] = [
  ['max_bytes: 1000', /max_bytes`/],
  ['opa: {}', /`opa\.url`|`decision_log\.opa\.url`/],
  ['opa: { url: logs.test }', /expected a URL such as/],
  ['opa: { url: "ftp://logs.test/" }', /expected a URL such as/],
  ['opa: { url: "http://logs.test/logs" }', /http is for receivers on this machine/],
  ['otlp: { url: "http://10.0.0.1:4318/v1/logs" }', /http is for receivers on this machine/],
  ['opa: { url: "https://me:secret@logs.test/" }', /no credentials in the URL/],
  ['opa: { url: "https://logs.test/", min_delay: 2m, max_delay: 1m }', /`max_delay` is shorter than `min_delay`/],
  ['opa: { url: "https://logs.test/", upload_bytes: 10 }', /upload_bytes`/],
  ['opa: { url: "https://logs.test/", max_decisions_per_second: 0 }', /max_decisions_per_second`/],
];
for (const [keys, mistake] of WRONG) {
  test(`${keys} is a mistake`, () => {
    const { mistakes } = parseConfig(textOf(keys), FILE);
    assert.match(mistakes?.map(formatMistake).join('\n') ?? '', mistake);
  });
}
