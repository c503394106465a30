import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { checkEnvoyFiles, type KnownPolicies } from '../../../src/offload/index.ts';
import {
  added,
  AUTHZ,
  BASE,
  before,
  both,
  CONFIG,
  HTTP,
  PER_ROUTE,
  RBAC,
  replaced,
  ROUTE,
} from '../../support/edited-envoy-file.ts';

describe('a configuration of Envoy', () => {
  const policies: KnownPolicies = new Map([['default', { offload: {} }]]);

  test('that does all as it should has no mistakes and no notes', () => {
    const found = checkEnvoyFiles([{ file: 'envoy.yaml', text: BASE }], { policies });
    assert.deepEqual(found, { mistakes: [], notes: [], judged: 1, others: 0 });
  });

  test('is read as JSON with the names of protobuf, too', () => {
    const camel = (text: string): string =>
      text.replaceAll(
        /"([a-z][a-z_0-9]*)":/g,
        (_, key: string) => `"${key.replaceAll(/_([a-z])/g, (__, letter: string) => letter.toUpperCase())}":`,
      );
    const text = camel(JSON.stringify(parse(BASE), undefined, 1));
    assert.match(text, /"filterEnabledMetadata"/);
    assert.deepEqual(checkEnvoyFiles([{ file: 'envoy.json', text }]), {
      mistakes: [],
      notes: [],
      judged: 1,
      others: 0,
    });
    const broken = text.replace('"failureModeAllow": false', '"failureModeAllow": true');
    assert.equal(checkEnvoyFiles([{ file: 'envoy.json', text: broken }]).mistakes.length, 1);
  });

  test('may have harmless filters before and any behind', () => {
    const harmless = ['cors.v3.Cors', 'jwt_authn.v3.JwtAuthentication', 'header_to_metadata.v3.Config'].map(
      (type, index) => before(RBAC, `{ name: x${index}, typed_config: { '@type': ${HTTP}.${type} } }`),
    );
    const lua = before(
      '                  - name: envoy.filters.http.router\n',
      `{ name: lua, typed_config: { '@type': ${HTTP}.lua.v3.Lua } }`,
    );
    assert.deepEqual(checkEnvoyFiles([{ file: 'envoy.yaml', text: both(...harmless, lua)(BASE) }]).mistakes, []);
  });

  test('has listeners in a file of LDS and routes in one of RDS judged with it', () => {
    const bootstrap = parse(BASE) as {
      static_resources: {
        clusters: unknown;
        listeners: [{ filter_chains: [{ filters: [{ typed_config: Record<string, unknown> }] }] }];
      };
    };
    const [listener] = bootstrap.static_resources.listeners;
    const manager = listener.filter_chains[0].filters[0].typed_config;
    const routes = {
      '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
      name: 'shop',
      ...(manager['route_config'] as object),
    };
    delete manager['route_config'];
    manager['rds'] = { route_config_name: 'shop', config_source: {} };
    const lds = {
      file: 'lds.yaml',
      text: stringify(
        { resources: [{ '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener', ...listener }] },
        { aliasDuplicateObjects: false },
      ),
    };
    const rds = { file: 'rds.yaml', text: stringify({ resources: [routes] }) };
    const main = {
      file: 'envoy.yaml',
      text: 'dynamic_resources: { lds_config: { path_config_source: { path: lds.yaml } } }\n',
    };

    const alone = checkEnvoyFiles([main, lds]);
    assert.deepEqual([alone.mistakes.length, alone.judged], [0, 1]);
    assert.deepEqual(
      alone.notes.map(({ file, message }) => `${file}: ${message}`),
      [
        'envoy.yaml: listeners that come by discovery are not judged',
        'lds.yaml: where `svidgate.offload.default` asks is not in these files: it has to be a Unix socket of svidgate',
        'lds.yaml: where `envoy.filters.http.ext_authz` asks is not in these files: it has to be a Unix socket of svidgate',
        'lds.yaml: routes that come by discovery are not judged: they may turn filters off, or name another policy',
      ],
    );
    const withClusters = {
      file: 'clusters.yaml',
      text: stringify({ static_resources: { clusters: bootstrap.static_resources.clusters } }),
    };
    assert.deepEqual(
      checkEnvoyFiles([lds, rds, withClusters]).notes.map(({ message }) => message),
      ['how many requests that need no call were not recorded stays unknown'],
    );
    const overridden = {
      ...routes,
      typed_per_filter_config: { 'svidgate.offload.default': { '@type': `${HTTP}.rbac.v3.RBACPerRoute` } },
    };
    const off = stringify({ resources: [overridden] });
    const [mistake] = checkEnvoyFiles([lds, { ...rds, text: off }]).mistakes;
    assert.deepEqual([mistake?.file, /its rules are not those/.test(mistake?.message ?? '')], ['rds.yaml', true]);
  });

  test('is judged in the filters of its upgrades', () => {
    const edit = replaced(
      '                stat_prefix: shop\n',
      `                stat_prefix: shop\n                upgrade_configs: [{ upgrade_type: websocket, filters: [{ name: svidgate.offload.default, typed_config: { '@type': ${HTTP}.rbac.v3.RBAC } }] }]\n`,
    );
    const { mistakes } = checkEnvoyFiles([{ file: 'envoy.yaml', text: edit(BASE) }]);
    assert.deepEqual(
      mistakes.map(({ message }) => message),
      ['`svidgate.offload.default` is followed by no ext_authz filter that asks what it found'],
    );
  });

  test('with a pair for each route passes where each route turns on one', () => {
    const on = `{ ${CONFIG}, config: {} }`;
    const [from, to] = [BASE.indexOf(RBAC), BASE.indexOf('                  - name: envoy.filters.http.router\n')];
    const pair = (policy: string): string =>
      BASE.slice(from, to)
        .replaceAll('svidgate.offload.default\n', `svidgate.offload.${policy}\n                    disabled: true\n`)
        .replace(AUTHZ, `                  - name: authz.${policy}\n                    disabled: true\n`)
        .replaceAll('svidgate_default_', `svidgate_${policy}_`);
    const routed = (policy: string, asked = policy): string =>
      `                        - match: { prefix: /${policy} }
                          direct_response: { status: 200 }
                          typed_per_filter_config:
                            svidgate.offload.${policy}: ${on}
                            authz.${policy}: { ${PER_ROUTE}, check_settings: { context_extensions: { svidgate.policy: ${asked} } } }\n`;
    const text = (routes: string): string =>
      (BASE.slice(0, from) + pair('reports') + pair('orders') + BASE.slice(to)).replace(
        / {24}- match[^]*?\n(?= {16}http_filters)/,
        routes,
      );
    const check = (routes: string): readonly string[] =>
      checkEnvoyFiles([{ file: 'envoy.yaml', text: text(routes) }]).mistakes.map(({ message }) => message);
    assert.deepEqual(check(routed('orders') + routed('reports')), []);
    assert.deepEqual(check(routed('orders') + routed('reports', 'orders')), [
      '`authz.reports` asks for policy `orders` here, and `svidgate.offload.reports` lets through by policy `reports`',
    ]);
  });

  test('is compared with the policies that there are', () => {
    const check = (known: KnownPolicies): readonly string[] => {
      const { mistakes, notes } = checkEnvoyFiles([{ file: 'envoy.yaml', text: BASE }], { policies: known });
      return [...mistakes, ...notes].map(({ message }) => message);
    };
    assert.deepEqual(check(policies), []);
    assert.deepEqual(check(new Map()), ['svidgate has no policy `default`']);
    assert.deepEqual(check(new Map([['default', {}]])), ['policy `default` is not offloaded: every request is a call']);
  });

  test('has peers verified by trust bundles of svidgate alone', () => {
    const named = (name: string): string => replaced('{ name: ROOTCA, ', `{ name: '${name}', `)(BASE);
    const check = (name: string, known = {}): readonly string[] =>
      checkEnvoyFiles([{ file: 'envoy.yaml', text: named(name) }], known).mistakes.map(({ message }) => message);
    for (const name of ['ALL', 'ALL?peers=web', 'spiffe://prod.acme.test', 'spiffe://prod.acme.test?peers=web']) {
      assert.deepEqual(check(name), [], name);
    }
    for (const name of ['corporate-ca', 'spiffe://prod.acme.test/web', 'ROOTCA?other=web', 'default', '']) {
      assert.deepEqual(check(name), [
        `\`${name}\` is no trust bundle of svidgate: Envoy would take peers that the gate would not`,
      ]);
    }
    const known = { bundles: { defaultBundleName: 'own', defaultAllBundlesName: 'every' } };
    assert.deepEqual([...check('own', known), ...check('every?peers=web', known)], []);
    assert.equal(check('ROOTCA', known).length, 1);
  });

  test('has told what may not be meant', () => {
    const edits = both(
      (text) => text.replace(/ +access_log:[^]*?additional_request_headers[^\n]*\n/, ''),
      replaced('                normalize_path: true\n', ''),
      replaced('validate_mutations: true', 'with_request_body: { max_request_bytes: 1024 }'),
      (text) => text.replace(/stats_sinks:[^]*?\n\n/, ''),
    );
    const { mistakes, notes } = checkEnvoyFiles([{ file: 'envoy.yaml', text: edits(BASE) }]);
    assert.deepEqual([mistakes.length, notes.length], [0, 4]);
  });

  test('has told what is recorded otherwise than it came', () => {
    const notes = (edit: (text: string) => string): readonly string[] => {
      const found = checkEnvoyFiles([{ file: 'envoy.yaml', text: edit(BASE) }]);
      assert.deepEqual(found.mistakes, []);
      return found.notes.map(({ message }) => /`(\w+)`/.exec(message)?.[1] ?? message);
    };
    const rewriting = added(
      ROUTE,
      `                          request_headers_to_remove: [x-user]
                          route: { cluster: shop, host_rewrite_literal: shop.test, prefix_rewrite: / }\n`,
    );
    assert.deepEqual(notes(rewriting), ['request_headers_to_remove', 'host_rewrite_literal', 'prefix_rewrite']);
    const kept = before(
      RBAC,
      `{ name: x, typed_config: { '@type': ${HTTP}.header_to_metadata.v3.Config, request_rules: [{ header: ':path', on_header_present: { metadata_namespace: svidgate.request, key: path } }] } }`,
    );
    assert.deepEqual(notes(both(rewriting, kept)), ['request_headers_to_remove']);
    const sink = "      '@type': type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig\n";
    assert.deepEqual(notes(added(sink, '      batch_size: 100\n')), ['batch_size']);
    assert.deepEqual(notes(added(sink, '      batch_size: 0\n')), []);
  });

  test('that is none, or no YAML, is refused', () => {
    for (const text of ['', 'trust_domain: mesh.test\n', 'static_resources: [\n', '- 1\n']) {
      assert.equal(checkEnvoyFiles([{ file: 'x.yaml', text }]).mistakes.length, 1, text);
    }
  });
});
