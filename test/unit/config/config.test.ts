import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile, mkdir, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatListenAddress, formatMistake, loadConfig, parseConfig, readConfig } from '../../../src/config/index.ts';
import { SDS_DEFAULTS } from './sds-defaults.ts';

const FILE = '/etc/svidgate/svidgate.yaml';
function mistakesOf(text: string, file = FILE): string[] {
  return (parseConfig(text, file).mistakes ?? []).map(formatMistake).map((line) => line.replace(`${file}:`, ''));
}

test('a trust domain alone is a whole configuration, with the gate off', () => {
  assert.deepEqual(parseConfig('trust_domain: prod.acme.test\n', FILE).value, {
    file: FILE,
    trustDomain: 'prod.acme.test',
    dataDir: '/etc/svidgate/data',
    workloadSocket: '/etc/svidgate/run/api.sock',
    workloadSocketAliases: [],
    identitySource: { kind: 'authority' },
    admin: { socket: '/etc/svidgate/run/admin.sock' },
    authority: {
      caTtlMs: 86_400_000,
      x509SvidTtlMs: 3_600_000,
      jwtSvidTtlMs: 300_000,
      keyType: 'ec-p256',
      jwtKeyType: 'ec-p256',
      svidKeyType: 'ec-p256',
      ackTimeoutMs: 30_000,
      keyManager: { kind: 'disk' },
    },
    attestation: {
      unix: { discoverWorkloadPath: true, allowWithoutPid: false, executableDigest: { kind: 'unlimited' } },
    },
    revokesOnWorkloadExit: false,
    audit: { file: '/etc/svidgate/data/audit/audit.jsonl', maxBytes: 67_108_864, maxFiles: 8, required: false },
    sds: SDS_DEFAULTS,
    telemetry: { listen: { kind: 'tcp', host: '127.0.0.1', port: 9988 }, logLevel: 'info' },
  });
});

test('every key reaches the resolved configuration, with paths from the folder of the file', () => {
  const text = `
trust_domain: td.test
data_dir: /var/lib/svidgate
workload_socket: ../run/api.sock
identity_source: workload_api
upstream_workload_socket: /run/agent.sock
admin:
  socket: /run/admin.sock
  allow: [{ uid: 0, role: authority }, { uid: 1000, role: registrar, path_prefix: /team-a/ }]
authority:
  ca_ttl: 2h
  x509_svid_ttl: 30m
  jwt_svid_ttl: 90s
  key_type: ec-p384
  jwt_key_type: rsa-2048
  svid_key_type: rsa-2048
  prepare_before: 1h
  activate_before: 20m
  ack_timeout: 5s
  key_manager:
    vault:
      address: https://vault.acme.test:8200/
      namespace: mesh
      ca_file: vault.pem
      key_prefix: prod
      auth: { approle: { role_id: svidgate, secret_id_file: /run/secrets/id } }
  upstream: { disk: { certificate: ca.pem, key: ca.key, bundle: roots.pem } }
entries: entries.yaml
attestation:
  unix: { discover_workload_path: false, allow_without_pid: true, workload_size_limit: 1000 }
  systemd: {}
  docker: { socket: /run/podman.sock }
  kubernetes: { node_name: node-1, read_only_port: 10255, namespace_labels: { api_server_port: 6443 } }
federation: { bundles: ./bundles }
revocation: { on_workload_exit: true }
audit: { file: /var/log/audit.jsonl, max_bytes: 65536, max_files: 2, required: true }
sds: { default_svid_name: mine, default_bundle_name: ours, default_all_bundles_name: every, unknown_name: wait,
  disable_spiffe_cert_validation: true }
authz:
  listen: unix:./run/authz.sock
  drain_time: 7s
  on_error: grpc
  deny_unregistered: true
  any_authority: true
  eval_timeout: 20ms
  max_request_bytes: 65536
  skip_request_body_parse: true
  proto_descriptor: ./services.pb
  dry_run: true
  path_guard: normalize
  deny_body: none
  reply: { allow_headers: [':Path', 'x-envoy-*'], allow_success_on_deny: true }
  offload_lease: 30s
  policies:
    default: { path: ./policies }
    constructor: { path: /p, entrypoint: /a/b.c/d_e/, offload: on, fast_deny: true }
telemetry: { listen: "[::1]:0", log_level: debug }
`;
  assert.deepEqual(parseConfig(text, FILE).value, {
    file: FILE,
    trustDomain: 'td.test',
    dataDir: '/var/lib/svidgate',
    workloadSocket: '/etc/run/api.sock',
    workloadSocketAliases: [],
    identitySource: { kind: 'workload_api', socket: '/run/agent.sock' },
    admin: {
      socket: '/run/admin.sock',
      allow: [
        { uid: 0, role: 'authority' },
        { uid: 1000, role: 'registrar', pathPrefix: '/team-a/' },
      ],
    },
    authority: {
      caTtlMs: 7_200_000,
      x509SvidTtlMs: 1_800_000,
      jwtSvidTtlMs: 90_000,
      keyType: 'ec-p384',
      jwtKeyType: 'rsa-2048',
      svidKeyType: 'rsa-2048',
      prepareBeforeMs: 3_600_000,
      activateBeforeMs: 1_200_000,
      ackTimeoutMs: 5000,
      keyManager: {
        kind: 'vault',
        mount: 'transit',
        keyPrefix: 'prod',
        vault: {
          address: 'https://vault.acme.test:8200',
          namespace: 'mesh',
          caFile: '/etc/svidgate/vault.pem',
          auth: { kind: 'approle', mount: 'approle', roleId: 'svidgate', secretIdFile: '/run/secrets/id' },
        },
      },
      upstream: {
        kind: 'disk',
        certificateFile: '/etc/svidgate/ca.pem',
        keyFile: '/etc/svidgate/ca.key',
        bundleFile: '/etc/svidgate/roots.pem',
      },
    },
    entriesFile: '/etc/svidgate/entries.yaml',
    attestation: {
      unix: {
        discoverWorkloadPath: false,
        allowWithoutPid: true,
        executableDigest: { kind: 'limited', maxBytes: 1000 },
      },
      systemd: { busSocket: '/run/dbus/system_bus_socket' },
      docker: { socket: '/run/podman.sock' },
      kubernetes: {
        kubeletAddress: '127.0.0.1',
        kubeletPort: 10_250,
        readOnlyPort: 10_255,
        caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
        skipKubeletVerification: false,
        tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
        nodeName: 'node-1',
        namespaceLabels: {
          apiServerAddress: 'kubernetes.default.svc',
          apiServerPort: 6443,
          apiServerCaFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
          apiServerTokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
        },
        pollAttempts: 60,
        pollIntervalMs: 500,
      },
    },
    bundlesFolder: '/etc/svidgate/bundles',
    revokesOnWorkloadExit: true,
    audit: { file: '/var/log/audit.jsonl', maxBytes: 65_536, maxFiles: 2, required: true },
    sds: {
      ...SDS_DEFAULTS,
      defaultSvidName: 'mine',
      defaultBundleName: 'ours',
      defaultAllBundlesName: 'every',
      disableSpiffeCertValidation: true,
      unknownName: 'wait',
    },
    authz: {
      listeners: [
        {
          name: 'gate',
          listen: { kind: 'unix', path: '/etc/svidgate/run/authz.sock' },
          policies: new Set(['default', 'constructor']),
          defaultPolicy: 'default',
        },
      ],
      httpListeners: [],
      drainTimeMs: 7000,
      onError: 'grpc',
      denyUnregistered: true,
      anyAuthority: true,
      evalTimeoutMs: 20,
      maxRequestBytes: 65_536,
      skipRequestBodyParse: true,
      protoDescriptorFile: '/etc/svidgate/services.pb',
      dryRun: true,
      pathGuard: 'normalize',
      denyBody: 'none',
      offloadLeaseMs: 30_000,
      reply: { allowedHeaders: [':path', 'x-envoy-*'], allowsSuccessOnDeny: true },
      identity: { jwtProviders: new Map(), xfccTrusted: [] },
      policies: new Map([
        ['default', { path: '/etc/svidgate/policies', entrypoint: 'envoy/authz/allow' }],
        ['constructor', { path: '/p', entrypoint: 'a/b.c/d_e', offload: { fastDeny: true } }],
      ]),
    },
    telemetry: { listen: { kind: 'tcp', host: '::1', port: 0 }, logLevel: 'debug' },
  });
});

test('an empty authz section turns the gate on with the shipped policy folder', () => {
  const { value } = parseConfig('trust_domain: td.test\nauthz: {}\n', FILE);
  assert.deepEqual(value?.authz?.listeners[0].listen, { kind: 'tcp', host: '127.0.0.1', port: 9191 });
  assert.deepEqual(value?.authz?.policies.get('default'), {
    path: '/etc/svidgate/policies/rego',
    entrypoint: 'envoy/authz/allow',
  });
});

test('each rule of the configuration is told with its place', () => {
  const loopback =
    'a Unix socket (unix:PATH) or a loopback address (127.0.0.1:PORT, [::1]:PORT) is required where there is no `tls`';
  const gate = (listen: string): string => `trust_domain: td.test\nauthz: {listen: "${listen}"}\n`;
  const td = 'trust_domain: td.test\n';
  const long = `/${'x'.repeat(107)}`;
  const cases: readonly (readonly [text: string, ...mistakes: string[]])[] = [
    [
      'trust_domain: Prod.acme\n',
      '1:15: `trust_domain` is "Prod.acme": trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores',
    ],
    ['trust_domain: ""\n', '1:15: `trust_domain` is "": trust domain is missing'],
    [
      'workload_sockt: a\ntrust_domain: td.test\n',
      '1:1: unknown key `workload_sockt`: did you mean `workload_socket`?',
    ],
    [gate('0.0.0.0:9191'), `2:17: \`authz.listen\` is "0.0.0.0:9191": ${loopback}`],
    [gate(':9191'), '2:17: `authz.listen` is ":9191": expected an IP address or a host name before the port'],
    [gate('gate.acme.test:9191'), `2:17: \`authz.listen\` is "gate.acme.test:9191": ${loopback}`],
    [gate('[::]:9191'), `2:17: \`authz.listen\` is "[::]:9191": ${loopback}`],
    [gate('[::ffff:127.0.0.1]:9191'), `2:17: \`authz.listen\` is "[::ffff:127.0.0.1]:9191": ${loopback}`],
    [gate('127.evil.test:9191'), `2:17: \`authz.listen\` is "127.evil.test:9191": ${loopback}`],
    [
      gate('127.0.0.1'),
      '2:17: `authz.listen` is "127.0.0.1": expected HOST:PORT with a port up to 65535, or unix:PATH',
    ],
    [
      gate('127.0.0.1:65536'),
      '2:17: `authz.listen` is "127.0.0.1:65536": expected HOST:PORT with a port up to 65535, or unix:PATH',
    ],
    [gate('unix:'), '2:17: `authz.listen` is "unix:": expected a path, absolute or from the folder of this file'],
    [
      `${td}workload_socket: ${long}\n`,
      `2:18: \`workload_socket\` is "${long.slice(0, 60)}…": a socket path has at most 107 bytes; ${long} has 108`,
    ],
    [
      `${td}authority: {ca_ttl: 1h, x509_svid_ttl: 2h}\n`,
      '2:40: `authority.x509_svid_ttl` (2h) is longer than `authority.ca_ttl`: expected at most 1h: an SVID never outlives its CA',
    ],
    [
      `${td}authority:\n  ca_ttl: 0s\n`,
      '3:11: `authority.ca_ttl` is "0s": expected a duration from 10s to 87600h, such as 24h',
    ],
    [
      `${td}authority: {key_type: rsa}\n`,
      '2:23: `authority.key_type` is "rsa": expected one of `ec-p256`, `ec-p384`, `rsa-2048`, `rsa-4096`',
    ],
    [
      `${td}authority: {prepare_before: 1h, activate_before: 2h}\n`,
      '2:50: `authority.activate_before` is longer than `authority.prepare_before`: a CA is published before it signs',
    ],
    [
      `${td}authority: {key_manager: {disk: {}, memory: {}}}\n`,
      '2:26: `key_manager` has more than one of `memory`, `disk`, `pkcs11`, `vault`: give exactly one of them',
    ],
    [
      `${td}authority: {key_manager: {pkcs11: {module: /m, token_label: t}}}\n`,
      '2:35: `pkcs11` has none of `pin_file`, `pin_env`: give exactly one of them',
    ],
    [
      `${td}authority: {upstream: {vault: {address: "http://vault.test:8200", auth: {token_env: T}}}}\n`,
      '2:41: `authority.upstream.vault.address` is "http://vault.test:8200": expected https://HOST:PORT without user or query; http on loopback alone',
    ],
    [
      `${td}admin: {allow: [{role: viewer}]}\n`,
      '2:17: missing key `admin.allow[0].uid`: expected a whole number from 0 to 4294967294',
    ],
    [
      `${td}admin: {allow: [{uid: 1, role: viewer, path_prefix: /a}]}\n`,
      '2:53: `path_prefix` has no meaning for this role: leave it out, or set `role: registrar`',
    ],
    [
      `${td}identity_source: workload_api\n`,
      "2:18: `identity_source` is `workload_api`, and `upstream_workload_socket` is missing: name the socket of the agent's Workload API",
    ],
    [
      `${td}upstream_workload_socket: /a\n`,
      '2:27: `upstream_workload_socket` has no meaning for this `identity_source`: leave it out, or set `identity_source: workload_api`',
    ],
    [
      `${td}attestation: {kubernetes: {kubelet_address: node-1, skip_kubelet_verification: true}}\n`,
      '2:80: `skip_kubelet_verification` is set for a kubelet that is not on loopback: give `ca_file` instead: whoever answers there says who a caller is',
    ],
    [
      `${td}attestation: {kubernetes: {client_key: /k}}\n`,
      '2:27: `kubernetes` has only one of `client_certificate` and `client_key`: give both or none',
    ],
    [
      `${td}admin: {socket: ./run/api.sock}\n`,
      '2:17: `admin.socket` is the same address as `workload_socket`: give each its own',
    ],
    [
      `${td}authz: {listen: unix:run/x/../api.sock}\n`,
      '2:17: `authz.listen` is the same address as `workload_socket`: give each its own',
    ],
    [
      `${td}authz: {listen: "localhost:9988"}\n`,
      '1:1: `telemetry.listen` is the same address as `authz.listen`: give each its own',
    ],
    [
      `${td}authz:\n  policies: {}\n`,
      '3:13: no name is given: expected at least one policy, such as `default: { path: ./policies/rego }`',
    ],
    [
      `${td}authz:\n  policies:\n    a/b: {path: p}\n`,
      '4:5: "a/b" is not a valid name: use 1 to 64 letters, digits, `.`, `-` or `_`, the first a letter or digit',
    ],
    [
      `${td}authz:\n  policies:\n    a:\n      entrypoint: data.a.b\n`,
      '5:7: `policy` has none of `path`, `bundle`: give exactly one of them',
      '5:19: `authz.policies.a.entrypoint` is "data.a.b": expected package and rule with slashes, such as envoy/authz/allow',
    ],
    [
      `${td}attestation: {unix: {workload_size_limit: -2}}\n`,
      '2:43: `attestation.unix.workload_size_limit` is the number -2: expected a whole number of bytes from -1 to 9007199254740991',
    ],
    [
      `${td}telemetry: {log_level: trace}\n`,
      '2:24: `telemetry.log_level` is "trace": expected one of `debug`, `info`, `warn`, `error`',
    ],
  ];
  for (const [text, ...mistakes] of cases) assert.deepEqual(mistakesOf(text), mistakes, text);
});

test('a default that does not fit is told too', () => {
  const file = `/${'x'.repeat(100)}/svidgate.yaml`;
  assert.deepEqual(mistakesOf('trust_domain: td.test\nadmin: {socket: /a}\n', file), [
    `1:1: the default of \`workload_socket\` does not fit: a socket path has at most 107 bytes; /${'x'.repeat(100)}/run/api.sock has 114`,
  ]);
});

test('listen addresses are written back as they are read', () => {
  for (const text of ['unix:/run/a.sock', '127.0.0.1:0', '127.8.9.1:9191', '[::1]:80']) {
    const { value } = parseConfig(`trust_domain: td.test\nauthz: {listen: "${text}"}\n`, FILE);
    assert.ok(value?.authz);
    assert.equal(formatListenAddress(value.authz.listeners[0].listen), text);
  }
});

test('a file that cannot be read is a mistake with a reason', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'svidgate-config-'));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'folder'));
  await writeFile(join(folder, 'latin1.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  await writeFile(join(folder, 'large.yaml'), '');
  await truncate(join(folder, 'large.yaml'), 2 ** 20 + 1);
  for (const [name, message] of [
    ['none.yaml', 'cannot read the file: it does not exist: check the path and its permissions'],
    ['folder', 'cannot read the file: it is not a regular file: name a YAML file'],
    ['latin1.yaml', 'the file is not UTF-8: save it as UTF-8'],
    ['large.yaml', 'the file has 1048577 bytes: keep it to at most 1048576 bytes'],
  ] as const) {
    const file = join(folder, name);
    const read = await readConfig(file);
    assert.deepEqual((read.mistakes ?? []).map(formatMistake), [`${file}:1:1: ${message}`]);
    await assert.rejects(loadConfig(file), { code: 'config_invalid', message: `${file}:1:1: ${message}` });
  }
  await writeFile(join(folder, 'ok.yaml'), '\uFEFFtrust_domain: td.test\r\n');
  assert.equal((await loadConfig(join(folder, 'ok.yaml'))).trustDomain, 'td.test');
});

test('any YAML values in any keys give a configuration or mistakes', () => {
  const key = fc.constantFrom('trust_domain', 'authority', 'ca_ttl', 'authz', 'listen', 'policies', 'sds', '__proto__');
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, fc.jsonValue(), fc.constant('td.test'), fc.constant('1h'), tie('mapping')),
    mapping: fc.dictionary(key, tie('value'), { maxKeys: 5 }),
  }));
  fc.assert(
    fc.property(value, (document) => {
      const parsed = parseConfig(JSON.stringify(document), FILE);
      return parsed.mistakes === undefined ? parsed.value.trustDomain.length > 0 : parsed.mistakes.length > 0;
    }),
  );
});
