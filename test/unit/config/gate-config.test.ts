import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatMistake, parseConfig, unservedPolicies, type AuthzConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate/svidgate.yaml';
const POLICIES =
  '  policies: { default: { path: a }, payments: { path: b }, "next": { path: c, shadow_of: default } }\n';

function textOf(authz: string): string {
  return `trust_domain: td.test\nauthz:\n${POLICIES}${authz}`;
}

function authzOf(authz: string): AuthzConfig {
  const { value, mistakes } = parseConfig(textOf(authz), FILE);
  assert.ok(value?.authz, mistakes?.map(formatMistake).join('\n'));
  return value.authz;
}

function mistakesOf(authz: string): string[] {
  return (parseConfig(textOf(authz), FILE).mistakes ?? [])
    .map(formatMistake)
    .map((line) => line.replace(`${FILE}:`, ''));
}

const exact = (path: string) => ({ kind: 'exact', spiffeId: `spiffe://td.test${path}` });

test('one listener alone serves every policy but shadows', () => {
  assert.deepEqual(authzOf('').listeners, [
    {
      name: 'gate',
      listen: { kind: 'tcp', host: '127.0.0.1', port: 9191 },
      policies: new Set(['default', 'payments']),
      defaultPolicy: 'default',
    },
  ]);
});

test('each listener has policies, callers and an identity of its own', () => {
  const { listeners } = authzOf(`
  listen: unix:./gate.sock
  callers:
    - { spiffe_id: spiffe://td.test/edge/**, policies: [default] }
    - { spiffe_id: spiffe://td.test/admin }
  listeners:
    payments:
      listen: 0.0.0.0:9192
      policies: [payments]
      default_policy: payments
      tls: { spiffe_id: spiffe://td.test/gate }
      callers: [{ spiffe_id: spiffe://partner.test/edge }]
    plain: { listen: "[::1]:9193" }
`);
  const both = new Set(['default', 'payments']);
  const payments = new Set(['payments']);
  assert.deepEqual(listeners, [
    {
      name: 'gate',
      listen: { kind: 'unix', path: '/etc/svidgate/gate.sock' },
      policies: both,
      defaultPolicy: 'default',
      callers: [
        { pattern: { kind: 'beneath', prefix: 'spiffe://td.test/edge/' }, policies: new Set(['default']) },
        { pattern: exact('/admin'), policies: both },
      ],
    },
    {
      name: 'gate:payments',
      listen: { kind: 'tcp', host: '0.0.0.0', port: 9192 },
      tls: { spiffeId: 'spiffe://td.test/gate' },
      policies: payments,
      defaultPolicy: 'payments',
      callers: [{ pattern: { kind: 'exact', spiffeId: 'spiffe://partner.test/edge' }, policies: payments }],
    },
    { name: 'gate:plain', listen: { kind: 'tcp', host: '::1', port: 9193 }, policies: both, defaultPolicy: 'default' },
  ]);
});

const TLS = 'tls: { spiffe_id: spiffe://td.test/gate }';
const CALLERS = 'callers: [{ spiffe_id: spiffe://td.test/edge }]';
const listener = (text: string): string => `  listeners:\n    x: { ${text} }\n`;
const KNOWN = 'name one of `authz.policies` that is no shadow';

describe('every mistake has its place and what would be right', () => {
  const loopback =
    'a Unix socket (unix:PATH) or a loopback address (127.0.0.1:PORT, [::1]:PORT) is required where there is no `tls`';
  const cases: readonly (readonly [text: string, ...mistakes: string[]])[] = [
    ['  listen: 10.0.0.1:9191\n', `4:11: \`authz.listen\` is "10.0.0.1:9191": ${loopback}`],
    [listener('listen: gate.test:1'), `5:18: \`authz.listeners.x.listen\` is "gate.test:1": ${loopback}`],
    [listener('policies: [default]'), '5:5: missing key `authz.listeners.x.listen`: expected unix:PATH or HOST:PORT'],
    [
      `  listen: unix:./g\n  ${TLS}\n`,
      '5:8: `authz.tls` has no meaning on a Unix socket: leave it out: the kernel tells who asks there',
    ],
    [
      listener(`listen: 0.0.0.0:1, ${TLS}`),
      '5:34: `authz.listeners.x.callers` is missing: `tls` needs the SPIFFE IDs that may ask',
    ],
    [
      `  ${CALLERS}\n`,
      '4:12: `authz.callers` has no meaning here: nobody is proven on TCP without TLS: leave it out, set `tls`, or listen on a Unix socket',
    ],
    [
      listener('listen: 127.0.0.1:9191'),
      '5:18: `authz.listeners.x.listen` is the same address as `authz.listen`: give each its own',
    ],
    [listener('listen: unix:a, policies: [other]'), `5:37: there is no policy \`other\`: ${KNOWN}`],
    [listener('listen: unix:a, policies: [next]'), `5:37: there is no policy \`next\`: ${KNOWN}`],
    [listener('listen: unix:a, policies: [constructor]'), `5:37: there is no policy \`constructor\`: ${KNOWN}`],
    [listener('listen: unix:a, default_policy: other'), `5:42: there is no policy \`other\`: ${KNOWN}`],
    [
      listener('listen: unix:a, policies: [default], default_policy: payments'),
      '5:63: `payments` is none of the policies of this listener: add it to `authz.listeners.x.policies`',
    ],
    [
      listener(
        'listen: unix:a, policies: [default], callers: [{ spiffe_id: spiffe://td.test/a, policies: [payments] }]',
      ),
      '5:101: `payments` is none of the policies of this listener: add it to `authz.listeners.x.policies`',
    ],
    [
      listener('listen: 127.0.0.1:1, policies: [payments]'),
      '5:41: `authz.listeners.x.default_policy` is missing: callers on TCP without TLS get no other policy than that one',
    ],
    [
      '  listen: unix:g\n  callers: [{ spiffe_id: spiffe://td.test/a, policies: [other] }]\n',
      `5:57: there is no policy \`other\`: ${KNOWN}`,
    ],
    [
      `  tls: { spiffe_id: spiffe://other.test/gate }\n  ${CALLERS}\n`,
      '4:21: `spiffe://other.test/gate` is not of trust domain `td.test`: name an ID that svidgate can sign for',
    ],
    [
      `  tls: { spiffe_id: spiffe://td.test }\n  ${CALLERS}\n`,
      '4:21: `authz.tls.spiffe_id` is "spiffe://td.test": expected the ID of a workload, with a path',
    ],
    [
      '  listen: unix:g\n  callers: [{ spiffe_id: spiffe://other.test/** }]\n',
      '5:26: no attested caller is of another trust domain than `td.test`: leave it out, or let it connect with `tls`',
    ],
    [
      '  listen: unix:g\n  callers: []\n',
      '5:12: `authz.callers` is an empty list: expected a list such as [{ spiffe_id: spiffe://prod.acme.test/edge }]',
    ],
    [
      listener('listen: unix:a, policies: []'),
      '5:36: `authz.listeners.x.policies` is an empty list: expected a list of policies such as [default]',
    ],
    [
      '  listeners: { "a b": { listen: unix:a } }\n',
      '4:16: "a b" is not a valid name: use 1 to 64 letters, digits, `.`, `-` or `_`, the first a letter or digit',
    ],
  ];
  for (const [text, ...mistakes] of cases) {
    test(mistakes.join('; '), () => assert.deepEqual(mistakesOf(text), mistakes));
  }
});

test('several mistakes are told together', () => {
  const text = `  listen: 10.0.0.1:1\n${listener(`listen: unix:a, ${TLS}, policies: [other], default_policy: none`)}`;
  assert.equal(mistakesOf(text).length, 4);
});

describe('a policy that nobody can ask for', () => {
  const cases: readonly (readonly [text: string, ...names: string[]])[] = [
    ['', 'payments'],
    ['  listen: unix:g\n'],
    ['  listen: unix:g\n  callers: [{ spiffe_id: spiffe://td.test/a, policies: [payments] }]\n', 'default'],
    [listener('listen: 127.0.0.1:1, default_policy: payments')],
    [listener(`listen: 0.0.0.0:1, ${TLS}, ${CALLERS}, policies: [default]`), 'payments'],
    [listener(`listen: 0.0.0.0:1, ${TLS}, ${CALLERS}`)],
  ];
  for (const [text, ...names] of cases) {
    test(JSON.stringify(text), () => {
      assert.deepEqual(unservedPolicies(authzOf(text)), names);
    });
  }
});
