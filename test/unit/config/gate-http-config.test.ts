import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type AuthzConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate/svidgate.yaml';
const POLICIES = '  policies: { default: { path: a }, payments: { path: b }, next: { path: c, shadow_of: default } }\n';

function textOf(authz: string): string {
  return `trust_domain: td.test\nauthz:\n${POLICIES}${authz}`;
}

function authzOf(authz: string): AuthzConfig {
  const { value, mistakes } = parseConfig(textOf(authz), FILE);
  assert.ok(value?.authz, mistakes?.map(formatMistake).join('\n'));
  return value.authz;
}

function mistakesOf(authz: string): string {
  return (parseConfig(textOf(authz), FILE).mistakes ?? []).map(formatMistake).join('\n');
}

test('each listener for HTTP has its scheme, its path and its callers', () => {
  const { httpListeners, egress } = authzOf(`
  egress: { audiences: [a, b] }
  http:
    listen: unix:./http.sock
    request: nginx
    listeners:
      mesh:
        listen: 0.0.0.0:9443
        request: envoy
        path_prefix: /check/
        policy_in_path: true
        peer: xfcc
        default_policy: payments
        tls: { spiffe_id: spiffe://td.test/gate, dns_names: [Gate.td.test] }
        callers: [{ spiffe_id: spiffe://td.test/edge, policies: [payments] }]
`);
  assert.deepEqual(httpListeners, [
    {
      name: 'http',
      listen: { kind: 'unix', path: '/etc/svidgate/http.sock' },
      policies: new Set(['default', 'payments']),
      defaultPolicy: 'default',
      scheme: 'nginx',
      path: { prefix: '/', hasPolicy: false },
      isPeerInXfcc: false,
    },
    {
      name: 'http:mesh',
      listen: { kind: 'tcp', host: '0.0.0.0', port: 9443 },
      tls: { spiffeId: 'spiffe://td.test/gate', dnsNames: ['gate.td.test'] },
      policies: new Set(['default', 'payments']),
      defaultPolicy: 'payments',
      callers: [{ pattern: { kind: 'exact', spiffeId: 'spiffe://td.test/edge' }, policies: new Set(['payments']) }],
      scheme: 'envoy',
      path: { prefix: '/check', hasPolicy: true },
      isPeerInXfcc: true,
    },
  ]);
  assert.deepEqual(egress, { audiences: new Set(['a', 'b']) });
  assert.deepEqual(authzOf('').httpListeners, []);
});

const TLS = 'tls: { spiffe_id: spiffe://td.test/gate }';
const CALLERS = 'callers: [{ spiffe_id: spiffe://td.test/edge }]';
const mistakes: readonly (readonly [authz: string, says: RegExp])[] = [
  ['http: { listen: unix:./h.sock }', /missing key `authz\.http\.request`/],
  ['http: { request: envoy }', /missing key `authz\.http\.listen`/],
  ['http: { listen: unix:./h.sock, request: apache }', /one of `envoy`, `nginx`, `traefik`/],
  ['http: { listen: 127.0.0.1:9443, request: envoy }', /`authz\.http\.listen` is .*a Unix socket .* or `tls`/],
  [`http: { listen: 127.0.0.1:9443, request: envoy, ${TLS} }`, /`authz\.http\.callers` is missing/],
  [`http: { listen: unix:./h.sock, request: envoy, ${TLS}, ${CALLERS} }`, /no meaning on a Unix socket/],
  ['http: { listen: unix:./h.sock, request: envoy, path_prefix: check }', /expected a path of plain segments/],
  ['http: { listen: unix:./h.sock, request: envoy, path_prefix: /a/../b }', /expected a path of plain segments/],
  ['http: { listen: unix:./h.sock, request: envoy, path_prefix: /a%2fb }', /expected a path of plain segments/],
  ['http: { listen: unix:./h.sock, request: envoy, policy_in_path: true }', /`path_prefix` is missing/],
  ['http: { listen: unix:./h.sock, request: nginx, peer: xfcc }', /nginx does not write x-forwarded-client-cert/],
  ['http: { listen: unix:./h.sock, request: nginx, policies: [other] }', /there is no policy `other`/],
  ['http: { listen: unix:./h.sock, request: nginx, policies: [next] }', /there is no policy `next`/],
  ['http: { listen: unix:./h.sock, request: nginx, policies: [payments], default_policy: default2 }', /default2/],
  [
    'http: { listen: unix:./api.sock, request: nginx }\n  listen: unix:./api.sock',
    /is the same address as `authz\.listen`/,
  ],
  [
    'http: { listen: unix:./h.sock, request: nginx, listeners: { a: { listen: unix:./h.sock, request: nginx } } }',
    /`authz\.http\.listeners\.a\.listen` is the same address as `authz\.http\.listen`/,
  ],
  [
    `http: { listen: 0.0.0.0:9443, request: envoy, tls: { spiffe_id: spiffe://other.test/gate }, ${CALLERS} }`,
    /is not of trust domain `td\.test`/,
  ],
  [
    'http: { listen: unix:./h.sock, request: envoy, callers: [{ spiffe_id: spiffe://other.test/a }] }',
    /no attested caller is of another trust domain/,
  ],
  [
    `http: { listen: 0.0.0.0:1, request: envoy, tls: { spiffe_id: spiffe://td.test/g, dns_names: ['a b'] }, ${CALLERS} }`,
    /dns_names/,
  ],
  ['egress: {}', /missing key `authz\.egress\.audiences`/],
  ['egress: { audiences: [] }', /authz\.egress\.audiences/],
  ["egress: { audiences: [''] }", /1 to 2048 characters/],
];
for (const [authz, says] of mistakes) {
  test(`is told: ${authz.slice(0, 100)}`, () => {
    assert.match(mistakesOf(`  ${authz}\n`), says);
  });
}
