import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { globSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parseConfig } from '../../src/config/index.ts';
import { root } from '../../tools/setup/paths.mjs';
import { envoyVersions } from '../support/envoy-versions.ts';
import { documentedPorts, readYaml, relocate, type YamlMap } from '../support/envoy-bootstrap.ts';

const run = promisify(execFile);
const EXAMPLES = join(root, 'envoy-examples');
const examples = readdirSync(EXAMPLES, { withFileTypes: true }).filter((entry) => entry.isDirectory());

for (const { name } of examples) {
  const dir = join(EXAMPLES, name);
  const files = readdirSync(dir).filter((file) => file.endsWith('.yaml'));
  const topOf = (file: string): YamlMap => readYaml(join(dir, file));
  const bootstraps = files.filter((file) => 'static_resources' in topOf(file));
  const configs = files.filter((file) => 'trust_domain' in topOf(file));

  describe(`envoy-examples/${name}`, () => {
    let scratch = '';
    before(async () => (scratch = await mkdtemp(join(tmpdir(), 'sg-validate-'))));
    after(async () => rm(scratch, { recursive: true, force: true }));

    for (const file of bootstraps) {
      for (const envoy of envoyVersions()) {
        test(`${envoy.name} takes ${file}`, { skip: envoy.skip }, async () => {
          const args = ['--mode', 'validate', '-c', join(dir, file), '--disable-hot-restart', '--log-level', 'warning'];
          const { stdout, stderr } = await run(envoy.path ?? '', args, { cwd: scratch });
          assert.match(stdout, /configuration '.*' OK/);
          assert.doesNotMatch(stderr, /deprecated/i);
        });
      }

      test(`${file} keeps the rules of every configuration we ship`, () => {
        for (const { path, value } of mapsOf(topOf(file))) assertOurRules(`${name}/${file}${path}`, value);
      });

      test(`${file} can be moved to other ports without losing one`, () => {
        const bootstrap = topOf(file);
        const ports = new Map(documentedPorts(bootstrap).map((port) => [port, port + 10_000]));
        const moved = relocate(bootstrap, { address: '127.9.9.9', ports, dir: '/somewhere' });
        assert.deepEqual(documentedPorts(moved), []);
        assert.doesNotMatch(JSON.stringify(moved), /127\.0\.0\.1|\.\/run/);
      });
    }

    for (const file of configs) {
      test(`svidgate takes ${file}`, async () => {
        const path = join(dir, file);
        const parsed = parseConfig(await readFile(path, 'utf8'), path);
        assert.deepEqual(parsed.mistakes ?? [], []);
      });
    }

    test("every SPIFFE ID that is named has an entry, but for the gate's own", async () => {
      const entries = topOf('entries.yaml')['entries'] as readonly { readonly spiffe_id: string }[];
      const known = new Set(entries.map(({ spiffe_id }) => spiffe_id));
      for (const file of configs) {
        const { authz } = topOf(file) as { readonly authz?: { readonly tls?: { readonly spiffe_id: string } } };
        if (authz?.tls === undefined) continue;
        assert.ok(!known.has(authz.tls.spiffe_id), `${file}: an entry gives the ID of the gate to callers`);
        known.add(authz.tls.spiffe_id);
      }
      const naming = [...bootstraps, ...globSync('polic{y,ies}/**/data.yaml', { cwd: dir })];
      const texts = await Promise.all(naming.map(async (file) => readFile(join(dir, file), 'utf8')));
      const named = texts.flatMap((text) => text.match(/spiffe:\/\/[a-z.]+\/[a-z/]+/g) ?? []);
      assert.deepEqual(
        named.filter((id) => !known.has(id)),
        [],
      );
    });
  });
}

interface NamedMap {
  readonly path: string;
  readonly value: YamlMap;
}

function mapsOf(value: unknown, path = ''): readonly NamedMap[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => mapsOf(item, `${path}[${index}]`));
  if (typeof value !== 'object' || value === null) return [];
  const below = Object.entries(value).flatMap(([key, item]) => mapsOf(item, `${path}.${key}`));
  return [{ path, value: value as YamlMap }, ...below];
}

/** Listeners that serve clients without a certificate, which is what these examples are about. */
const OPEN_DOORS = [
  'egress-token/api.yaml',
  'ingress-gateway/gateway.yaml.static_resources.listeners[0]',
  'jwt-gateway/gateway.yaml',
  'one-way-tls/edge.yaml',
  'session-tickets/gateway-a.yaml',
  'session-tickets/gateway-b.yaml',
];

/** Listeners for the service beside them alone, without TLS: who it is the gate knows by its Envoy. */
const OUTBOUND = ['egress-token/web.yaml'];

/** Those that keep what is in the header and add to it: svidgate checks who wrote it. The gate, or the way to it, is there. */
const FORWARDERS = ['xfcc-one-hop/service.yaml', 'xfcc-two-hops/inner.yaml', 'xfcc-two-hops/service.yaml'];

/** For each type of message: what must be there, whoever edits the file next. */
const RULES: Readonly<Record<string, (value: YamlMap, path: string) => void>> = {
  ExtAuthz(value, path) {
    assert.equal(value['failure_mode_allow'], false, `${path}: fails closed`);
    const isOutbound = OUTBOUND.some((file) => path.startsWith(file));
    assert.equal(value['include_peer_certificate'] ?? false, !isOutbound, `${path}: shows the peer`);
    assert.ok((value['grpc_service'] as YamlMap)['timeout'], `${path}: has a time-out`);
  },
  DownstreamTlsContext(value, path) {
    const asks = value['require_client_certificate'] === true;
    assert.ok(asks || OPEN_DOORS.some((door) => path.startsWith(door)), `${path}: asks for a certificate`);
    // A session of the client certificate's time would skip today's check.
    if (!('validation_context_sds_secret_config' in (value['common_tls_context'] as YamlMap))) return;
    for (const kind of ['stateless', 'stateful']) {
      assert.equal(value[`disable_${kind}_session_resumption`], true, `${path}: ${kind} session resumption`);
    }
  },
  UpstreamTlsContext(value, path) {
    const text = JSON.stringify(value);
    assert.match(text, /match_typed_subject_alt_names.*"exact":"spiffe:/, `${path}: knows whom it calls`);
  },
  HttpConnectionManager(value, path) {
    const common = value['common_http_protocol_options'] as YamlMap | undefined;
    const xfcc = value['forward_client_cert_details'];
    assert.equal(value['normalize_path'], true, `${path}: normalizes paths`);
    assert.equal(value['path_with_escaped_slashes_action'], 'REJECT_REQUEST', `${path}: escaped slashes`);
    assert.ok(common?.['max_stream_duration'], `${path}: bounds streams`);
    const appends = xfcc === 'APPEND_FORWARD' && FORWARDERS.some((file) => path.startsWith(file));
    const sanitizes = xfcc === undefined || xfcc === 'SANITIZE' || xfcc === 'SANITIZE_SET';
    assert.ok(appends || sanitizes, `${path}: takes nobody's XFCC`);
  },
};

function assertOurRules(path: string, value: YamlMap): void {
  const type = value['@type'];
  if (typeof type === 'string') RULES[type.split('.').at(-1) ?? '']?.(value, path);
  // Filter chains and clusters.
  if ('transport_socket' in value) {
    // The second is TcpProxy's.
    const bound = /"max_(?:downstream_)?connection_duration":"\d+s"/;
    assert.match(JSON.stringify(value), bound, `${path}: bounds connections`);
  }
  if (/\.(?:api_config_source|ads_config)$/.test(path)) {
    assert.equal(value['set_node_on_first_message_only'], true, `${path}: names its node once`);
  }
  if (path.endsWith('.envoy_grpc')) assert.equal(value['authority'], 'svidgate', `${path}: authority`);
  assert.ok(!('allow_expired_certificate' in value || 'trust_chain_verification' in value), `${path}: full checks`);
}
