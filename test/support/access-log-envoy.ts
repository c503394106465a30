import { freeLoopbackAddress, freePorts } from './envoy-address.ts';
import type { YamlMap } from './envoy-bootstrap.ts';
import { linkEnvoy, startEnvoy, type Envoy } from './envoy.ts';

/** An Envoy that answers by itself, by rules as svidgate makes them, and logs it. */
export interface AccessLogEnvoy extends AsyncDisposable {
  readonly envoy: Envoy;
  /** `http://…` */
  readonly url: string;
}

const TYPE = 'type.googleapis.com/envoy.extensions';
const SVIDGATE: YamlMap = { envoy_grpc: { cluster_name: 'svidgate', authority: 'svidgate' } };

/** Of a bootstrap. */
export const METRICS_TO_SVIDGATE: YamlMap = {
  stats_flush_interval: '0.5s',
  stats_sinks: [
    {
      name: 'envoy.stat_sinks.metrics_service',
      typed_config: {
        '@type': 'type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig',
        transport_api_version: 'V3',
        grpc_service: SVIDGATE,
      },
    },
  ],
};

/** `/a…` is allowed by `rule-a`, `/b…` goes to no rule; with fast deny all else than these is refused. */
export async function startAccessLogEnvoy(
  dir: string,
  { binary, fastDeny = false }: { readonly binary?: string | undefined; readonly fastDeny?: boolean } = {},
): Promise<AccessLogEnvoy> {
  const address = await freeLoopbackAddress();
  const [adminPort = 0, port = 0] = await freePorts(address, 2);
  const envoy = await startEnvoy({
    name: 'log',
    dir,
    ...(binary === undefined ? {} : { executable: await linkEnvoy(dir, 'log', binary) }),
    bootstrap: {
      node: { id: 'log-envoy', cluster: 'log' },
      admin: { address: { socket_address: { address, port_value: adminPort } } },
      ...METRICS_TO_SVIDGATE,
      static_resources: {
        listeners: [
          {
            name: 'in',
            address: { socket_address: { address, port_value: port } },
            filter_chains: [
              {
                filters: [
                  { name: 'envoy.filters.network.http_connection_manager', typed_config: connectionManager(fastDeny) },
                ],
              },
            ],
          },
        ],
        clusters: [cluster(dir), answers({ address, port_value: adminPort })],
      },
    },
  });
  return { envoy, url: `http://${address}:${port}`, [Symbol.asyncDispose]: () => envoy.stop() };
}

function cluster(dir: string): YamlMap {
  const endpoint = { address: { pipe: { path: `${dir}/api.sock` } } };
  return {
    name: 'svidgate',
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: { cluster_name: 'svidgate', endpoints: [{ lb_endpoints: [{ endpoint }] }] },
  };
}

/** Answers `/ready`. */
function answers(socketAddress: YamlMap): YamlMap {
  const endpoint = { address: { socket_address: socketAddress } };
  return {
    name: 'answers',
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: { cluster_name: 'answers', endpoints: [{ lb_endpoints: [{ endpoint }] }] },
  };
}

function metadataIs(key: string, exact: string): YamlMap {
  return {
    metadata_filter: {
      matcher: { filter: 'envoy.filters.http.rbac', path: [{ key }], value: { string_match: { exact } } },
      match_if_key_not_found: false,
    },
  };
}

/** Of a connection manager: what rules of policy `default` answered. */
export function logToSvidgate(): YamlMap {
  return {
    name: 'envoy.access_loggers.http_grpc',
    filter: {
      or_filter: {
        filters: [
          metadataIs('svidgate_default_shadow_engine_result', 'allowed'),
          metadataIs('svidgate_default_enforced_engine_result', 'denied'),
        ],
      },
    },
    typed_config: {
      '@type': `${TYPE}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig`,
      common_config: {
        log_name: 'svidgate',
        transport_api_version: 'V3',
        grpc_service: SVIDGATE,
        buffer_flush_interval: '0.2s',
        buffer_size_bytes: 65_536,
        custom_tags: [{ tag: 'svidgate.route', literal: { value: 'things' } }],
      },
      additional_request_headers_to_log: [':method', 'traceparent', 'x-tenant'],
    },
  };
}

function rulesFor(names: readonly (readonly [string, string])[]): YamlMap {
  const policies = names.map(([name, prefix]) => [
    name,
    { permissions: [{ url_path: { path: { prefix } } }], principals: [{ any: true }] },
  ]);
  return { action: 'ALLOW', policies: Object.fromEntries(policies) as YamlMap };
}

/** What routes may rewrite, for the records. */
function keepRequest(): YamlMap {
  const rule = (header: string, key: string): YamlMap => {
    return {
      header,
      on_header_present: { metadata_namespace: 'svidgate.request', key, type: 'STRING' },
      remove: false,
    };
  };
  return {
    '@type': `${TYPE}.filters.http.header_to_metadata.v3.Config`,
    request_rules: [rule(':path', 'path'), rule(':authority', 'host')],
  };
}

function connectionManager(fastDeny: boolean): YamlMap {
  const outer = rulesFor([
    ['outer-a', '/a'],
    ['outer-b', '/b'],
  ]);
  return {
    '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'in',
    use_remote_address: true,
    access_log: [logToSvidgate()],
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [
            {
              match: { prefix: '/a/rewritten' },
              route: { cluster: 'answers', prefix_rewrite: '/ready', host_rewrite_literal: 'upstream.test' },
            },
            { match: { prefix: '/' }, direct_response: { status: 200 } },
          ],
        },
      ],
    },
    http_filters: [
      { name: 'envoy.filters.http.header_to_metadata', typed_config: keepRequest() },
      {
        name: 'svidgate.offload.default',
        typed_config: {
          '@type': `${TYPE}.filters.http.rbac.v3.RBAC`,
          ...(fastDeny ? { rules: outer, rules_stat_prefix: 'svidgate_default_' } : {}),
          shadow_rules: rulesFor([['rule-a', '/a']]),
          shadow_rules_stat_prefix: 'svidgate_default_',
        },
      },
      { name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } },
    ],
  };
}
