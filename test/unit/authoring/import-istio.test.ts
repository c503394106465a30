/** Istio's policies as rules: what they decide, by Istio's own documentation, and what is refused. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { importIstio, rulesToYaml, type IstioOptions } from '../../../src/authoring/index.ts';
import { fitsRule, type RuleRequest } from '../../../src/authoring/rule-model.ts';
import { parseRules } from '../../../src/authoring/rules-schema.ts';
import { formatMistake } from '../../../src/config/index.ts';

const OPTIONS: IstioOptions = {
  trustDomains: ['cluster.local'],
  providers: new Map([['accounts', 'https://accounts.test']]),
};
const SLEEP = 'spiffe://cluster.local/ns/default/sa/sleep';
const BASE: RuleRequest = { method: 'GET', path: '/data', host: 'web.test', headers: {} };

function policy(spec: string, name = 'p', more = ''): string {
  const head = `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: ${name}, namespace: default }\n`;
  return `${head}spec:\n${more}${spec.replace(/^/gm, '  ')}\n`;
}

function decide(text: string, request: Partial<RuleRequest>): boolean {
  const imported = importIstio(text, 'istio.yaml', OPTIONS);
  assert.ok(imported.rules !== undefined, imported.mistakes?.map(formatMistake).join('\n'));
  // Through the file that people keep.
  const { value } = parseRules(rulesToYaml(imported.rules), 'rules.yaml');
  assert.ok(value !== undefined);
  const fits = (action: string): boolean =>
    value.rules.some((rule) => rule.action === action && fitsRule(rule, { ...BASE, ...request }));
  return fits('allow') && !fits('deny');
}

interface Case {
  readonly name: string;
  readonly text: string;
  readonly allowed: readonly Partial<RuleRequest>[];
  readonly denied: readonly Partial<RuleRequest>[];
}

const token = (claims: Readonly<Record<string, unknown>>): NonNullable<RuleRequest['jwt']> => ({
  provider: 'accounts',
  claims,
});

const CASES: readonly Case[] = [
  { name: 'a spec without anything', text: policy('{}'), allowed: [], denied: [{}, { peer: SLEEP }] },
  { name: 'one empty rule', text: policy('rules: [{}]'), allowed: [{}, { peer: SLEEP }], denied: [] },
  {
    name: 'a deny alone',
    text: policy('action: DENY\nrules: [{ to: [{ operation: { methods: [DELETE] } }] }]'),
    allowed: [{}],
    denied: [{ method: 'DELETE' }],
  },
  {
    name: 'a deny beside an allow',
    text: `${policy('rules: [{ from: [{ source: { principals: ["*"] } }] }]')}---\n${policy('action: DENY\nrules: [{ to: [{ operation: { paths: [/admin] } }] }]', 'q')}`,
    allowed: [{ peer: SLEEP }],
    denied: [{}, { peer: SLEEP, path: '/admin' }],
  },
  {
    name: 'principals, whole and by prefix',
    text: policy(
      'rules: [{ from: [{ source: { principals: [cluster.local/ns/default/sa/sleep, cluster.local/ns/web/*] } }] }]',
    ),
    allowed: [{ peer: SLEEP }, { peer: 'spiffe://cluster.local/ns/web/sa/x' }],
    denied: [
      {},
      { peer: `${SLEEP}y` },
      { peer: 'spiffe://cluster.local/ns/webx/sa/x' },
      { peer: 'spiffe://other/ns/default/sa/sleep' },
    ],
  },
  {
    name: 'namespaces and service accounts',
    text: policy(
      'rules: [{ from: [{ source: { namespaces: [web] } }, { source: { serviceAccounts: [default/sleep] } }] }]',
    ),
    allowed: [{ peer: SLEEP }, { peer: 'spiffe://cluster.local/ns/web/sa/any' }],
    denied: [{}, { peer: 'spiffe://cluster.local/ns/default/sa/other' }],
  },
  {
    name: 'a deny of all but one',
    text: policy(
      'action: DENY\nrules: [{ from: [{ source: { notPrincipals: [cluster.local/ns/default/sa/sleep] } }] }]',
    ),
    allowed: [{ peer: SLEEP }],
    denied: [{}, { peer: 'spiffe://cluster.local/ns/default/sa/other' }],
  },
  {
    name: 'a deny of who is not known',
    text: policy('action: DENY\nrules: [{ from: [{ source: { notPrincipals: ["*"] } }] }]'),
    allowed: [{ peer: SLEEP }],
    denied: [{}],
  },
  {
    name: 'a deny of who has no token',
    text: policy('action: DENY\nrules: [{ from: [{ source: { notRequestPrincipals: ["*"] } }] }]'),
    allowed: [{ jwt: token({ sub: 'a' }) }],
    denied: [{}],
  },
  {
    name: 'paths, whole, by prefix and by template',
    text: policy('rules: [{ to: [{ operation: { paths: [/data, /info/*, "/a/{*}/b"] } }] }]'),
    allowed: [{}, { path: '/info/' }, { path: '/info/a/b' }, { path: '/a/x/b' }],
    denied: [{ path: '/info' }, { path: '/data/' }, { path: '/a/b' }, { path: '/a/x/y/b' }],
  },
  {
    name: 'a prefix with what is not meant',
    text: policy('rules: [{ to: [{ operation: { paths: [/info/*], notPaths: [/info/secret] } }] }]'),
    allowed: [{ path: '/info/a' }],
    denied: [{ path: '/info/secret' }, { path: '/info' }],
  },
  {
    name: 'any path',
    text: policy('rules: [{ to: [{ operation: { paths: ["*"], notMethods: [POST] } }] }]'),
    allowed: [{}, { path: '/' }],
    denied: [{ method: 'POST' }],
  },
  {
    name: 'hosts',
    text: policy('rules: [{ to: [{ operation: { hosts: [web.test, "web.test:*", "*.b.test", "*.b.test:*"] } }] }]'),
    allowed: [{}, { host: 'WEB.test:8080' }, { host: 'a.b.test' }],
    denied: [{ host: 'b.test' }, { host: 'xweb.test' }],
  },
  {
    name: 'headers, with each kind of value',
    text: policy('rules: [{ when: [{ key: "request.headers[X-V]", values: [one, two*, "*three"] }] }]'),
    allowed: [{ headers: { 'x-v': 'one' } }, { headers: { 'x-v': 'two2' } }, { headers: { 'x-v': 'a three' } }],
    denied: [{}, { headers: { 'x-v': 'ones' } }],
  },
  {
    name: 'a header that is not one',
    text: policy('rules: [{ when: [{ key: "request.headers[x-v]", notValues: [bad] }] }]'),
    allowed: [{}, { headers: { 'x-v': 'good' } }, { headers: { 'x-v': '' } }],
    denied: [{ headers: { 'x-v': 'bad' } }],
  },
  {
    name: 'tokens, by who they are of and what they claim',
    text: policy(
      'rules: [{ from: [{ source: { requestPrincipals: [https://accounts.test/a/b, https://accounts.test/c*] } }], when: [{ key: "request.auth.claims[groups]", values: [admin] }, { key: request.auth.audiences, values: [api] }] }]',
    ),
    allowed: [
      { jwt: token({ sub: 'a/b', groups: ['admin'], aud: 'api' }) },
      { jwt: token({ sub: 'c1', groups: 'admin', aud: ['x', 'api'] }) },
    ],
    denied: [
      {},
      { jwt: token({ sub: 'a', groups: 'admin', aud: 'api' }) },
      { jwt: token({ sub: 'a/b', aud: 'api' }) },
      { jwt: token({ sub: 'a/b', groups: ['admins'], aud: 'api' }) },
    ],
  },
  {
    name: 'nested claims',
    text: policy('rules: [{ when: [{ key: "request.auth.claims[realm][role]", values: [ops] }] }]'),
    allowed: [{ jwt: token({ realm: { role: 'ops' } }) }],
    denied: [
      { jwt: token({ 'realm][role': 'ops' }) },
      { jwt: { provider: 'other', claims: { realm: { role: 'ops' } } } },
    ],
  },
];

describe('policies of Istio', () => {
  for (const { name, text, allowed, denied } of CASES) {
    test(`keep ${name}`, () => {
      for (const request of allowed) assert.equal(decide(text, request), true, JSON.stringify(request));
      for (const request of denied) assert.equal(decide(text, request), false, JSON.stringify(request));
    });
  }

  const refused: readonly {
    readonly name: string;
    readonly text: string;
    readonly mistake: RegExp;
    readonly options?: IstioOptions;
  }[] = [
    { name: 'CUSTOM', text: policy('action: CUSTOM\nprovider: { name: x }'), mistake: /:6:.*CUSTOM|provider/ },
    { name: 'AUDIT', text: policy('action: AUDIT'), mistake: /AUDIT has no counterpart/ },
    { name: 'an action that is no text', text: policy('action: 1'), mistake: /the action 1 has no counterpart/ },
    {
      name: 'no method at all',
      text: policy('rules: [{ to: [{ operation: { paths: [/a], notMethods: ["*"] } }] }]'),
      mistake: /fits no request/,
    },
    {
      name: 'scopes in a DENY',
      text: policy('action: DENY\nrules: [{ when: [{ key: "request.auth.claims[scope]", values: [x] }] }]'),
      mistake: /several values in one text/,
    },
    {
      name: 'the end of a subject',
      text: policy('rules: [{ from: [{ source: { requestPrincipals: ["https://accounts.test/*abc"] } }] }]'),
      mistake: /cannot be kept/,
    },
    {
      name: 'an account with more',
      text: policy('rules: [{ from: [{ source: { serviceAccounts: [ns/sa/extra] } }] }]'),
      mistake: /no account of a namespace/,
    },
    { name: 'targetRefs', text: policy('targetRefs: []'), mistake: /`targetRefs` has no counterpart/ },
    {
      name: 'addresses',
      text: policy('rules: [{ from: [{ source: { ipBlocks: [10.0.0.0/8] } }] }]'),
      mistake: /`ipBlocks` has no counterpart/,
    },
    {
      name: 'ports',
      text: policy('rules: [{ to: [{ operation: { ports: ["80"] } }] }]'),
      mistake: /`ports` has no counterpart/,
    },
    {
      name: 'a suffix of a principal',
      text: policy('rules: [{ from: [{ source: { principals: ["*/sa/web"] } }] }]'),
      mistake: /cannot be kept/,
    },
    {
      name: 'a prefix within a name',
      text: policy('rules: [{ from: [{ source: { principals: [cluster.local/ns/we*] } }] }]'),
      mistake: /cannot be kept/,
    },
    {
      name: 'an allow of all but some, as it fits the unknown, too',
      text: policy('rules: [{ from: [{ source: { notPrincipals: [cluster.local/ns/a/sa/b] } }] }]'),
      mistake: /without a verified peer/,
    },
    {
      name: 'namespaces without a trust domain',
      text: policy('rules: [{ from: [{ source: { namespaces: [a] } }] }]'),
      mistake: /--trust-domain/,
      options: { ...OPTIONS, trustDomains: [] },
    },
    {
      name: 'a token of nobody known',
      text: policy('rules: [{ from: [{ source: { requestPrincipals: [https://x.test/a] } }] }]'),
      mistake: /--provider/,
    },
    {
      name: 'other keys',
      text: policy('rules: [{ when: [{ key: source.ip, values: [10.0.0.1] }] }]'),
      mistake: /"source.ip" cannot be kept/,
    },
    {
      name: 'a part of a claim',
      text: policy('rules: [{ when: [{ key: "request.auth.claims[a]", values: [x*] }] }]'),
      mistake: /part of a claim/,
    },
    {
      name: 'a host without any port',
      text: policy('rules: [{ to: [{ operation: { hosts: [a.test] } }] }]'),
      mistake: /add "a.test:\*"/,
    },
    {
      name: 'a prefix that is not meant',
      text: policy('rules: [{ to: [{ operation: { notPaths: [/a/*] } }] }]'),
      mistake: /cannot be kept/,
    },
    {
      name: 'a prefix within a segment',
      text: policy('rules: [{ to: [{ operation: { paths: [/a*] } }] }]'),
      mistake: /cannot be kept/,
    },
    { name: 'an empty list', text: policy('rules: [{ from: [] }]'), mistake: /not a list with elements/ },
    { name: 'an unknown key', text: policy('rules: [{ form: [] }]'), mistake: /`form` has no counterpart/ },
    {
      name: 'other workloads in one file',
      text: `${policy('{}')}---\n${policy('rules: [{}]', 'q', '  selector: { matchLabels: { app: x } }\n')}`,
      mistake: /about other workloads/,
    },
    { name: 'no policy', text: 'kind: Service\n', mistake: /there is no AuthorizationPolicy/ },
    {
      name: 'what is not YAML, with its line in the file',
      text: `${policy('{}')}---\na: [\n`,
      mistake: /^istio\.yaml:[6-9]:/m,
    },
  ];
  for (const { name, text, mistake, options = OPTIONS } of refused) {
    test(`refuse ${name}`, () => {
      const imported = importIstio(text.replace('spec:\n  {}', 'spec: {}'), 'istio.yaml', options);
      assert.match(imported.mistakes?.map(formatMistake).join('\n') ?? 'taken', mistake);
    });
  }

  test('are those of one workload, with those of the root namespace', () => {
    const file = [
      policy(
        'rules: [{ to: [{ operation: { methods: [GET] } }] }]',
        'mine',
        '  selector: { matchLabels: { app: orders } }\n',
      ),
      policy(
        'rules: [{ to: [{ operation: { methods: [PUT] } }] }]',
        'theirs',
        '  selector: { matchLabels: { app: web } }\n',
      ),
      policy('action: DENY\nrules: [{ to: [{ operation: { paths: [/no] } }] }]', 'all').replace(
        'namespace: default',
        'namespace: istio-system',
      ),
    ].join('---\n');
    const workload = {
      namespace: 'default',
      labels: new Map([
        ['app', 'orders'],
        ['v', '1'],
      ]),
    };
    const { rules } = importIstio(file, 'istio.yaml', { ...OPTIONS, workload });
    assert.deepEqual(
      rules?.rules.map(({ name }) => name),
      ['mine-1', 'all-1'],
    );
  });
});
