/** Rules and requests from a small world, so that they often meet. */
import * as fc from 'fast-check';
import type { RuleRequest } from '../../../src/authoring/rule-model.ts';
import type { Rule, RuleCondition, RuleSet, RuleSubject, RuleTarget } from '../../../src/authoring/rules.ts';

const IDS = [
  'spiffe://a.test/web',
  'spiffe://a.test/ns/x/sa/web',
  'spiffe://b.test/web/1',
  'spiffe://b.test/web',
  'spiffe://a.test/ns/x',
];
const PATTERNS = [
  ...IDS,
  'spiffe://a.test/**',
  'spiffe://b.test/web/**',
  'spiffe://a.test/ns/*/sa/web',
  'spiffe://a.test/*',
  'spiffe://a.test/*/**',
];
const METHODS = ['GET', 'POST', 'DELETE'];
const PATHS = ['/', '/a', '/a/', '/a/b', '/a/b/c', '/b', '/*', '/a/*', '/a/**', '/*/b', '/**', '/a/*/c'];
const HOSTS = ['one.test', 'api.one.test', '*.one.test', 'two.test'];
const VALUES = ['x', 'y', 'xy', ''];

const some = (values: readonly string[]): fc.Arbitrary<readonly string[]> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.subarray([...values], { minLength: 1, maxLength: Math.min(3, values.length) }) },
  );

const subject = (action: Rule['action']): fc.Arbitrary<RuleSubject> =>
  fc.oneof(
    fc.constant<RuleSubject>(action === 'deny' ? { kind: 'unverified' } : { kind: 'anyone' }),
    fc
      .record({
        kind: fc.constant('peer' as const),
        isVerified: fc.boolean(),
        spiffeIds: some(PATTERNS),
        notSpiffeIds: some(PATTERNS),
        trustDomains: some(['a.test', 'b.test']),
        notTrustDomains: some(['a.test', 'c.test']),
      })
      .map((peer) => ({ ...peer, isVerified: peer.isVerified || Object.values(peer).every(isEmpty) })),
  );

/** Of the lists of a subject or target: a file cannot say that it names nothing. */
function isEmpty(list: unknown): boolean {
  return !Array.isArray(list) || list.length === 0;
}

const target: fc.Arbitrary<RuleTarget> = fc
  .record({
    methods: some(METHODS),
    notMethods: some(METHODS),
    paths: some(PATHS),
    notPaths: some(PATHS),
    hosts: some(HOSTS),
    notHosts: some(HOSTS),
  })
  .filter((each) => !Object.values(each).every(isEmpty));

const test: fc.Arbitrary<RuleCondition['test']> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('in' as const, 'not_in' as const),
    values: fc.subarray(['x', 'y'], { minLength: 1 }),
  }),
  fc.record({ kind: fc.constantFrom('prefix' as const, 'suffix' as const), text: fc.constantFrom('x', 'y') }),
  fc.record({ kind: fc.constant('present' as const), isPresent: fc.boolean() }),
);

const condition: fc.Arbitrary<RuleCondition> = fc.oneof(
  fc.record({ of: fc.record({ kind: fc.constant('header' as const), name: fc.constantFrom('h-1', 'h-2') }), test }),
  fc.record({
    of: fc.record({
      kind: fc.constant('claim' as const),
      provider: fc.constantFrom('p', 'q'),
      path: fc.constantFrom(['c'], ['c', 'd'], ['e.f']),
    }),
    test,
  }),
  fc.record({
    of: fc.constant({ kind: 'token' as const }),
    test: fc.record({ kind: fc.constant('present' as const), isPresent: fc.boolean() }),
  }),
);

const rule = (action: Rule['action']): fc.Arbitrary<Omit<Rule, 'name'>> =>
  fc.record({
    action: fc.constant(action),
    from: fc
      .tuple(subject(action), fc.array(subject(action), { maxLength: 2 }))
      .map(([one, more]) => [one, ...more] as const),
    to: fc.array(target, { maxLength: 2 }),
    when: fc.array(condition, { maxLength: 2 }),
  });

export const ruleSets: fc.Arbitrary<RuleSet> = fc
  .tuple(fc.array(rule('allow'), { maxLength: 3 }), fc.array(rule('deny'), { maxLength: 2 }))
  .map(([allow, deny]) => ({
    package: 'envoy.authz',
    rules: [...allow, ...deny].map((each, index) => ({ ...each, name: `rule ${index}` })),
  }));

const claims = fc.record(
  {
    c: fc.oneof(
      fc.constantFrom<unknown>('x', 'y', 7, null, ['x', 'z'], [], true),
      fc.record({ d: fc.constantFrom('x', 'y') }),
    ),
    'e.f': fc.constantFrom(...VALUES),
  },
  { requiredKeys: [] },
);

export const requests: fc.Arbitrary<RuleRequest> = fc
  .record({
    peer: fc.option(fc.constantFrom(...IDS, 'spiffe://c.test/web'), { nil: undefined }),
    method: fc.constantFrom(...METHODS, 'PUT'),
    path: fc.constantFrom('/', '/a', '/a/', '/a/b', '/a/b/', '/a/b/c', '/b', '/b/b', '/c/b'),
    host: fc.constantFrom('one.test', 'ONE.test:8080', 'api.one.test', 'a.b.one.test.', 'two.test', 'three.test'),
    headers: fc.dictionary(fc.constantFrom('h-1', 'h-2', 'h-3'), fc.constantFrom(...VALUES), { noNullPrototype: true }),
    jwt: fc.option(fc.record({ provider: fc.constantFrom('p', 'q', 'r'), claims }), { nil: undefined }),
  })
  .map(({ peer, jwt, ...others }) => ({
    ...others,
    ...(peer === undefined ? {} : { peer }),
    ...(jwt === undefined ? {} : { jwt }),
  }));

/** What the gate would show a policy of it. */
export function inputOf({ peer, method, path, host, headers, jwt }: RuleRequest): object {
  return {
    attributes: { request: { http: { method, path, host, headers } } },
    parsed_path: path.slice(1).split('/'),
    svidgate: {
      peer: peer === undefined ? { verified: false, reason: 'no_certificate' } : { verified: true, spiffe_id: peer },
      jwt: jwt === undefined ? { verified: false, reason: 'absent', tokens: [] } : { verified: true, ...jwt },
    },
  };
}
