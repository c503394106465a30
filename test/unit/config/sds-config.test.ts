import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig } from '../../../src/config/index.ts';
import { SDS_DEFAULTS } from './sds-defaults.ts';

const FILE = '/etc/svidgate/svidgate.yaml';
const TD = 'trust_domain: td.test\n';

function mistakesOf(text: string): string[] {
  return (parseConfig(text, FILE).mistakes ?? []).map(formatMistake).map((line) => line.replace(`${FILE}:`, ''));
}

test('without a word about them no further secrets are served, and limits are wide', () => {
  const { value } = parseConfig(TD, FILE);
  assert.deepEqual(value?.workloadSocketAliases, []);
  assert.deepEqual(value.sds, SDS_DEFAULTS);
});

test('every key of the section reaches the resolved configuration', () => {
  const text = `${TD}
workload_socket_aliases: [socket, spire-agent.sock]
sds:
  ack_timeout: 10s
  limits: { streams: 5, names_per_stream: 6, requests_per_second: 7, request_bytes_per_second: 1048576 }
  jwt_svids:
    - { allow: [spiffe://td.test/a, spiffe://td.test/team/**], audiences: [api.acme.test, b] }
    - { allow: [spiffe://td.test/**], audiences: [c] }
  secrets:
    token: { file: ./token, allow: [spiffe://td.test/a] }
    web/server: { kind: tls_certificate, certificate_file: web.pem, private_key_file: /k.pem, allow: [spiffe://td.test/a] }
    clients: { kind: validation_context, ca_file: ca.pem, allow: [spiffe://td.test/a] }
    tickets: { kind: session_tickets, allow: [spiffe://td.test/a] }
    fleet: { kind: session_tickets, seed_file: seed, rotate_every: 90m, keep_old: 0, allow: [spiffe://td.test/a] }
    constructor: { file: /c, allow: [spiffe://other.test/a] }
  files:
    - { folder: ./certs, allow: [spiffe://td.test/a] }
  peers:
    static: { spiffe_ids: [spiffe://td.test/a, spiffe://other.test/b/**] }
    nobody: { spiffe_ids: [] }
    own: { policy_data: { path: peers/orders } }
    named: { policy_data: { policy: edge, path: x } }
authz: { policies: { default: { path: p }, edge: { path: e } } }
`;
  const { value, mistakes } = parseConfig(text, FILE);
  assert.equal(mistakes, undefined);
  assert.deepEqual(value?.workloadSocketAliases, ['socket', 'spire-agent.sock']);
  const a = { kind: 'exact', spiffeId: 'spiffe://td.test/a' };
  const allow = [a];
  assert.partialDeepStrictEqual(value.sds, {
    ackTimeoutMs: 10_000,
    limits: { streams: 5, namesPerStream: 6, requestsPerSecond: 7, requestBytesPerSecond: 1_048_576 },
  });
  assert.deepEqual(value.sds.jwtSvids, [
    { allow: [a, { kind: 'beneath', prefix: 'spiffe://td.test/team/' }], audiences: ['api.acme.test', 'b'] },
    { allow: [{ kind: 'beneath', prefix: 'spiffe://td.test/' }], audiences: ['c'] },
  ]);
  assert.deepEqual(
    [...value.sds.secrets],
    [
      ['token', { kind: 'generic', allow, file: '/etc/svidgate/token' }],
      [
        'web/server',
        { kind: 'tls_certificate', allow, certificateFile: '/etc/svidgate/web.pem', privateKeyFile: '/k.pem' },
      ],
      ['clients', { kind: 'validation_context', allow, caFile: '/etc/svidgate/ca.pem' }],
      ['tickets', { kind: 'session_tickets', allow, rotateEveryMs: 3_600_000, keepOld: 2 }],
      [
        'fleet',
        { kind: 'session_tickets', allow, rotateEveryMs: 5_400_000, keepOld: 0, seedFile: '/etc/svidgate/seed' },
      ],
      ['constructor', { kind: 'generic', allow: [{ kind: 'exact', spiffeId: 'spiffe://other.test/a' }], file: '/c' }],
    ],
  );
  assert.deepEqual(value.sds.files, [{ folder: '/etc/svidgate/certs', allow }]);
  assert.deepEqual(
    [...value.sds.peers],
    [
      ['static', { kind: 'static', peers: [a, { kind: 'beneath', prefix: 'spiffe://other.test/b/' }] }],
      ['nobody', { kind: 'static', peers: [] }],
      ['own', { kind: 'policy', policy: 'default', path: 'peers/orders' }],
      ['named', { kind: 'policy', policy: 'edge', path: 'x' }],
    ],
  );
});

const ALLOW = 'allow: [spiffe://td.test/a]';
const sds = (text: string): string => `${TD}sds: {${text}}\n`;
const secret = (text: string): string => sds(`secrets: {a: {${text}}}`);
const aliases = (list: string, rest = ''): string => `${TD}workload_socket_aliases: [${list}]\n${rest}`;
const FILE_NAME = 'expected a file name of letters, digits, `.`, `-` or `_`, without a folder';
const LEAVE_OUT = 'leave it out, or choose another name';
const IDS = 'expected a list of SPIFFE IDs such as spiffe://prod.acme.test/gateway';
const LONG = 'x'.repeat(100);

const MISTAKES: readonly (readonly [text: string, ...mistakes: string[]])[] = [
  [aliases('api.sock'), `2:27: \`api.sock\` is \`workload_socket\` already: ${LEAVE_OUT}`],
  [aliases('s, s'), `2:30: \`s\` is another alias already: ${LEAVE_OUT}`],
  [aliases('admin.sock'), `2:27: \`admin.sock\` is \`admin.socket\` already: ${LEAVE_OUT}`],
  [aliases('gate', 'authz: {listen: "unix:./run/gate"}\n'), `2:27: \`gate\` is \`authz.listen\` already: ${LEAVE_OUT}`],
  [
    aliases('up', 'identity_source: workload_api\nupstream_workload_socket: ./run/up\n'),
    `2:27: \`up\` is \`upstream_workload_socket\` already: ${LEAVE_OUT}`,
  ],
  [
    aliases(LONG),
    `2:27: a socket path has at most 107 bytes; /etc/svidgate/run/${LONG} has 118: choose a shorter name`,
  ],
  [
    aliases('a/b, "..", ""'),
    `2:27: \`workload_socket_aliases[0]\` is "a/b": ${FILE_NAME}`,
    `2:32: \`workload_socket_aliases[1]\` is "..": ${FILE_NAME}`,
    `2:38: \`workload_socket_aliases[2]\` is "": ${FILE_NAME}`,
  ],
  [
    sds('default_svid_name: ALL'),
    '2:1: `sds.default_all_bundles_name` is the same name as `sds.default_svid_name`: give each its own',
  ],
  [
    sds('default_svid_name: ""'),
    '2:26: `sds.default_svid_name` is "": expected a name of 1 to 255 characters that is not a SPIFFE ID',
  ],
  [
    sds('default_svid_name: spiffe://td.test/a'),
    '2:26: `sds.default_svid_name` is "spiffe://td.test/a": expected a name of 1 to 255 characters that is not a SPIFFE ID',
  ],
  [
    sds('default_svid_name: jwt:x'),
    '2:26: `sds.default_svid_name` is "jwt:x": expected a name without `?` that does not start as a name of another kind: `jwt:`, `hint:`, `file-cert:`, `file-root:`',
  ],
  [sds('ack_timeout: 10ms'), '2:20: `sds.ack_timeout` is "10ms": expected a duration from 1s to 1h, such as 30s'],
  [
    sds('limits: {streams: 0, names_per_stream: 1000000, requests_per_second: a, request_bytes_per_second: 1}'),
    '2:25: `sds.limits.streams` is the number 0: expected a whole number from 1 to 1000000',
    '2:46: `sds.limits.names_per_stream` is the number 1000000: expected a whole number from 1 to 100000',
    '2:76: `sds.limits.requests_per_second` is "a": expected a whole number from 1 to 1000000',
    '2:105: `sds.limits.request_bytes_per_second` is the number 1: expected a whole number of bytes from 1048576 to 1099511627776',
  ],
  [sds('limits: {stream: 5}'), '2:16: unknown key `sds.limits.stream`: did you mean `streams`?'],
  [
    sds('jwt_svids: [{allow: [spiffe://td.test/a]}]'),
    '2:19: missing key `sds.jwt_svids[0].audiences`: expected a list of audiences such as api.acme.test',
  ],
  [
    sds('jwt_svids: [{allow: [], audiences: []}]'),
    `2:27: \`sds.jwt_svids[0].allow\` is an empty list: ${IDS}`,
    '2:42: `sds.jwt_svids[0].audiences` is an empty list: expected a list of audiences such as api.acme.test',
  ],
  [
    sds('jwt_svids: [{allow: [spiffe://td.test, spiffe://td.test/a*], audiences: [a, ""]}]'),
    '2:28: `sds.jwt_svids[0].allow[0]` is "spiffe://td.test": no workload has the ID of a trust domain; all of them: spiffe://td.test/**',
    '2:46: `sds.jwt_svids[0].allow[1]` is "spiffe://td.test/a*": path segment characters are limited to letters, numbers, dots, dashes, and underscores',
    '2:83: `sds.jwt_svids[0].audiences[1]` is "": expected a text of 1 to 255 characters',
  ],
  [
    sds('secrets: {}'),
    '2:16: no name is given: expected at least one secret, such as `token: { file: ./token, allow: [spiffe://prod.acme.test/gateway] }`',
  ],
  ...['a:b', 'spiffe://td.test/x', '_a', 'a?peers=b'].map((name): readonly [string, string] => [
    sds(`secrets: {"${name}": {file: f, ${ALLOW}}}`),
    `2:17: "${name}" is not a valid name: use 1 to 128 letters, digits, \`.\`, \`-\`, \`_\` or \`/\`, the first a letter or digit`,
  ]),
  [secret('file: f'), `2:17: missing key \`sds.secrets.a.allow\`: ${IDS}`],
  [secret(`file: f, allow: []`), `2:37: \`sds.secrets.a.allow\` is an empty list: ${IDS}`],
  [
    secret(`file: "", ${ALLOW}`),
    '2:27: `sds.secrets.a.file` is "": expected a path, absolute or from the folder of this file',
  ],
  [
    secret(`kind: other, file: f, ${ALLOW}`),
    '2:27: `sds.secrets.a.kind` is "other": expected one of `generic`, `tls_certificate`, `validation_context`, `session_tickets`',
  ],
  [secret(ALLOW), '2:20: `file` is missing: `kind: generic` needs it'],
  [
    secret(`kind: tls_certificate, certificate_file: c, ${ALLOW}`),
    '2:20: `private_key_file` is missing: `kind: tls_certificate` needs it',
  ],
  [
    secret(`kind: tls_certificate, certificate_file: "", ${ALLOW}`),
    '2:20: `private_key_file` is missing: `kind: tls_certificate` needs it',
    '2:62: `sds.secrets.a.certificate_file` is "": expected a path, absolute or from the folder of this file',
  ],
  [
    secret(`kind: validation_context, file: c, ${ALLOW}`),
    '2:20: `ca_file` is missing: `kind: validation_context` needs it',
    '2:53: `file` has no meaning for `kind: validation_context`: leave it out',
  ],
  [
    secret(`kind: session_tickets, ca_file: c, rotate_every: 1000h, keep_old: 17, ${ALLOW}`),
    '2:53: `ca_file` has no meaning for `kind: session_tickets`: leave it out',
    '2:70: `sds.secrets.a.rotate_every` is "1000h": expected a duration from 1s to 168h, such as 1h30m',
    '2:87: `sds.secrets.a.keep_old` is the number 17: expected a whole number from 0 to 16',
  ],
  [
    secret(`file: f, keep_old: 1, rotate_every: 1h, seed_file: s, ${ALLOW}`),
    '2:40: `keep_old` has no meaning for `kind: generic`: leave it out',
    '2:57: `rotate_every` has no meaning for `kind: generic`: leave it out',
    '2:72: `seed_file` has no meaning for `kind: generic`: leave it out',
  ],
  [
    sds(`secrets: {default: {file: f, ${ALLOW}}}`),
    '2:26: `default` is `sds.default_svid_name` already: give the secret another name',
  ],
  [
    sds(`default_bundle_name: own, secrets: {own: {file: f, ${ALLOW}}}`),
    '2:48: `own` is `sds.default_bundle_name` already: give the secret another name',
  ],
  [sds('files: [{folder: /etc/certs}]'), `2:15: missing key \`sds.files[0].allow\`: ${IDS}`],
  [
    sds('files: [{folder: "", allow: [nobody]}]'),
    '2:24: `sds.files[0].folder` is "": expected a path, absolute or from the folder of this file',
    '2:36: `sds.files[0].allow[0]` is "nobody": scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"',
  ],
  [
    sds('peers: {}'),
    '2:14: no name is given: expected at least one list, such as `orders-callers: { spiffe_ids: [spiffe://prod.acme.test/web] }`',
  ],
  [
    sds('peers: {a/b: {spiffe_ids: []}}'),
    '2:15: "a/b" is not a valid name: use 1 to 64 letters, digits, `.`, `-` or `_`, the first a letter or digit',
  ],
  [sds('peers: {a: {}}'), '2:18: `peers.NAME` has none of `spiffe_ids`, `policy_data`: give exactly one of them'],
  [
    sds('peers: {a: {spiffe_ids: [], policy_data: {path: x}}}'),
    '2:18: `peers.NAME` has more than one of `spiffe_ids`, `policy_data`: give exactly one of them',
  ],
  [
    sds('peers: {a: {spiffe_ids: ["*"]}}'),
    '2:32: `sds.peers.a.spiffe_ids[0]` is "*": scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"',
  ],
  [
    sds('peers: {a: {policy_data: {path: /peers/}}}'),
    '2:39: `sds.peers.a.policy_data.path` is "/peers/": expected keys with slashes between them, such as peers/orders',
  ],
  [sds('peers: {a: {policy_data: {path: peers}}}'), '2:32: there is no policy `default`: name one of `authz.policies`'],
  [
    `${sds('peers: {a: {policy_data: {policy: toString, path: peers}}}')}authz: {}\n`,
    '2:32: there is no policy `toString`: name one of `authz.policies`',
  ],
  [
    // What is wrong with the policies hides which there are.
    `${sds('peers: {a: {policy_data: {path: peers}}}')}authz: {on_error: x}\n`,
    '3:19: `authz.on_error` is "x": expected one of `deny`, `error_response`, `grpc`',
  ],
];

for (const [text, ...mistakes] of MISTAKES) {
  test(`mistakes of ${text.slice(TD.length).trim().slice(0, 90)}`, () => {
    assert.deepEqual(mistakesOf(text), mistakes);
  });
}
