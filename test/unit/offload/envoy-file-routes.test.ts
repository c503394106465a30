import { describe } from 'node:test';
import {
  added,
  AUTHZ,
  before,
  both,
  CONFIG,
  HTTP,
  onRoute,
  PER_ROUTE,
  RBAC,
  replaced,
  ROUTE,
  testRefusals,
  VIRTUAL_HOST,
  type Refusal,
} from '../../support/edited-envoy-file.ts';

const routeCases: readonly Refusal[] = [
  {
    title: 'a route without a decision',
    edit: onRoute(`envoy.filters.http.ext_authz: { ${PER_ROUTE}, disabled: true }`),
    at: `{ ${PER_ROUTE}`,
    message: /turns `envoy\.filters\.http\.ext_authz` off/,
  },
  {
    title: 'a route without a decision, by FilterConfig',
    edit: onRoute(`envoy.filters.http.ext_authz: { ${CONFIG}, disabled: true }`),
    at: `{ ${CONFIG}`,
    message: /turns `envoy\.filters\.http\.ext_authz` off/,
  },
  {
    title: 'rules of a route',
    edit: onRoute(`svidgate.offload.default: { '@type': ${HTTP}.rbac.v3.RBACPerRoute }`),
    at: `{ '@type': ${HTTP}.rbac.v3.RBACPerRoute }`,
    message: /its rules are not those that svidgate sends/,
  },
  {
    title: 'rules of a virtual host, wrapped',
    edit: added(
      VIRTUAL_HOST,
      `                      typedPerFilterConfig: { svidgate.offload.default: { ${CONFIG}, config: { '@type': ${HTTP}.rbac.v3.RBACPerRoute } } }\n`,
    ),
    at: `{ ${CONFIG}`,
    message: /its rules are not those that svidgate sends/,
  },
  {
    title: 'rules of all virtual hosts',
    edit: added(
      '                route_config:\n',
      `                  typed_per_filter_config: { svidgate.offload.default: { '@type': ${HTTP}.rbac.v3.RBACPerRoute } }\n`,
    ),
    at: `{ '@type': ${HTTP}.rbac.v3.RBACPerRoute }`,
    message: /its rules are not those that svidgate sends/,
  },
  {
    title: 'the name that a filter once had for all',
    edit: onRoute(`envoy.filters.http.rbac: { '@type': ${HTTP}.rbac.v3.RBACPerRoute }`),
    at: `{ '@type': ${HTTP}.rbac.v3.RBACPerRoute }`,
    message: /no filter of the chain is called `envoy\.filters\.http\.rbac`/,
  },
  {
    title: 'another gate for a route',
    edit: onRoute(`envoy.filters.http.ext_authz: { ${PER_ROUTE}, check_settings: { grpc_service: {} } }`),
    at: `{ ${PER_ROUTE}`,
    message: /gives `envoy\.filters\.http\.ext_authz` `grpc_service`/,
  },
  {
    title: 'another policy for a route',
    edit: onRoute(
      `envoy.filters.http.ext_authz: { ${PER_ROUTE}, check_settings: { context_extensions: { svidgate.policy: strict } } }`,
    ),
    at: `{ ${PER_ROUTE}`,
    message: /asks for policy `strict` here, and `svidgate\.offload\.default` lets through by policy `default`/,
  },
  {
    title: 'another policy for a weighted cluster',
    edit: replaced(
      ROUTE,
      `${ROUTE}                          route: { weighted_clusters: { clusters: [{ name: a, weight: 1 }, { name: b, weight: 1, typed_per_filter_config: { envoy.filters.http.ext_authz: { ${PER_ROUTE}, check_settings: { context_extensions: { svidgate.policy: strict } } } } }] } }\n`,
    ),
    at: `{ ${PER_ROUTE}`,
    message: /asks for policy `strict` here/,
  },
  {
    title: 'a listener of another policy, and routes that name none',
    edit: (text) =>
      text
        .replaceAll('svidgate.offload.default\n', 'svidgate.offload.strict\n')
        .replaceAll('svidgate_default_', 'svidgate_strict_'),
    at: 'match: { prefix: / }',
    message: /asks for policy `default` here, and `svidgate\.offload\.strict` lets through by policy `strict`/,
  },
  {
    title: 'a route that makes a harmless filter write',
    edit: both(
      before(RBAC, `{ name: x, typed_config: { '@type': ${HTTP}.set_metadata.v3.Config } }`),
      onRoute(
        `x: { '@type': ${HTTP}.set_metadata.v3.Config, metadata: [{ metadata_namespace: envoy.filters.http.rbac }] }`,
      ),
    ),
    at: `{ '@type': ${HTTP}.set_metadata.v3.Config, metadata:`,
    message: /a route changes `x`, before the offload: it writes metadata/,
  },
  {
    title: 'routes that turn on no gate',
    edit: both(
      replaced(RBAC, `${RBAC}                    disabled: true\n`),
      replaced(AUTHZ, `${AUTHZ}                    disabled: true\n`),
    ),
    at: 'match: { prefix: / }',
    message: /no ext_authz filter is on for this route/,
  },
  {
    title: 'a route chosen anew, where routes choose the policy',
    edit: both(
      replaced(RBAC, `${RBAC}                    disabled: true\n`),
      before(
        RBAC,
        `{ name: x, typed_config: { '@type': ${HTTP}.jwt_authn.v3.JwtAuthentication, providers: { a: { clear_route_cache: true } } } }`,
      ),
    ),
    at: '{ name: x,',
    message: /`x` may have the route chosen anew/,
  },
];

const off = both(
  replaced(RBAC, `${RBAC}                    disabled: true\n`),
  replaced(AUTHZ, `${AUTHZ}                    disabled: true\n`),
);
const ROUTER = '                  - name: envoy.filters.http.router\n';
/** A pair that is off, and the route that turns it on. */
const byRoute = both(
  off,
  onRoute(
    `svidgate.offload.default: { ${CONFIG}, config: {} }, envoy.filters.http.ext_authz: { ${PER_ROUTE}, check_settings: { context_extensions: { svidgate.policy: default } } }`,
  ),
);

const rerouteCases: readonly Refusal[] = [
  {
    title: 'by the gate itself',
    edit: both(byRoute, replaced('validate_mutations: true', 'clear_route_cache: true')),
    at: 'name: envoy.filters.http.ext_authz\n                    disabled',
    message: /`envoy\.filters\.http\.ext_authz` may have the route chosen anew/,
  },
  ...[
    'lua.v3.Lua',
    'ip_tagging.v3.IPTagging',
    'ext_proc.v3.ExternalProcessor',
    'from_the_future.v3.X',
    'set_filter_state.v3.Config, clear_route_cache: true',
  ].map((type) => ({
    title: `behind the gate: ${type}`,
    edit: both(byRoute, before(ROUTER, `{ name: x, typed_config: { '@type': ${HTTP}.${type} } }`)),
    at: '{ name: x,',
    message: /`x` may have the route chosen anew/,
  })),
  {
    title: 'by what is not in the file',
    edit: both(byRoute, before(ROUTER, `{ name: x, config_discovery: { type_urls: [${HTTP}.cors.v3.Cors] } }`)),
    at: '{ name: x,',
    message: /`x` may have the route chosen anew/,
  },
  {
    title: 'by what a route says',
    edit: both(
      byRoute,
      before(ROUTER, `{ name: x, typed_config: { '@type': ${HTTP}.set_filter_state.v3.Config } }`),
      added(
        VIRTUAL_HOST,
        `                      typed_per_filter_config: { x: { '@type': ${HTTP}.set_filter_state.v3.Config, clear_route_cache: true } }\n`,
      ),
    ),
    at: `{ '@type': ${HTTP}.set_filter_state.v3.Config, clear`,
    message: /a route has `x` choose another one/,
  },
];

const scope = (config: string): string =>
  `                scoped_routes:
                  name: scopes
                  scope_key_builder: { fragments: [{ header_value_extractor: { name: x-scope, index: 0 } }] }
                  ${config}
`;
const scopes = (config: string): string =>
  scope(`scoped_route_configurations_list: { scoped_route_configurations: [{ name: a, key: {}, ${config} }] }`);
const ROUTE_CONFIG = / {16}route_config:\n[^]*?(?= {16}http_filters:)/;
const GATE = `{ name: gate, typed_config: { '@type': ${HTTP}.ext_authz.v3.ExtAuthz } }`;
const upgrade = (filters: string): ((text: string) => string) =>
  added(
    '                stat_prefix: shop\n',
    `                upgrade_configs: [{ upgrade_type: websocket, filters: [${filters}] }]\n`,
  );
const matcher = (action: string): ((text: string) => string) =>
  replaced(
    VIRTUAL_HOST,
    `${VIRTUAL_HOST}                      matcher: { on_no_match: { action: { name: x, typed_config: ${action} } } }\n`,
  );
const ROUTE_TYPE = "'@type': type.googleapis.com/envoy.config.route.v3";

const wayCases: readonly Refusal[] = [
  {
    title: 'filters of an upgrade without a gate',
    edit: upgrade(`{ name: router, typed_config: { '@type': ${HTTP}.router.v3.Router } }`),
    at: '[{ name: router',
    message: /what goes through them has no decision/,
  },
  {
    title: 'filters of an upgrade whose gate is off',
    edit: upgrade(GATE.replace('{ name: gate,', '{ name: gate, disabled: true,')),
    at: 'match: { prefix: / }',
    message: /no ext_authz filter is on for this route/,
  },
  {
    title: 'a list of routes without a gate, by a matcher',
    edit: both(byRoute, matcher(`{ ${ROUTE_TYPE}.RouteList, routes: [{ match: { prefix: /open } }] }`)),
    at: '{ match: { prefix: /open }',
    message: /no ext_authz filter is on for this route/,
  },
  {
    title: 'an action of a matcher that is no route',
    edit: matcher(`{ ${ROUTE_TYPE}.Other }`),
    at: `{ name: x, typed_config: { ${ROUTE_TYPE}.Other`,
    message: /a matcher whose action is neither a Route nor a RouteList/,
  },
  ...[`{ ${CONFIG}, disabled: true }`, `{ ${PER_ROUTE}, disabled: true }`].map((config) => ({
    title: `another gate for all that a route turns off: ${config}`,
    edit: both(off, before(RBAC, GATE), onRoute(`gate: ${config}`)),
    at: 'match: { prefix: / }',
    message: /no ext_authz filter is on for this route/,
  })),
  {
    title: 'routes of a scope without a decision',
    edit: (text) =>
      text.replace(
        ROUTE_CONFIG,
        scopes(
          `route_configuration: { name: r, typed_per_filter_config: { envoy.filters.http.ext_authz: { ${PER_ROUTE}, disabled: true } } }`,
        ),
      ),
    at: `{ ${PER_ROUTE}`,
    message: /turns `envoy\.filters\.http\.ext_authz` off/,
  },
  ...[
    ['a scope', scopes('route_configuration_name: elsewhere'), '{ name: a, key'],
    ['scopes', scope('scoped_rds: {}'), 'name: scopes'],
    ['RDS', '                rds: { route_config_name: elsewhere }\n', '{ route_config_name'],
  ].map(([title = '', routes = '', at = '']) => ({
    title: `pairs that are off, and routes elsewhere: ${title}`,
    edit: both(off, (text) => text.replace(ROUTE_CONFIG, routes)),
    at,
    message: /routes that come by discovery are not judged/,
  })),
];

const connectionCases: readonly Refusal[] = [
  {
    title: 'clients without a certificate',
    edit: replaced('require_client_certificate: true', 'require_client_certificate: false'),
    at: 'false\n              # A resumed',
    message: /need no client certificate/,
  },
  {
    title: 'resumed sessions',
    edit: replaced('disable_stateful_session_resumption: true', 'disable_stateful_session_resumption: false'),
    at: 'false\n              common_tls',
    message: /a resumed session is not checked/,
  },
  {
    title: 'no TLS',
    edit: (text) =>
      text
        .replace('TLSv1_3', 'TLSv1_3')
        .replace('transport_sockets.tls.v3.DownstreamTlsContext', 'transport_sockets.raw_buffer.v3.RawBuffer'),
    at: 'transport_socket:\n',
    message: /peers Envoy does not verify/,
  },
  {
    title: 'a validation context from elsewhere',
    edit: replaced(
      'validation_context_sds_secret_config: { name: ROOTCA, sds_config: *from_svidgate }',
      'validation_context_sds_secret_config: { name: ROOTCA, sds_config: { api_config_source: { api_type: GRPC, grpc_services: [{ envoy_grpc: { cluster_name: spire } }] } } }',
    ),
    at: '{ name: ROOTCA',
    message: /comes from `spire`, and the rules of `svidgate\.offload\.default` from `svidgate`/,
  },
  {
    title: 'a validation context in the file',
    edit: replaced(
      'validation_context_sds_secret_config: { name: ROOTCA, sds_config: *from_svidgate }',
      'validation_context: { trusted_ca: { filename: ca.pem } }',
    ),
    at: '{ trusted_ca:',
    message: /the validation context is written in the file/,
  },
  ...(['trust_chain_verification: ACCEPT_UNTRUSTED', 'allow_expired_certificate: true', 'trusted_ca: {}'] as const).map(
    (field) => ({
      title: field,
      edit: replaced(
        'validation_context_sds_secret_config: { name: ROOTCA, sds_config: *from_svidgate }',
        `combined_validation_context: { default_validation_context: { ${field} }, validation_context_sds_secret_config: { name: ROOTCA, sds_config: *from_svidgate } }`,
      ),
      at: `${field.slice(field.indexOf(': ') + 2)} }, validation`,
      message: /has Envoy take peers that the gate would not/,
    }),
  ),
  {
    title: 'connections without an end',
    edit: replaced('max_connection_duration: 900s, ', ''),
    at: '{ idle_timeout: 60s',
    message: /connections have no end/,
  },
  {
    title: 'connections of a day',
    edit: replaced('max_connection_duration: 900s', 'max_connection_duration: 86400s'),
    at: '86400s',
    message: /outlive the certificates of their peers/,
  },
];

describe('a configuration of Envoy is refused for routes', () => {
  testRefusals(routeCases);
});

describe('a configuration of Envoy is refused for routes that are chosen anew', () => {
  testRefusals(rerouteCases);
});

describe('a configuration of Envoy is refused for other ways to the service', () => {
  testRefusals(wayCases);
});

describe('a configuration of Envoy is refused for connections', () => {
  testRefusals(connectionCases);
});
