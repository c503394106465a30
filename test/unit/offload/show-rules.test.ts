import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { yamlText } from '../../../src/cli/yaml-text.ts';
import { showRules, type OffloadSet } from '../../../src/offload/index.ts';
import { envoyPath } from '../../../tools/setup/paths.mjs';
import { tempFolder } from '../../support/temp-folder.ts';

const SET: OffloadSet = {
  policy: 'shop',
  policyDigest: 'd',
  allow: [
    {
      id: 'shop@0123456789ab#0',
      request: {
        kind: 'all',
        of: [
          { kind: 'header', name: ':method', match: { kind: 'exact', text: 'GET' } },
          { kind: 'path', match: { kind: 'prefix', text: '/orders/' } },
          { kind: 'not', of: { kind: 'header', name: 'x-debug', match: 'present' } },
          {
            kind: 'any',
            of: [
              { kind: 'destination_ip', address: '10.0.0.0', prefixLength: 8 },
              { kind: 'destination_port', from: 8443, to: 8444 },
              { kind: 'server_name', match: { kind: 'suffix', text: '.mesh.test' } },
            ],
          },
        ],
      },
      peer: {
        kind: 'peers',
        of: [{ kind: 'exact', text: 'spiffe://mesh.test/web' }],
        except: [{ kind: 'exact', text: 'spiffe://mesh.test/no "one"\n' }],
      },
      headers: [{ name: 'x-team', oneOf: ['blue', 'green'] }],
      origin: [],
    },
  ],
};

describe('rules as they are shown', () => {
  const shown = showRules(SET);

  test('are in the words of a configuration of Envoy', () => {
    const text = JSON.stringify(shown);
    assert.ok(text.includes('{"header":{"name":":method","string_match":{"exact":"GET"}}}'), text);
    assert.ok(text.includes('{"url_path":{"path":{"prefix":"/orders/"}}}'), text);
    assert.ok(text.includes('{"destination_ip":{"address_prefix":"10.0.0.0","prefix_len":8}}'), text);
    assert.ok(text.includes('"san_type":"URI","matcher":{"exact":"spiffe://mesh.test/web"}'), text);
    assert.match(text, /"condition":\{.*"string_value":"green"/);
    assert.ok(text.includes('"policies":{"shop@0123456789ab#0":{'), text);
    assert.equal(shown['shadow_rules_stat_prefix'], 'svidgate_shop_');
  });

  test('are the same as YAML', () => {
    assert.deepEqual(parse(yamlText(shown)), JSON.parse(JSON.stringify(shown)));
    const odd = {
      a: [],
      b: {},
      c: [[1, 2], [], { d: 'yes', 'e: f': '', g: [{ h: null }] }],
      i: '007',
      j: '- x',
      k: '#',
    };
    assert.deepEqual(parse(yamlText(odd), { version: '1.1' }), odd);
  });

  test('are taken by Envoy as they are printed', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'envoy.yaml');
    const manager = {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
      stat_prefix: 'x',
      route_config: {},
      http_filters: [
        { name: 'rbac', typed_config: shown },
        {
          name: 'router',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
        },
      ],
    };
    const listener = {
      name: 'x',
      address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
      filter_chains: [{ filters: [{ name: 'm', typed_config: manager }] }],
    };
    await writeFile(file, yamlText({ static_resources: { listeners: [listener] } }));
    const args = ['-c', file, '--mode', 'validate', '--log-level', 'error'];
    const { stdout } = await promisify(execFile)(envoyPath(), args, { timeout: 30_000 });
    assert.match(stdout, /OK/);
  });
});
