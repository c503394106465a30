import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { systemClock } from '../../../src/core/index.ts';
import { holdsForCaller, KnownPeers, withKnownPeers, type GateFacts } from '../../../src/offload/index.ts';
import { ENVOY_READINGS, offloadMatcher } from '../../../src/offload/model/match-offload.ts';
import { createBodyTranslator, type Translated } from '../../../src/offload/translate/conditions.ts';
import { draftRules, guardedMatch, guardsFor, outerMatch } from '../../../src/offload/translate/rules.ts';
import { TRANSLATORS } from '../../../src/offload/translate/index.ts';
import { createRegoProgram, evaluatePartially, type Residual } from '../../../src/policy/index.ts';
import type { SpiffeId } from '../../../src/spiffe/index.ts';

/** What a request has beside `GET / HTTP/1.1` to orders.test:8080. */
interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly peer?: string;
  readonly sni?: string;
  readonly port?: number;
  readonly caller?: string;
}

interface Row {
  readonly rego: string;
  /** Allowed without a call. */
  readonly yes: readonly Asked[];
  /** The policy denies these: never allowed without a call. */
  readonly no: readonly Asked[];
  /** The policy allows these, and only the gate can tell. */
  readonly left?: readonly Asked[];
  /** What fast_deny refuses. Default: those of `no`. */
  readonly refused?: readonly Asked[];
}

const ALICE = 'spiffe://a.test/alice';
const BOB = 'spiffe://a.test/bob';
const ORDERS = 'spiffe://a.test/orders';
const FACTS: GateFacts = { parsesBodies: true, tokenHeaders: [], hops: [], guardsPaths: false };

const path = (...paths: readonly string[]): readonly Asked[] => paths.map((each) => ({ path: each }));
const header = (name: string, ...values: readonly string[]): Asked => ({ headers: values.map((each) => [name, each]) });

const ROWS: readonly Row[] = [
  { rego: 'http.method == "GET"', yes: [{}], no: [{ method: 'get' }, { method: 'GETS' }] },
  { rego: 'http.method in {"PUT", "POST"}', yes: [{ method: 'PUT' }, { method: 'POST' }], no: [{}, { method: 'P' }] },
  { rego: 'http.method != "GET"', yes: [{ method: 'PUT' }], no: [{}] },
  { rego: 'not http.method in {"GET", "PUT"}', yes: [{ method: 'POST' }], no: [{}, { method: 'PUT' }] },
  { rego: 'http.path == "/a"', yes: path('/a'), no: path('/a?x', '/A', '/a/', '/ab') },
  { rego: 'startswith(http.path, "/a/")', yes: path('/a/', '/a/b?x=1'), no: path('/a', '/b/a/', '/A/b') },
  { rego: 'endswith(http.path, ".js")', yes: path('/x.js', '/x?y=.js'), no: path('/x.js?', '/x.JS', '/xjs') },
  { rego: 'contains(http.path, "b?")', yes: path('/b?', '/ab?c'), no: path('/b', '/?b') },
  { rego: 'split(http.path, "?")[0] == "/a"', yes: path('/a', '/a?b'), no: path('/a/', '/b?/a'), left: [] },
  { rego: 'startswith(split(http.path, "?")[0], "/a")', yes: path('/a', '/ab?c'), no: path('/b?/a', '/') },
  { rego: 'trim_prefix(http.path, "/") == "a"', yes: path('/a'), no: path('/', '/aa', '/a/') },
  { rego: 'trim_prefix(http.path, "/v1") == "/a"', yes: path('/v1/a', '/a'), no: path('/v1a', '/v1/v1/a') },
  { rego: 'trim_suffix(http.path, "/") == "/a"', yes: path('/a', '/a/'), no: path('/a//', '/') },
  { rego: 'trim_left(http.path, "/") == "a"', yes: path('/a'), no: path('/', '/ab', '/a/'), left: path('//a') },
  { rego: 'split(trim_prefix(http.path, "/"), "/")[0] == "a"', yes: path('/a', '/a/b'), no: path('/a?b', '/b/a') },
  { rego: '"a" in split(http.path, "/")', yes: path('/a', '/b/a/c'), no: path('/ab', '/b/a?') },
  { rego: 'lower(http.host) == "a.test"', yes: [{ host: 'A.Test' }, { host: 'a.test' }], no: [{ host: 'a.test:1' }] },
  { rego: 'lower(http.host) == "A.test"', yes: [], no: [{ host: 'A.test' }, { host: 'a.test' }] },
  { rego: 'upper(http.method) == "GET"', yes: [{}, { method: 'get' }], no: [{ method: 'PUT' }] },
  { rego: 'http.scheme == "https"', yes: [{}], no: [] },
  { rego: 'regex.match("^/v[0-9]+/", http.path)', yes: path('/v1/', '/v12/x'), no: path('/v/', '/x/v1/', '/V1/') },
  { rego: 'regex.match("x|y$", http.path)', yes: path('/axb', '/y'), no: path('/yb', '/') },
  { rego: 'regex.match("(?i)ab", http.path)', yes: path('/aB', '/ABc'), no: path('/a', '/b') },
  {
    rego: 'input.parsed_path[0] == "a"',
    yes: path('/a', '/a/b', '/a?x'),
    no: path('/ab', '/b/a', '/'),
    left: path('/%61'),
  },
  { rego: 'input.parsed_path[1] == ""', yes: path('/a/'), no: path('/a', '/a/b', '/') },
  { rego: 'input.parsed_path == ["a", "b"]', yes: path('/a/b', '/a/b?c'), no: path('/a', '/a/b/', '/a/b/c') },
  { rego: 'input.parsed_path == {"a"}', yes: [], no: path('/a'), refused: [] },
  { rego: 'input.parsed_path != {"a", "b"}', yes: [], no: [], left: path('/a/b') },
  { rego: 'not input.parsed_path == {"a"}', yes: [], no: [], left: path('/a', '/b') },
  { rego: 'input.parsed_path in {"k": {"a"}}', yes: [], no: path('/a'), refused: [] },
  { rego: 'input.parsed_path in [["a"], {"b"}]', yes: [], no: path('/b'), left: path('/a'), refused: [] },
  { rego: '["a", _] = input.parsed_path', yes: path('/a/b', '/a/'), no: path('/a', '/b/a', '/a/b/c') },
  { rego: '["a", id] = input.parsed_path; id != "x"', yes: path('/a/b'), no: path('/a/x', '/a', '/a/b/c') },
  { rego: 'count(input.parsed_path) == 2', yes: path('/a/b', '/a/'), no: path('/a', '/', '/a/b/c') },
  { rego: 'count(input.parsed_path) > 2', yes: path('/a/b/c', '/a/b/c/d'), no: path('/a/b', '/') },
  {
    rego: 'count(input.parsed_path) < 3; input.parsed_path[0] == "a"',
    yes: path('/a', '/a/b'),
    no: path('/a/b/c', '/'),
  },
  { rego: 'some s in input.parsed_path; s == "a"', yes: path('/a', '/b/a', '/a/b'), no: path('/ab', '/', '/b?a') },
  { rego: 'some s in input.parsed_path; startswith(s, "a")', yes: path('/ab', '/b/ax/c'), no: path('/ba', '/') },
  { rego: 'some s in input.parsed_path; s != "a"', yes: [], no: path('/a'), left: path('/b'), refused: [] },
  { rego: 'some s in input.parsed_path; s == "a"; s == "b"', yes: [], no: path('/c'), refused: path('/c', '/a') },
  {
    rego: '"1" in input.parsed_query.d',
    yes: path('/?d=1', '/?x&d=1&d=2'),
    no: path('/?d=11', '/?e=1', '/d=1', '/?ed=1'),
  },
  { rego: 'input.parsed_query.d[_] == "1"', yes: path('/?d=2&d=1'), no: path('/?d'), left: path('/?d=%31') },
  {
    rego: 'input.parsed_query.d[0] == "1"',
    yes: path('/?d=1', '/?e=2&d=1'),
    no: path('/?d=2&d=1', '/'),
    left: path('/?d=1&d=2'),
    refused: path('/'),
  },
  { rego: 'input.parsed_query.d', yes: path('/?d', '/?d=', '/?a&d=1'), no: path('/', '/?e', '/?da=1'), refused: [] },
  { rego: 'headers["x-a"]', yes: [header('x-a', '1'), header('x-a', '')], no: [{}, header('x-b', '1')] },
  { rego: 'not headers["x-a"]', yes: [{}], no: [header('x-a', ''), header('x-a', '1', '2')] },
  { rego: 'headers["X-A"]', yes: [], no: [header('x-a', '1')] },
  {
    rego: 'headers["x-a"] == "b"',
    yes: [header('x-a', 'b')],
    no: [header('x-a', 'c'), {}, header('x-a', 'B')],
    refused: [header('x-a', 'c'), {}],
  },
  {
    rego: 'headers["x-a"] == "b"; true',
    yes: [header('x-a', 'b')],
    no: [header('x-a', 'b', 'b'), header('x-a', 'b', '')],
    refused: [],
  },
  {
    rego: 'headers["x-a"] == "b"; http.method == "PUT"',
    yes: [{ method: 'PUT', ...header('x-a', 'b') }],
    no: [header('x-a', 'b')],
  },
  { rego: 'headers["x-a"] in {"b", "c"}', yes: [header('x-a', 'b'), header('x-a', 'c')], no: [{}, header('x-a', 'd')] },
  {
    rego: 'headers["x-a"] == "b"; headers["x-b"] == "c"',
    yes: [
      {
        headers: [
          ['x-a', 'b'],
          ['x-b', 'c'],
        ],
      },
    ],
    no: [header('x-a', 'b')],
  },
  {
    rego: 'headers["x-a"] != "b"',
    yes: [header('x-a', 'c'), header('x-a', '')],
    no: [header('x-a', 'b'), {}],
    refused: [{}],
  },
  {
    rego: 'contains(headers["x-a"], "b")',
    yes: [header('x-a', 'abc'), header('x-a', 'a', 'b')],
    no: [header('x-a', 'a'), {}],
  },
  { rego: 'contains(headers["x-a"], "a,b")', yes: [header('x-a', 'a,b')], no: [{}] },
  { rego: 'startswith(headers["x-a"], "b")', yes: [], no: [header('x-a', 'ab'), {}], left: [header('x-a', 'b', 'c')] },
  {
    rego: 'not startswith(headers["x-a"], "b")',
    yes: [header('x-a', 'ab')],
    no: [header('x-a', 'b'), {}],
    refused: [],
  },
  { rego: 'object.get(headers, "x-a", "") == ""', yes: [{}, header('x-a', '')], no: [header('x-a', 'b')] },
  { rego: 'object.get(headers, "x-a", "none") == "none"', yes: [{}, header('x-a', 'none')], no: [header('x-a', 'b')] },
  { rego: 'object.get(headers, "x-a", null) != null', yes: [], no: [{}], left: [header('x-a', 'b')], refused: [] },
  { rego: 'object.get(headers, "x-a", false)', yes: [], no: [{}], left: [header('x-a', 'b')], refused: [] },
  { rego: 'not object.get(headers, "x-a", 5) == 5', yes: [], no: [{}], left: [header('x-a', 'b')], refused: [] },
  { rego: 'object.get(headers, "x-a", "\\n") != ""', yes: [], no: [header('x-a', '')], left: [{}], refused: [] },
  { rego: 'headers.host == "orders.test"', yes: [], no: [{}], refused: [] },
  { rego: 'peer == "spiffe://a.test/alice"', yes: [{ peer: ALICE }], no: [{}, { peer: BOB }], refused: [] },
  {
    rego: 'peer in {"spiffe://a.test/alice", "spiffe://a.test/bob"}; peer != "spiffe://a.test/bob"',
    yes: [{ peer: ALICE }],
    no: [{ peer: BOB }, {}],
    refused: [],
  },
  {
    rego: 'input.svidgate.peer.verified; peer == "spiffe://a.test/bob"',
    yes: [{ peer: BOB }],
    no: [{ peer: ALICE }, {}],
    refused: [],
  },
  {
    rego: 'startswith(peer, "spiffe://a.test/b")',
    yes: [{ peer: BOB }],
    no: [{}, { peer: ALICE }],
    left: [{ peer: 'spiffe://a.test/bo' }],
    refused: [],
  },
  {
    rego: 'regex.match(`^spiffe://a\\.test/[a-c]+$`, peer)',
    yes: [],
    no: [{}, { peer: ALICE }, { peer: BOB }],
    refused: [],
  },
  { rego: 'regex.match(`/a[a-z]+$`, peer)', yes: [{ peer: ALICE }], no: [{}, { peer: BOB }], refused: [] },
  { rego: 'regex.match(`(a+)+$`, peer)', yes: [], no: [{}, { peer: BOB }], refused: [] },
  {
    rego: 'glob.match("spiffe://a.test/*", ["/"], peer)',
    yes: [{ peer: BOB }],
    no: [{}, { peer: 'spiffe://a.test/a/b' }],
    refused: [],
  },
  {
    rego: 'glob.match("/a/*/c", ["/"], http.path)',
    yes: path('/a/b/c', '/a/xy/c'),
    no: path('/a/b/b/c', '/a/c'),
    refused: [],
  },
  { rego: 'not glob.match("/a/*", ["/"], http.path)', yes: [], no: path('/a/b', '/a/b/c'), refused: [] },
  { rego: 'glob.match("/a/**", ["/"], http.path)', yes: [], no: path('/b'), left: path('/a/b'), refused: [] },
  { rego: 'glob.match("/a.b", [], http.path)', yes: [], no: path('/b'), left: path('/a.b'), refused: [] },
  { rego: 'endswith(peer, "/bob")', yes: [{ peer: BOB }], no: [{}, { peer: ALICE }], refused: [] },
  {
    rego: 'startswith(peer, "spiffe://a.test/"); not contains(peer, "bob")',
    yes: [{ peer: ALICE }],
    no: [{}, { peer: BOB }],
    refused: [],
  },
  {
    rego: 'startswith(peer, "spiffe://a.test/"); endswith(peer, "e")',
    yes: [],
    no: [{}, { peer: BOB }],
    left: [{ peer: ALICE }],
    refused: [],
  },
  { rego: 'not peer == "spiffe://a.test/bob"', yes: [{ peer: ALICE }], no: [{ peer: BOB }], left: [{}], refused: [] },
  { rego: 'input.svidgate.peer.verified', yes: [{ peer: ALICE }], no: [{}], left: [{ peer: ORDERS }], refused: [] },
  {
    rego: 'input.source_principal == "spiffe://a.test/bob"',
    yes: [{ peer: BOB }],
    no: [{ peer: ALICE }, {}],
    refused: [],
  },
  { rego: 'input.attributes.source.principal == "a.test"', yes: [], no: [{ peer: ALICE }], refused: [] },
  {
    rego: '"spiffe://a.test/orders" in input.svidgate.caller.spiffe_ids',
    yes: [{}],
    no: [{ caller: BOB }],
    refused: [],
  },
  {
    rego: 'some id in input.svidgate.caller.spiffe_ids; startswith(id, "spiffe://a.test/o"); endswith(id, "s")',
    yes: [{}],
    no: [{ caller: BOB }, { caller: 'spiffe://a.test/o' }],
    refused: [],
  },
  { rego: 'input.svidgate.caller.kind == "attested"', yes: [{}], no: [] },
  { rego: 'input.svidgate.caller.kind == "tls"', yes: [], no: [{}] },
  { rego: 'input.svidgate.policy == "rows"', yes: [{}], no: [] },
  { rego: 'input.attributes.destination.address.socketAddress.portValue == 8080', yes: [{}], no: [{ port: 8081 }] },
  { rego: 'input.attributes.destination.address.socketAddress.portValue > 8080', yes: [{ port: 8081 }], no: [{}] },
  { rego: 'input.attributes.destination.address.socketAddress.address == "127.0.0.1"', yes: [{}], no: [] },
  {
    rego: 'input.attributes.destination.address.socketAddress.address == "127.0.0.01"',
    yes: [],
    no: [{}],
    refused: [],
  },
  { rego: 'input.attributes.tlsSession.sni == "a.test"', yes: [{ sni: 'a.test' }], no: [{}, { sni: 'b.test' }] },
  { rego: 'helper', yes: path('/a'), no: path('/b') },
  { rego: 'not helper', yes: path('/b'), no: path('/a') },
  { rego: 'is_a(http.path)', yes: path('/a'), no: path('/b') },
  { rego: 'is_a(http.path) == false', yes: path('/b'), no: path('/a') },
  { rego: 'role == "none"', yes: [{}, { method: 'PUT', ...header('x-a', 'b') }], no: [header('x-a', 'b')] },
  { rego: 'not is_guest', yes: [header('x-a', 'b')], no: [...path('/b'), {}] },
  { rego: 'with_default == "none"', yes: [], no: [header('x-a', 'b')], left: [{}], refused: [] },
  { rego: 'time.now_ns() > 0', yes: [], no: [], left: [{}] },
  { rego: 'input.parsed_body.a == 1', yes: [], no: [{}], refused: [] },
  { rego: 'input.svidgate.jwt.verified', yes: [], no: [{}], refused: [] },
  { rego: 'input.attributes.request.http.size > 1', yes: [], no: [{}], refused: [] },
  { rego: 'every s in input.parsed_path { s != "x" }', yes: [], no: path('/x'), left: path('/a'), refused: [] },
  { rego: 'sprintf("%s", [http.method]) == "GET"', yes: [], no: [{ method: 'PUT' }], left: [{}], refused: [] },
];

const MODULE = `package t
http := input.attributes.request.http
headers := http.headers
peer := input.svidgate.peer.spiffe_id
default helper := false
helper if http.path == "/a"
default with_default := "none"
with_default := headers["x-a"]
is_a(path) if path == "/a" else := false
role := headers["x-a"] if http.method == "GET"
else := "none"
is_guest if role == "none"
`;

describe('a condition and its rule', () => {
  const program = createRegoProgram({ clock: systemClock, timeLimitMs: 120_000 });
  let residuals: readonly Residual[];
  before(async () => {
    const rules = ROWS.map(({ rego }, index) => `r${index} if {\n${rego.replaceAll('; ', '\n')}\n}`);
    const files = { modules: { 't.rego': MODULE + rules.join('\n') }, data: {} };
    const queries = ROWS.map((_, index) => `data.t.r${index} == true`);
    const { signal } = new AbortController();
    const result = await evaluatePartially(program, files, { queries, signal });
    assert.equal(result.kind, 'evaluated', JSON.stringify(result));
    residuals = result.kind === 'evaluated' ? result.residuals : [];
  });

  for (const [index, { rego, yes, no, left = [], refused = no }] of ROWS.entries()) {
    test(rego, () => {
      const residual = residuals[index]!;
      const translator = createBodyTranslator({ translators: TRANSLATORS, policy: 'rows', support: residual.support });
      const ways = residual.conjunctions.map(({ conditions }) => translator.translate(conditions));
      for (const each of yes) assert.equal(isAllowed(ways, each), true, `allowed: ${JSON.stringify(each)}`);
      for (const each of [...no, ...left]) assert.equal(isAllowed(ways, each), false, `asked: ${JSON.stringify(each)}`);
      for (const each of [...yes, ...left]) assert.equal(isRefused(ways, each), false, `kept: ${JSON.stringify(each)}`);
      for (const each of refused) assert.equal(isRefused(ways, each), true, `refused: ${JSON.stringify(each)}`);
      if (yes.length === 0 && left.length > 0) assert.equal(isExplained(ways), true, 'a reason is given');
    });
  }
});

function isExplained(ways: readonly Translated[]): boolean {
  return ways.some(({ bounds, findings }) => {
    return findings.length > 0 || typeof draftRules(bounds.under, { facts: FACTS, origin: [] }) === 'string';
  });
}

/** By the versions of Envoy alike. */
function isAllowed(ways: readonly Translated[], asked: Asked): boolean {
  const guards = guardsFor(FACTS)!;
  const drafts = ways.flatMap(({ bounds }) => {
    const found = draftRules(bounds.under, { facts: FACTS, origin: [] });
    return typeof found === 'string' ? [] : found;
  });
  const ids = [(asked.caller ?? ORDERS) as SpiffeId];
  const allow = drafts
    .filter(({ caller }) => holdsForCaller(caller, ids))
    .map((draft, at) => {
      const { peer, headers } = draft;
      const match = { id: `r#${at}`, request: guardedMatch(draft, guards), peer, origin: [] };
      return headers === undefined ? match : { ...match, headers };
    });
  const translated = { policy: 'rows', digest: '', rules: allow, left: [], ways: { all: 0, offloaded: 0 } };
  const { rules } = withKnownPeers(translated, new KnownPeers(() => [ALICE, BOB]));
  const matches = offloadMatcher({ policy: 'rows', policyDigest: '', allow: rules });
  const answers = Object.values(ENVOY_READINGS).map(
    (reading) => matches(envoyRequest(asked), reading).allow !== undefined,
  );
  assert.equal(new Set(answers).size, 1, `versions differ: ${JSON.stringify(asked)}`);
  return answers[0] === true;
}

function isRefused(ways: readonly Translated[], asked: Asked): boolean {
  const found = ways.map(({ bounds }) => outerMatch(bounds.over));
  if (found.includes(undefined)) return false;
  const outer = found.flatMap((request, at) => {
    if (request === undefined || request === 'nothing') return [];
    return [{ id: `o#${at}`, request, peer: { kind: 'anyone', except: [] } as const, origin: [] }];
  });
  // Escapes are for all rules, and told apart by one that is beside them.
  if (!/^\/(?!\/)[^%]*$/.test(asked.path ?? '/')) return false;
  return offloadMatcher({ policy: 'rows', policyDigest: '', allow: [], outer })(envoyRequest(asked)).refused;
}

function envoyRequest(asked: Asked): Parameters<ReturnType<typeof offloadMatcher>>[0] {
  const { method = 'GET', path: target = '/', host = 'orders.test', headers = [], peer, sni = '', port = 8080 } = asked;
  return {
    headers: [[':method', method], [':path', target], [':authority', host], [':scheme', 'https'], ...headers],
    ...(peer === undefined ? {} : { peer: { uris: [peer], dnsNames: [], subject: '', isVerified: true } }),
    destination: { address: '127.0.0.1', port },
    serverName: sni,
  };
}
