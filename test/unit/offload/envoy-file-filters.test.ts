import { describe } from 'node:test';
import {
  AUTHZ,
  before,
  HTTP,
  inAuthz,
  RBAC,
  replaced,
  testRefusals,
  type Refusal,
} from '../../support/edited-envoy-file.ts';

const filterCases: readonly Refusal[] = [
  {
    title: 'a filter between the two',
    edit: before(AUTHZ, `{ name: x, typed_config: { '@type': ${HTTP}.buffer.v3.Buffer } }`),
    at: '{ name: x,',
    message: /`x` stands between the RBAC filter and the ext_authz filter of policy `default`/,
  },
  {
    title: 'a filter between the two that is disabled',
    edit: before(AUTHZ, `{ name: x, disabled: true, typed_config: { '@type': ${HTTP}.buffer.v3.Buffer } }`),
    at: '{ name: x,',
    message: /`x` stands between/,
  },
  ...['lua.v3.Lua', 'wasm.v3.Wasm', 'golang.v3alpha.Config', 'dynamic_modules.v3.DynamicModuleFilter'].map((type) => ({
    title: `code before the offload: ${type}`,
    edit: before(RBAC, `{ name: x, typed_config: { '@type': ${HTTP}.${type} } }`),
    at: '{ name: x,',
    message: /`x` stands before the offload: its code may write any metadata/,
  })),
  ...['composite.v3.Composite', 'match_delegate.v3.X', 'filter_chain.v3.FilterChainConfig'].map((type) => ({
    title: `a filter that runs others: ${type}`,
    edit: before(RBAC, `{ name: x, typed_config: { '@type': ${HTTP}.${type} } }`),
    at: '{ name: x,',
    message: /it may run any filter/,
  })),
  {
    title: 'a filter that a matcher chooses',
    edit: before(
      RBAC,
      "{ name: x, typed_config: { '@type': t.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher } }",
    ),
    at: '{ name: x,',
    message: /ExtensionWithMatcher is not known to leave metadata alone/,
  },
  {
    title: 'a filter that nobody knows',
    edit: before(RBAC, `{ name: x, typed_config: { '@type': ${HTTP}.sse_to_metadata.v3.SseToMetadata } }`),
    at: '{ name: x,',
    message: /SseToMetadata is not known to leave metadata alone/,
  },
  {
    title: 'a filter without a type',
    edit: before(RBAC, '{ name: envoy.filters.http.lua }'),
    at: '{ name: envoy.filters.http.lua }',
    message: /it has no type is not known to leave metadata alone/,
  },
  {
    title: 'set_metadata of the namespace',
    edit: before(
      RBAC,
      `{ name: x, typed_config: { '@type': ${HTTP}.set_metadata.v3.Config, metadata: [{ metadataNamespace: envoy.filters.http.rbac, value: {} }] } }`,
    ),
    at: '{ name: x,',
    message: /it writes metadata of envoy\.filters\.http\.rbac/,
  },
  {
    title: 'header_to_metadata of the namespace, wrapped',
    edit: before(
      RBAC,
      `{ name: x, typed_config: { '@type': type.googleapis.com/xds.type.v3.TypedStruct, type_url: ${HTTP}.header_to_metadata.v3.Config, value: { request_rules: [{ header: a, on_header_present: { metadata_namespace: envoy.filters.http.rbac, key: b } }] } } }`,
    ),
    at: '{ name: x,',
    message: /it writes metadata of envoy\.filters\.http\.rbac/,
  },
  {
    title: 'ext_proc that may write the namespace',
    edit: before(
      RBAC,
      `{ name: x, typed_config: { '@type': ${HTTP}.ext_proc.v3.ExternalProcessor, metadata_options: { receiving_namespaces: { untyped: [envoy.filters.http.rbac] } } } }`,
    ),
    at: '{ name: x,',
    message: /it writes metadata of envoy\.filters\.http\.rbac/,
  },
  {
    title: 'another RBAC filter with the same prefix',
    edit: before(
      RBAC,
      `{ name: x, typed_config: { '@type': ${HTTP}.rbac.v3.RBAC, shadowRulesStatPrefix: svidgate_default_ } }`,
    ),
    at: '{ name: x,',
    message: /its shadow rules write what svidgate's write/,
  },
  {
    title: 'a discovered filter before the offload',
    edit: before(RBAC, `{ name: x, config_discovery: { type_urls: [${HTTP}.rbac.v3.RBAC] } }`),
    at: '{ name: x,',
    message: /what `x` does is not in this file/,
  },
  {
    title: 'a pair twice',
    edit: (text) => {
      const [from, to] = [text.indexOf(RBAC), text.indexOf('                  - name: envoy.filters.http.router\n')];
      return text.slice(0, to) + text.slice(from, to).replace(RBAC, `${RBAC} # again\n`) + text.slice(to);
    },
    at: 'name: svidgate.offload.default\n #',
    message: /policy `default` has two filter pairs/,
  },
];

const pairCases: readonly Refusal[] = [
  {
    title: 'no RBAC filter',
    edit: replaced(RBAC, '                  - name: shadow\n'),
    at: 'name: envoy.filters.http.ext_authz\n',
    message: /has `filter_enabled_metadata`, and no RBAC filter before it is svidgate's/,
  },
  {
    title: 'ext_authz that asks for all',
    edit: (text) => text.replace(/ +filter_enabled_metadata:[^]*?invert: true\n/, ''),
    at: 'name: envoy.filters.http.ext_authz\n',
    message: /does not ask what `svidgate\.offload\.default` found/,
  },
  {
    title: 'rules of its own',
    edit: (text) =>
      text.replace(
        / {20}config_discovery:[^]*?without_warming: true\n/,
        `                    typed_config: { '@type': ${HTTP}.rbac.v3.RBAC }\n`,
      ),
    at: 'name: svidgate.offload.default\n',
    message: /has rules of its own/,
  },
  {
    title: 'no default until the first answer',
    edit: (text) => text.replace(/ +apply_default_config_without_warming: true\n/, ''),
    at: 'type_urls: [type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC]',
    message: /lacks `apply_default_config_without_warming: true`/,
  },
  {
    title: 'a default with rules',
    edit: replaced('default_config: { ', 'default_config: { shadow_rules: { policies: {} }, '),
    at: '{ policies: {} }',
    message: /`default_config` of `svidgate\.offload\.default` has `shadow_rules`/,
  },
  {
    title: 'a default with a prefix of another policy',
    edit: replaced('default_config: { ', 'default_config: { shadow_rules_stat_prefix: svidgate_other_, '),
    at: 'svidgate_other_',
    message: /`shadow_rules_stat_prefix` is not that of policy `default`/,
  },
  {
    title: 'a default of another type',
    edit: replaced(
      `default_config: { '@type': ${HTTP}.rbac.v3.RBAC }`,
      `default_config: { '@type': ${HTTP}.lua.v3.Lua }`,
    ),
    at: `{ '@type': ${HTTP}.lua.v3.Lua }`,
    message: /has no `default_config` that is an RBAC filter/,
  },
  {
    title: 'other types by discovery',
    edit: replaced(`type_urls: [${HTTP}.rbac.v3.RBAC]`, `type_urls: [${HTTP}.rbac.v3.RBAC, ${HTTP}.lua.v3.Lua]`),
    at: `[${HTTP}.rbac.v3.RBAC, `,
    message: /`type_urls` of `svidgate\.offload\.default` is not the RBAC filter alone/,
  },
  {
    title: 'a field under both of its names',
    edit: replaced(
      'failure_mode_allow: false',
      'failure_mode_allow: false\n                      failureModeAllow: true',
    ),
    at: 'true',
    message: /`failureModeAllow` is `failure_mode_allow` once more/,
  },
  {
    title: 'filters under both names, the first without offload',
    edit: (text) =>
      text
        .replace('http_filters:', 'httpFilters:')
        .replace(
          ' route_config:',
          ` http_filters: [{ name: envoy.filters.http.router }]\n                route_config:`,
        ),
    at: '- name: svidgate.offload.default\n',
    message: /`httpFilters` is `http_filters` once more/,
  },
  {
    title: 'a gate over TCP',
    edit: replaced(
      '{ pipe: { path: ./run/authz.sock } }',
      '{ socket_address: { address: 127.0.0.1, port_value: 9191 } }',
    ),
    at: 'envoy_grpc: { cluster_name: svidgate_authz',
    message: /`envoy\.filters\.http\.ext_authz` asks `svidgate_authz`, which is no Unix socket/,
  },
  {
    title: 'rules from a file',
    edit: replaced('api_type: DELTA_GRPC', 'api_type: REST'),
    at: 'resource_api_version: V3\n                        api_config_source:\n                          # Delta',
    message: /do not come by gRPC/,
  },
  ...(
    [
      ['failure_mode_allow: false', 'failure_mode_allow: true', 'true', /requests pass without any decision/],
      ['failure_mode_allow: false', 'failureModeAllow: yes', 'yes', /requests pass without any decision/],
      [
        'validate_mutations: true',
        'deny_at_disable: { default_value: true }',
        '{ default_value',
        /needs no call would be denied/,
      ],
      ['validate_mutations: true', 'shadow_mode: true', 'true', /what the gate denies is let through/],
      ['validate_mutations: true', 'disallowed_headers: { patterns: [] }', '{ patterns:', /other headers than Envoy/],
      ['validate_mutations: true', 'allowed_headers: { patterns: [] }', '{ patterns:', /other headers than Envoy/],
      ['validate_mutations: true', 'encode_raw_headers: true', 'true', /headers in another form/],
      ['validate_mutations: true', 'from_the_future: 1', '1', /`from_the_future` of .* is not known to be safe/],
      [
        'validate_mutations: true',
        'filter_enabled: { default_value: { numerator: 50 } }',
        '{ default_value',
        /that neither Envoy nor the gate has judged/,
      ],
      ['include_tls_session: true', 'include_tls_session: false', 'false', /would not see the server name/],
      ['include_peer_certificate: true', 'include_peer_certificate: no', 'no', /take no peer for verified/],
      [
        'filter: envoy.filters.http.rbac',
        'filter: envoy.filters.http.other',
        'envoy.filters.http.other',
        /\.filter` of/,
      ],
      [
        'svidgate_default_shadow_engine_result',
        'svidgate_other_shadow_engine_result',
        '[{ key: svidgate_other',
        /\.path` of/,
      ],
      ['exact: allowed', 'prefix: allowed', '{ string_match', /\.value` of/],
      ['exact: allowed', 'exact: denied', '{ string_match', /\.value` of/],
      ['exact: allowed', 'exact: allowed, ignore_case: true', '{ string_match', /\.value` of/],
      ['invert: true', 'invert: false', 'false', /\.invert` of/],
    ] as const
  ).map(([from, to, at, message]) => ({
    title: `ext_authz with ${to}`,
    edit: inAuthz(from, to),
    at,
    message,
  })),
  {
    title: 'ext_authz that may be left out',
    edit: replaced(AUTHZ, `${AUTHZ}                    is_optional: true\n`),
    at: 'true\n                    typed_config',
    message: /may be left out by Envoy/,
  },
];

describe('a configuration of Envoy is refused for other filters', () => {
  testRefusals(filterCases);
});

describe('a configuration of Envoy is refused for the pair', () => {
  testRefusals(pairCases);
});
