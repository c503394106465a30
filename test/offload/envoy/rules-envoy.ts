/** A real Envoy with the rules of some sets, which tells for each request what came of each. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeRules } from '../../../src/offload/encode-rules.ts';
import { OFFLOAD_NAMES, type OffloadSet } from '../../../src/offload/index.ts';
import { DiscoveryResponse, encodeMessage, packAny } from '../../../src/proto/index.ts';
import { freeLoopbackAddress, freePorts } from '../../support/envoy-address.ts';
import type { YamlMap } from '../../support/envoy-bootstrap.ts';
import type { EnvoyVersion } from '../../support/envoy-versions.ts';
import { startEnvoy } from '../../support/envoy.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import type { TestCertificates } from './certificates.ts';
import { startCheckRecorder, type CheckRecorder } from './check-recorder.ts';

/** `plain` has no TLS, `verified` refuses who is a stranger, `unverified` does not, `normal` normalises paths; `outer` is as plain. */
export type ListenerName = 'plain' | 'verified' | 'unverified' | 'normal' | 'outer';
const LISTENERS: readonly ListenerName[] = ['plain', 'verified', 'unverified', 'normal', 'outer'];

export interface RulesEnvoy extends AsyncDisposable {
  readonly address: string;
  readonly ports: Readonly<Record<ListenerName, number>>;
  readonly recorder: CheckRecorder;
  log(): string;
}

/** The header of a response that tells of the set with this number: the result, and the rule. */
export const resultHeader = (index: number): string => `x-result-${index}`;

const TYPE = 'type.googleapis.com/envoy';
const RBAC_TYPE = `${TYPE}.extensions.filters.http.rbac.v3.RBAC`;

interface Parts {
  readonly folder: string;
  readonly address: string;
  readonly certificates: TestCertificates;
  readonly sets: readonly OffloadSet[];
  /** The one whose `outer` is enforced. */
  readonly outer: OffloadSet;
}

export async function startRulesEnvoy(
  version: EnvoyVersion,
  about: Pick<Parts, 'sets' | 'outer' | 'certificates'>,
): Promise<RulesEnvoy> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempFolder()).path;
  const address = await freeLoopbackAddress();
  const recorder = stack.use(await startCheckRecorder(address));
  const [adminPort = 0, ...ports] = await freePorts(address, LISTENERS.length + 1);
  const parts: Parts = { folder, address, ...about };
  for (const set of [...parts.sets, parts.outer]) await writeSet(set, folder);
  const envoy = await startEnvoy({
    name: 'rules',
    dir: folder,
    ...(version.path === undefined ? {} : { executable: version.path }),
    bootstrap: {
      node: { id: 'rules', cluster: 'rules' },
      layered_runtime: { layers: [{ name: 're2', static_layer: { 're2.max_program_size.error_level': 1_000_000 } }] },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      static_resources: {
        listeners: LISTENERS.map((name, index) => listener(name, ports[index] ?? 0, parts)),
        clusters: [recorderCluster(address, recorder.port)],
      },
    },
  });
  stack.defer(() => envoy.stop());
  const all = stack.move();
  return {
    address,
    ports: Object.fromEntries(LISTENERS.map((name, index) => [name, ports[index] ?? 0])) as RulesEnvoy['ports'],
    recorder,
    log: () => envoy.log(),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** As ECDS would send it. */
async function writeSet(set: OffloadSet, folder: string): Promise<void> {
  const resource = packAny(`${TYPE}.config.core.v3.TypedExtensionConfig`, encodeRules(set).bytes);
  const bytes = encodeMessage(DiscoveryResponse, { versionInfo: '1', resources: [resource] });
  await writeFile(join(folder, `${set.policy}.pb`), bytes);
}

function rulesFilter({ policy }: OffloadSet, folder: string): YamlMap {
  return {
    name: OFFLOAD_NAMES.resource(policy),
    config_discovery: {
      config_source: {
        resource_api_version: 'V3',
        path_config_source: { path: join(folder, `${policy}.pb`) },
      },
      type_urls: [RBAC_TYPE],
    },
  };
}

function listener(name: ListenerName, port: number, parts: Parts): YamlMap {
  const { address, certificates } = parts;
  const isTls = name === 'verified' || name === 'unverified';
  return {
    name,
    address: { socket_address: { address, port_value: port } },
    ...(isTls ? { listener_filters: [tlsInspector()] } : {}),
    filter_chains: [
      {
        ...(isTls
          ? { transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: tls(name, certificates) } }
          : {}),
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager(name, parts) }],
      },
    ],
  };
}

function tlsInspector(): YamlMap {
  return {
    name: 'envoy.filters.listener.tls_inspector',
    typed_config: { '@type': `${TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector` },
  };
}

function tls(name: ListenerName, { root, server }: TestCertificates): YamlMap {
  return {
    '@type': `${TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
    common_tls_context: {
      alpn_protocols: ['h2', 'http/1.1'],
      tls_certificates: [
        { certificate_chain: { inline_string: server.cert }, private_key: { inline_string: server.key } },
      ],
      validation_context: {
        trusted_ca: { inline_string: root },
        trust_chain_verification: name === 'unverified' ? 'ACCEPT_UNTRUSTED' : 'VERIFY_TRUST_CHAIN',
      },
    },
  };
}

function manager(name: ListenerName, { sets, outer, folder }: Parts): YamlMap {
  const own = name === 'outer' ? [outer] : sets;
  const told = own.map(({ policy }, index): YamlMap => {
    const about = (key: string): string => `%DYNAMIC_METADATA(${OFFLOAD_NAMES.metadataNamespace}:${key})%`;
    const value = `${about(OFFLOAD_NAMES.resultKey(policy))} ${about(OFFLOAD_NAMES.ruleKey(policy))}`;
    return { header: { key: resultHeader(index), value } };
  });
  return {
    '@type': `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: name,
    ...(name === 'normal'
      ? { normalize_path: true, merge_slashes: true, path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD' }
      : {}),
    route_config: {
      response_headers_to_add: told,
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '' }, direct_response: { status: 200 } }] },
      ],
    },
    http_filters: [
      ...own.map((set) => rulesFilter(set, folder)),
      {
        name: 'envoy.filters.http.ext_authz',
        typed_config: {
          '@type': `${TYPE}.extensions.filters.http.ext_authz.v3.ExtAuthz`,
          transport_api_version: 'V3',
          grpc_service: { envoy_grpc: { cluster_name: 'recorder', authority: 'recorder' }, timeout: '20s' },
        },
      },
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': `${TYPE}.extensions.filters.http.router.v3.Router` },
      },
    ],
  };
}

function recorderCluster(address: string, port: number): YamlMap {
  const endpoint = { address: { socket_address: { address, port_value: port } } };
  return {
    name: 'recorder',
    type: 'STATIC',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: { cluster_name: 'recorder', endpoints: [{ lb_endpoints: [{ endpoint }] }] },
  };
}
