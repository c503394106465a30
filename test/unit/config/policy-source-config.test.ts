import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseConfig } from '../../../src/config/index.ts';

function read(lines: string): ReturnType<typeof parseConfig> {
  const indented = lines
    .trim()
    .split('\n')
    .map((line) => `        ${line}`);
  const text = ['trust_domain: prod.acme.test', 'authz:', '  policies:', '    default:', '      bundle:', ...indented];
  return parseConfig(`${text.join('\n')}\n`, '/etc/svidgate/svidgate.yaml');
}

function bundleOf(lines: string): unknown {
  const { value, mistakes } = read(lines);
  assert.deepEqual(mistakes, undefined);
  return value?.authz?.policies.get('default')?.bundle;
}

const DEFAULTS = {
  pollIntervalMs: 60_000,
  longPollMs: 0,
  timeoutMs: 60_000,
  maxBytes: 64 * 2 ** 20,
  allowOrigins: [],
};

describe('where a bundle comes from', () => {
  const https = (url: string): object => ({ kind: 'http', url });
  const oci = (origin: string, repository: string, reference: string): object => ({
    kind: 'oci',
    origin,
    repository,
    reference,
  });
  const digest = `sha256:${'a'.repeat(64)}`;
  const places: readonly (readonly [url: string, place: object])[] = [
    ['https://bundles.acme.test/payments.tar.gz', https('https://bundles.acme.test/payments.tar.gz')],
    ['HTTPS://Bundles.acme.test:443/a?env=prod', https('https://bundles.acme.test/a?env=prod')],
    ['http://127.0.0.1:8080/a', https('http://127.0.0.1:8080/a')],
    ['http://[::1]/a', https('http://[::1]/a')],
    ['oci://ghcr.io/acme/policies:v1', oci('https://ghcr.io', 'acme/policies', 'v1')],
    ['oci://registry.test:5000/p:1.2_3-x', oci('https://registry.test:5000', 'p', '1.2_3-x')],
    [`oci://ghcr.io/acme/policies@${digest}`, oci('https://ghcr.io', 'acme/policies', digest)],
    [`oci://ghcr.io/acme/policies:v1@${digest}`, oci('https://ghcr.io', 'acme/policies', digest)],
    ['oci://127.0.0.1:5000/p:v1', oci('http://127.0.0.1:5000', 'p', 'v1')],
    ['oci://localhost:5000/p:v1', oci('https://localhost:5000', 'p', 'v1')],
  ];
  for (const [url, place] of places) {
    test(url, () => assert.deepEqual(bundleOf(`url: ${JSON.stringify(url)}`), { ...DEFAULTS, place }));
  }

  const wrong: readonly (readonly [url: string, remedy: RegExp])[] = [
    ['http://bundles.acme.test/a', /expected https:/],
    ['http://localhost/a', /expected https:/],
    ['http://127.0.0.1.acme.test/a', /expected https:/],
    ['https://user:pass@bundles.acme.test/a', /no credentials/],
    ['https://bundles.acme.test/a#b', /without `#`/],
    ['ftp://bundles.acme.test/a', /expected https:\/\/…, oci:/],
    ['bundles.acme.test/a', /expected https:\/\/…, oci:/],
    ['oci://ghcr.io/acme/policies', /expected oci:\/\/REGISTRY\/REPOSITORY:TAG/],
    ['oci://ghcr.io/Acme/policies:v1', /expected oci:/],
    ['oci://ghcr.io/../policies:v1', /expected oci:/],
    ['oci://user@ghcr.io/policies:v1', /expected oci:/],
    ['oci://ghcr.io/policies@sha256:abc', /expected oci:/],
    ['oci://ghcr.io/policies:v1?x=y', /expected oci:/],
  ];
  for (const [url, remedy] of wrong) {
    test(`${url} is a mistake`, () => {
      const { mistakes = [] } = read(`url: ${JSON.stringify(url)}`);
      assert.equal(mistakes.length, 1);
      assert.match(mistakes[0]?.remedy ?? '', remedy);
      assert.deepEqual([mistakes[0]?.line, mistakes[0]?.file], [6, '/etc/svidgate/svidgate.yaml']);
    });
  }
});

test('all keys are read, files from the folder of the configuration', () => {
  const bundle = bundleOf(`
url: https://bundles.acme.test/a
poll_interval: 30s
long_poll: 5m
timeout: 10s
max_bytes: 1048576
token_file: ./token
tls: { spiffe_id: spiffe://prod.acme.test/gate, server_spiffe_id: spiffe://other.test/bundles }
allow_origins: [https://storage.acme.test, https://storage.acme.test:8443/]
`);
  assert.deepEqual(bundle, {
    place: { kind: 'http', url: 'https://bundles.acme.test/a' },
    pollIntervalMs: 30_000,
    longPollMs: 300_000,
    timeoutMs: 10_000,
    maxBytes: 1_048_576,
    tokenFile: '/etc/svidgate/token',
    spiffeId: 'spiffe://prod.acme.test/gate',
    serverSpiffeId: 'spiffe://other.test/bundles',
    allowOrigins: ['https://storage.acme.test', 'https://storage.acme.test:8443'],
  });
});

describe('mistakes between keys', () => {
  const url = 'url: https://bundles.acme.test/a';
  const cases: readonly (readonly [name: string, lines: string, message: RegExp])[] = [
    [
      'two proofs of the server',
      `${url}\ntls: { ca_file: ./ca.pem, server_spiffe_id: spiffe://prod.acme.test/b }`,
      /both `ca_file` and `server_spiffe_id`/,
    ],
    [
      'an SVID of another trust domain',
      `${url}\ntls: { spiffe_id: spiffe://other.test/gate }`,
      /is not of trust domain `prod\.acme\.test`/,
    ],
    ['an SVID of the trust domain itself', `${url}\ntls: { spiffe_id: spiffe://prod.acme.test }`, /spiffe_id/],
    ['TLS for an address without it', 'url: http://127.0.0.1/a\ntls: { ca_file: ./ca.pem }', /no meaning without TLS/],
    ['a registry that waits for news', 'url: oci://ghcr.io/a:v1\nlong_poll: 30s', /no meaning for a registry/],
    ['an origin with a path', `${url}\nallow_origins: [https://storage.acme.test/a]`, /allow_origins/],
    ['an origin without TLS', `${url}\nallow_origins: [http://storage.acme.test]`, /allow_origins/],
    ['no address', 'poll_interval: 5s', /missing key `authz\.policies\.default\.bundle\.url`/],
  ];
  for (const [name, lines, message] of cases) {
    test(name, () => {
      const { mistakes = [] } = read(lines);
      assert.equal(mistakes.length, 1, JSON.stringify(mistakes));
      assert.match(mistakes[0]?.message ?? '', message);
    });
  }

  for (const [name, keys] of [
    ['both a path and a bundle', 'path: ./rego, bundle: { url: https://bundles.acme.test/a }'],
    ['neither', 'entrypoint: a/b'],
  ] as const) {
    test(name, () => {
      const text = `trust_domain: prod.acme.test\nauthz: { policies: { default: { ${keys} } } }\n`;
      const { mistakes = [] } = parseConfig(text, '/svidgate.yaml');
      assert.equal(mistakes.length, 1, JSON.stringify(mistakes));
      assert.match(mistakes[0]?.remedy ?? '', /exactly one/);
    });
  }
});
