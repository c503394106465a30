import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { importOpaConfig, parseConfig } from '../../src/config/index.ts';
import { cli } from '../support/run-cli.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** As in OPA's own documentation of the plugin, with the parts that operators add. */
const FULL = `services:
  controller:
    url: https://bundles.example.test
    credentials: { bearer: { token: "\${TOKEN}" } }
labels: { region: eu }
bundles:
  istio/authz: { service: controller, resource: bundle.tar.gz }
decision_logs: { console: true }
status: { console: true }
plugins:
  envoy_ext_authz_grpc:
    addr: :9191
    path: /istio/authz/allow/
    dry-run: true
    enable-reflection: true
    proto-descriptor: /etc/opa/services.pb
    grpc-max-recv-msg-size: 40194304
    grpc-max-send-msg-size: 2147483647
    skip-request-body-parse: true
    enable-performance-metrics: true
    grpc-request-duration-seconds-buckets: [0.001, 0.1]
    retries: 3
  other_plugin: {}
`;

const ALWAYS = `- put the Rego and the data that OPA was given into ./policies/rego
- where no decision can be made the request is denied; the plugin gives a gRPC error: \`on_error: grpc\`
- headers that move a request elsewhere, and a deny with a success status, are denied: \`reply\`
- all other differences: docs/compatibility.md
`;

async function run(text: string, ...more: readonly string[]): ReturnType<typeof cli> {
  await using folder = await tempFolder();
  const file = join(folder.path, 'opa.yaml');
  await writeFile(file, text);
  const { code, out, err } = await cli('policy', 'import-opa-config', file, ...more);
  return { code, out: out.replaceAll(file, 'opa.yaml'), err: err.replaceAll(file, 'opa.yaml') };
}

/** The section as the server would read it. */
function read(section: string): NonNullable<ReturnType<typeof parseConfig>['value']>['authz'] {
  const { value, mistakes } = parseConfig(`trust_domain: td.test\n${section}`, '/etc/svidgate/svidgate.yaml');
  assert.equal(mistakes, undefined);
  return value?.authz;
}

describe('svidgate policy import-opa-config', () => {
  test('gives a section that the server takes, and names each key that does not carry over', async () => {
    const { code, out, err } = await run(FULL);
    assert.equal(code, 0);
    assert.equal(
      out,
      `authz:
  listen: 127.0.0.1:9191
  any_authority: true
  deny_body: "none"
  dry_run: true
  skip_request_body_parse: true
  proto_descriptor: /etc/opa/services.pb
  max_request_bytes: 40194304
  policies:
    default: { path: ./policies/rego, entrypoint: istio/authz/allow }
`,
    );
    const authz = read(out);
    assert.deepEqual(authz?.policies.get('default'), {
      path: '/etc/svidgate/policies/rego',
      entrypoint: 'istio/authz/allow',
    });
    assert.equal(authz?.denyBody, 'none');
    const lines = err.split('\n');
    for (const expected of [
      /^- opa\.yaml:15: plugins\.envoy_ext_authz_grpc\.enable-reflection reflection is always on$/,
      /^- opa\.yaml:18: .*grpc-max-send-msg-size /,
      /^- opa\.yaml:20: .*enable-performance-metrics metrics are always on/,
      /^- opa\.yaml:21: .*grpc-request-duration-seconds-buckets buckets are fixed/,
      /^- opa\.yaml:22: .*retries is not known, and not taken$/,
      /^- opa\.yaml:12: .*addr listens on all addresses; svidgate listens on loopback/,
      /^- opa\.yaml:23: plugins\.other_plugin is not taken: another plugin$/,
      /^- opa\.yaml:1: services become whole addresses/,
      /^- opa\.yaml:5: labels become `decision_log\.labels`$/,
      /^- opa\.yaml:6: bundles becomes `authz\.policies\.default\.bundle`/,
      /^- opa\.yaml:8: decision_logs become the section/,
      /^- opa\.yaml:9: status has no counterpart/,
      /^- the dry run goes on/,
    ]) {
      assert.ok(
        lines.some((line) => expected.test(line)),
        `${expected} in\n${err}`,
      );
    }
    assert.ok(err.endsWith(ALWAYS), err);
  });

  const cases: readonly {
    readonly plugin: string;
    readonly listen?: string;
    readonly entrypoint?: string;
    readonly says?: RegExp;
  }[] = [
    { plugin: '{}', says: /^- put the Rego/ },
    { plugin: '', says: /^- put the Rego/ },
    { plugin: '{addr: "127.0.0.1:9000"}', listen: '127.0.0.1:9000' },
    { plugin: '{addr: "grpc://localhost:9000"}', listen: '127.0.0.1:9000' },
    { plugin: '{addr: "unix:///run/opa/authz.sock"}', listen: 'unix:/run/opa/authz.sock' },
    {
      plugin: '{addr: "unix://@opa"}',
      listen: 'unix:/etc/svidgate/run/authz.sock',
      says: /addr is an abstract socket/,
    },
    { plugin: '{addr: "grpc://10.0.0.1:80"}', listen: '127.0.0.1:80', says: /addr listens on 10\.0\.0\.1/ },
    { plugin: '{query: data.istio.authz.allow}', entrypoint: 'istio/authz/allow' },
    { plugin: '{query: "data.a.b == true"}', says: /query is no rule or package/ },
    { plugin: '{path: "test/com.foo/allow"}', entrypoint: 'test/com.foo/allow' },
    { plugin: '{path: "a/0/b"}', says: /path is no rule or package/ },
    { plugin: '{path: "true"}', entrypoint: 'true' },
    { plugin: '{path: "a/${NAME}"}', says: /path has an environment variable/ },
    { plugin: '{grpc-max-recv-msg-size: 1000000000}', says: /svidgate takes up to 67108864 bytes/ },
  ];
  for (const { plugin, listen = '127.0.0.1:9191', entrypoint = 'envoy/authz/allow', says = /./ } of cases) {
    test(`reads ${plugin === '' ? 'nothing but the name of the plugin' : plugin}`, async () => {
      const { code, out, err } = await run(`plugins:\n  envoy.ext_authz.grpc: ${plugin}\n`);
      assert.equal(code, 0);
      const authz = read(out);
      const address = authz!.listeners[0].listen;
      assert.equal(address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`, listen);
      assert.equal(authz?.policies.get('default')?.entrypoint, entrypoint);
      assert.match(err, new RegExp(says.source, 'm'));
    });
  }

  const wrong: readonly (readonly [text: string, says: string])[] = [
    ['', 'opa.yaml:1:1: there is no configuration of the Envoy plugin'],
    ['[]', 'opa.yaml:1:1: there is no configuration of the Envoy plugin'],
    ['plugins: {other: {}}', 'opa.yaml:1:1: there is no configuration of the Envoy plugin'],
    ['plugins: {envoy_ext_authz_grpc: [1]}', 'opa.yaml:1:33: the configuration of the plugin is no mapping'],
    ['plugins: {envoy_ext_authz_grpc: {path: a, query: data.a}}', '`path` and `query` are both given'],
    ['plugins: {envoy_ext_authz_grpc: {addr: 9191}}', '`addr` is no text'],
    ['plugins: {envoy_ext_authz_grpc: {addr: "http://x"}}', '`addr` is "http://x"'],
    ['plugins: {envoy_ext_authz_grpc: {dry-run: maybe}}', '`dry-run` is neither true nor false'],
    ['plugins: {envoy_ext_authz_grpc: {grpc-max-recv-msg-size: 1MB}}', 'is no number of bytes'],
    ['plugins: {envoy_ext_authz_grpc: {}, envoy.ext_authz.grpc: {}}', 'the plugin is configured twice'],
    ['plugins: {', 'opa.yaml:1:'],
  ];
  for (const [text, says] of wrong) {
    test(`refuses ${JSON.stringify(text)}`, async () => {
      const { code, out, err } = await run(text);
      assert.equal(code, 2);
      assert.equal(out, '');
      assert.ok(err.includes(says), err);
    });
  }

  test('gives JSON, and takes it', async () => {
    const text = JSON.stringify({ plugins: { envoy_ext_authz_grpc: { addr: 'unix:///a/b', path: 'x/y' } } });
    const { code, out } = await run(text, '--output', 'json');
    assert.equal(code, 0);
    const { authz, differences } = JSON.parse(out) as { readonly authz: unknown; readonly differences: unknown[] };
    const policies = { default: { path: './policies/rego', entrypoint: 'x/y' } };
    assert.deepEqual(authz, { listen: 'unix:/a/b', any_authority: true, deny_body: 'none', policies });
    assert.equal(differences.length, 4);
  });

  test('fails on a file that is not there', async () => {
    const { code, err } = await cli('policy', 'import-opa-config', '/nowhere/opa.yaml');
    assert.equal(code, 2);
    assert.match(err, /it does not exist/);
  });

  test('text of any kind gives a section that the server takes, or mistakes', () => {
    const key = fc.constantFrom(
      'addr',
      'path',
      'query',
      'dry-run',
      'proto-descriptor',
      'grpc-max-recv-msg-size',
      '__proto__',
    );
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 1 }),
      fc.constantFrom(':1', 'unix:///s', 'a/b', 'data.a', 4096, true),
    );
    fc.assert(
      fc.property(fc.dictionary(key, value), (plugin) => {
        const text = JSON.stringify({ plugins: { envoy_ext_authz_grpc: plugin } });
        const { authz, mistakes } = importOpaConfig(text, 'opa.json');
        if (mistakes !== undefined) return;
        const section = parseConfig(JSON.stringify({ trust_domain: 'td.test', authz }), '/etc/svidgate.yaml');
        assert.equal(section.mistakes, undefined, JSON.stringify(section.mistakes));
      }),
    );
  });
});
