import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { checkEnvoyFiles, OFFLOAD_NAMES } from '../../src/offload/index.ts';
import {
  AUTHZ,
  BASE,
  before,
  both,
  CONFIG,
  HTTP,
  onRoute,
  PER_ROUTE,
  RBAC,
  replaced,
  ROUTE,
} from '../support/edited-envoy-file.ts';
import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';
import type { YamlMap } from '../support/envoy-bootstrap.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { linkEnvoy, startEnvoy } from '../support/envoy.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** A mistake in the configuration, and what it does while no gate answers: only GET /ok is to pass, by the rules. */
interface Variant {
  readonly title: string;
  readonly edit: (text: string) => string;
  /** Whether svidgate has sent rules. */
  readonly rules: boolean;
  readonly request: { readonly path: string; readonly headers?: Readonly<Record<string, string>> };
  readonly status: number;
  /** The only mistake that the check finds; absent where there is none. */
  readonly refused?: RegExp;
}

const anyone = (prefix: string): string =>
  `shadow_rules: { policies: { all: { permissions: [{ any: true }], principals: [{ any: true }] } } }, shadow_rules_stat_prefix: ${prefix}`;
const lua = (code: string): string =>
  `{ name: x, typed_config: { '@type': ${HTTP}.lua.v3.Lua, default_source_code: { inline_string: "function envoy_on_request(h) ${code} end" } } }`;
const writer = `metadata_namespace: ${OFFLOAD_NAMES.metadataNamespace}, key: ${OFFLOAD_NAMES.resultKey('default')}`;
const ORDERS = '                        - match: { prefix: /orders }\n';

/** The pair of the example, off, and a route that turns it on. */
const byRoute = both(
  replaced(RBAC, `${RBAC}                    disabled: true\n`),
  replaced(AUTHZ, `${AUTHZ}                    disabled: true\n`),
  onRoute(
    `svidgate.offload.default: { ${CONFIG}, config: {} }, envoy.filters.http.ext_authz: { ${PER_ROUTE}, check_settings: { context_extensions: { svidgate.policy: default } } }`,
  ),
);

const VARIANTS: readonly Variant[] = [
  { title: 'as it should be', edit: (text) => text, rules: true, request: { path: '/ok' }, status: 200 },
  { title: 'what needs a call', edit: (text) => text, rules: true, request: { path: '/other' }, status: 403 },
  { title: 'before there are rules', edit: (text) => text, rules: false, request: { path: '/ok' }, status: 403 },
  {
    title: 'a header as metadata',
    edit: before(
      RBAC,
      `{ name: x, typed_config: { '@type': ${HTTP}.header_to_metadata.v3.Config, request_rules: [{ header: x-forged, on_header_present: { ${writer} } }] } }`,
    ),
    rules: false,
    request: { path: '/other', headers: { 'x-forged': 'allowed' } },
    status: 200,
    refused: /it writes metadata of envoy\.filters\.http\.rbac/,
  },
  {
    title: 'set_metadata',
    edit: before(
      RBAC,
      `{ name: x, typed_config: { '@type': ${HTTP}.set_metadata.v3.Config, metadata: [{ metadata_namespace: ${OFFLOAD_NAMES.metadataNamespace}, value: { ${OFFLOAD_NAMES.resultKey('default')}: allowed } }] } }`,
    ),
    rules: false,
    request: { path: '/other' },
    status: 200,
    refused: /it writes metadata of envoy\.filters\.http\.rbac/,
  },
  {
    title: 'code that writes it',
    edit: before(
      RBAC,
      lua(
        `h:streamInfo():dynamicMetadata():set('${OFFLOAD_NAMES.metadataNamespace}', '${OFFLOAD_NAMES.resultKey('default')}', 'allowed')`,
      ),
    ),
    rules: false,
    request: { path: '/other' },
    status: 200,
    refused: /its code may write any metadata/,
  },
  {
    title: 'another RBAC filter of that prefix',
    edit: before(RBAC, `{ name: x, typed_config: { '@type': ${HTTP}.rbac.v3.RBAC, ${anyone('svidgate_default_')} } }`),
    rules: false,
    request: { path: '/other' },
    status: 200,
    refused: /its shadow rules write what svidgate's write/,
  },
  {
    title: 'a filter between that changes the path',
    edit: before(AUTHZ, lua("h:headers():replace(':path', '/admin')")),
    rules: true,
    request: { path: '/ok' },
    status: 200,
    refused: /`x` stands between the RBAC filter and the ext_authz filter/,
  },
  {
    title: 'rules of a route',
    edit: onRoute(
      `svidgate.offload.default: { '@type': ${HTTP}.rbac.v3.RBACPerRoute, rbac: { ${anyone('svidgate_default_')} } }`,
    ),
    rules: true,
    request: { path: '/other' },
    status: 200,
    refused: /its rules are not those that svidgate sends/,
  },
  {
    title: 'a route without a gate',
    edit: onRoute(`envoy.filters.http.ext_authz: { ${PER_ROUTE}, disabled: true }`),
    rules: true,
    request: { path: '/other' },
    status: 200,
    refused: /turns `envoy\.filters\.http\.ext_authz` off/,
  },
  {
    title: 'a gate for half of the requests',
    edit: replaced(
      'validate_mutations: true',
      'filter_enabled: { default_value: { numerator: 0, denominator: HUNDRED } }',
    ),
    rules: true,
    request: { path: '/other' },
    status: 200,
    refused: /that neither Envoy nor the gate has judged/,
  },
  {
    title: 'an answer that is nobody’s',
    edit: replaced('failure_mode_allow: false', 'failure_mode_allow: true'),
    rules: true,
    request: { path: '/other' },
    status: 200,
    refused: /requests pass without any decision/,
  },
  { title: 'a pair that a route turns on', edit: byRoute, rules: true, request: { path: '/ok' }, status: 200 },
  { title: 'and its call', edit: byRoute, rules: true, request: { path: '/other' }, status: 403 },
  {
    title: 'a route that turns on nothing',
    edit: both(
      byRoute,
      replaced(ROUTE, `${ORDERS}                          direct_response: { status: 200 }\n${ROUTE}`),
    ),
    rules: true,
    request: { path: '/orders' },
    status: 200,
    refused: /no ext_authz filter is on for this route/,
  },
  {
    title: 'a redirect within Envoy is judged anew, by its own path',
    edit: replaced(
      ROUTE,
      `                        - match: { path: /ok }
                          route: { cluster: redirects, internal_redirect_policy: { allow_cross_scheme_redirect: true } }\n${ROUTE}`,
    ),
    rules: true,
    request: { path: '/ok' },
    status: 403,
  },
];

for (const version of envoyVersions()) {
  describe(`configurations around the offload, on ${version.name}`, { skip: version.skip }, () => {
    test('those that let through what nobody allowed are the ones that are refused', async () => {
      await using folder = await tempFolder();
      const address = await freeLoopbackAddress();
      const [adminPort = 0, redirectPort = 0, ...ports] = await freePorts(address, VARIANTS.length + 2);
      await writeFile(join(folder.path, 'rules.yaml'), JSON.stringify(RULES));
      const envoy = await startEnvoy({
        name: 'variants',
        dir: folder.path,
        executable: await linkEnvoy(folder.path, 'envoy-variants', version.path),
        bootstrap: {
          node: { id: 'variants', cluster: 'variants' },
          admin: { address: { socket_address: { address, port_value: adminPort } } },
          static_resources: {
            listeners: [
              ...VARIANTS.map((variant, index) => listenerOf(variant, { address, port: ports[index] ?? 0, folder })),
              redirects(address, redirectPort),
            ],
            clusters: [
              cluster('svidgate', address, 1),
              cluster('svidgate_authz', address, 1),
              cluster('redirects', address, redirectPort),
            ],
          },
        },
      });
      await using _ = { [Symbol.asyncDispose]: () => envoy.stop() };
      for (const [index, { title, edit, request, status, refused }] of VARIANTS.entries()) {
        const { mistakes } = checkEnvoyFiles([{ file: 'envoy.yaml', text: edit(BASE) }]);
        assert.equal(mistakes.length, refused === undefined ? 0 : 1, title);
        if (refused !== undefined) assert.match(mistakes[0]?.message ?? '', refused, title);
        const { headers = {} } = request;
        const answer = await fetch(`http://${address}:${ports[index]}${request.path}`, { headers });
        await answer.body?.cancel();
        assert.equal(answer.status, status, title);
      }
    });
  });
}

/** What svidgate would send: GET /ok is allowed. */
const RULES: YamlMap = {
  version_info: '1',
  resources: [
    {
      '@type': 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
      name: OFFLOAD_NAMES.resource('default'),
      typed_config: {
        '@type': `${HTTP}.rbac.v3.RBAC`,
        shadow_rules_stat_prefix: OFFLOAD_NAMES.shadowPrefix('default'),
        shadow_rules: {
          policies: { ok: { permissions: [{ url_path: { path: { exact: '/ok' } } }], principals: [{ any: true }] } },
        },
      },
    },
  ],
};

/** The connection manager of the edited file, without TLS; its rules come from a file, or from nobody. */
function listenerOf(
  { edit, rules, title }: Variant,
  {
    address,
    port,
    folder,
  }: { readonly address: string; readonly port: number; readonly folder: { readonly path: string } },
): YamlMap {
  const document = parse(edit(BASE)) as {
    static_resources: { listeners: [{ filter_chains: [{ filters: [Manager] }] }] };
  };
  const [manager] = document.static_resources.listeners[0].filter_chains[0].filters;
  delete manager.typed_config['access_log'];
  const offload = manager.typed_config.http_filters.find(({ name }) => name === OFFLOAD_NAMES.resource('default'));
  const path = join(folder.path, 'rules.yaml');
  if (rules && offload !== undefined) {
    offload.config_discovery.config_source = { resource_api_version: 'V3', path_config_source: { path } };
  }
  return {
    name: title,
    address: { socket_address: { address, port_value: port } },
    filter_chains: [{ filters: [manager as unknown as YamlMap] }],
  };
}

interface Manager {
  readonly typed_config: Record<string, unknown> & {
    readonly http_filters: readonly { readonly name: string; readonly config_discovery: { config_source: YamlMap } }[];
  };
}

/** An upstream that sends everybody to /other. */
function redirects(address: string, port: number): YamlMap {
  return {
    name: 'redirects',
    address: { socket_address: { address, port_value: port } },
    filter_chains: [
      {
        filters: [
          {
            name: 'manager',
            typed_config: {
              '@type':
                'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
              stat_prefix: 'redirects',
              route_config: {
                virtual_hosts: [
                  {
                    name: 'all',
                    domains: ['*'],
                    routes: [{ match: { prefix: '/' }, redirect: { path_redirect: '/other' } }],
                  },
                ],
              },
              http_filters: [{ name: 'router', typed_config: { '@type': `${HTTP}.router.v3.Router` } }],
            },
          },
        ],
      },
    ],
  };
}

function cluster(name: string, address: string, port: number): YamlMap {
  const endpoint = { address: { socket_address: { address, port_value: port } } };
  const http2 = {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      explicit_http_config: { http2_protocol_options: {} },
    },
  };
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    ...(name === 'redirects' ? {} : { typed_extension_protocol_options: http2 }),
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] },
  };
}
