import type { YamlMap } from './envoy-bootstrap.ts';

export interface MtlsEnvoyOptions {
  /** Loopback address of all its ports. */
  readonly address: string;
  readonly adminPort: number;
  /** Takes mTLS from the peer and answers itself. */
  readonly inPort: number;
  /** Takes plain HTTP and passes it on to the peer over mTLS. */
  readonly outPort: number;
  readonly upstreamPort: number;
  /** Where the secrets come from, `unix:PATH`. */
  readonly socket: string;
  readonly envoyId: string;
  readonly peerId: string;
}

/** Names that Node's HTTP/2 would refuse as an authority, which an Envoy makes of the cluster's name by itself. */
const CLUSTERS = { svid: 'outbound|8080||svidgate.default.svc', bundle: 'extension/ns/svidgate' };

const TYPE = 'type.googleapis.com/envoy.extensions';

/** An Envoy that holds an SVID and speaks mTLS with one peer in both directions. No `authority` is set anywhere. */
export function mtlsBootstrap(options: MtlsEnvoyOptions): YamlMap {
  const { address, adminPort, inPort, outPort, upstreamPort, socket, peerId } = options;
  const pipe = { pipe: { path: socket.replace('unix:', '') } };
  const peer = { socket_address: { address, port_value: upstreamPort } };
  return {
    node: { id: 'mtls', cluster: 'mtls' },
    admin: { address: { socket_address: { address, port_value: adminPort } } },
    static_resources: {
      listeners: [
        listener(
          'in',
          { address, port_value: inPort },
          {
            action: { direct_response: { status: 200, body: { inline_string: 'inward' } } },
            tls: { ...tls('DownstreamTlsContext', options), require_client_certificate: true },
          },
        ),
        listener('out', { address, port_value: outPort }, { action: { route: { cluster: 'peer' } } }),
      ],
      clusters: [
        cluster(CLUSTERS.svid, pipe, { typed_extension_protocol_options: HTTP2 }),
        cluster(CLUSTERS.bundle, pipe, { typed_extension_protocol_options: HTTP2 }),
        cluster('peer', peer, {
          transport_socket: {
            name: 'envoy.transport_sockets.tls',
            typed_config: {
              ...tls('UpstreamTlsContext', options),
              sni: new URL(peerId.replace('spiffe:', 'http:')).hostname,
            },
          },
        }),
      ],
    },
  };
}

const HTTP2: YamlMap = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
    explicit_http_config: { http2_protocol_options: {} },
  },
};

function cluster(name: string, address: YamlMap, more: YamlMap): YamlMap {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    ...more,
  };
}

function tls(kind: string, { envoyId, peerId }: MtlsEnvoyOptions): YamlMap {
  const san = { san_type: 'URI', matcher: { exact: peerId } };
  return {
    '@type': `${TYPE}.transport_sockets.tls.v3.${kind}`,
    common_tls_context: {
      tls_certificate_sds_secret_configs: [secret(envoyId, CLUSTERS.svid)],
      combined_validation_context: {
        default_validation_context: { match_typed_subject_alt_names: [san] },
        validation_context_sds_secret_config: secret('ROOTCA', CLUSTERS.bundle),
      },
    },
  };
}

function secret(name: string, clusterName: string): YamlMap {
  return {
    name,
    sds_config: {
      resource_api_version: 'V3',
      api_config_source: {
        api_type: 'GRPC',
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: clusterName } }],
      },
    },
  };
}

function listener(name: string, address: YamlMap, does: { readonly action: YamlMap; readonly tls?: YamlMap }): YamlMap {
  return {
    name,
    address: { socket_address: address },
    filter_chains: [
      {
        ...(does.tls === undefined
          ? {}
          : { transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: does.tls } }),
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
              stat_prefix: name,
              route_config: {
                virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...does.action }] }],
              },
              http_filters: [
                {
                  name: 'envoy.filters.http.router',
                  typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` },
                },
              ],
            },
          },
        ],
      },
    ],
  };
}
