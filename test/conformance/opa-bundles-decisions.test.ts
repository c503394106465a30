/** What a bundle decides is what OPA decides by it, whatever version of Rego and however it was built. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openPolicy, snapshotSource } from '../../src/policy/open-policy.ts';
import { startBundleJudges, type BundleJudges } from '../support/bundle-judges.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { tarGz } from '../support/tar-file.ts';

let judges: BundleJudges;

before(async () => (judges = await startBundleJudges()), { timeout: BUILD_LIMIT_MS });

after(() => judges[Symbol.asyncDispose]());

/** Of version 0, with what is written otherwise in version 1. */
const OLD = `package envoy.authz

import input.attributes.request.http as http_request

default allow = false

allow {
  roles[_] == "admin"
}

allow {
  http_request.method == "GET"
  not denied[http_request.path]
  some i
  data.paths[i] == http_request.path
}

roles[role] {
  role := data.users[input.user][_]
}

denied["/secret"]

denied[path] {
  path := data.denied[_]
}

limit[name] = value {
  value := data.limits[name]
}

allowed = allow { true }

level = "high" { limit["rate"] > 5 } else = "low" { true }

f(x) = y { y := x + 1 }

by_function { f(1) == 2; any([allow]) }
`;

const NEW = `package envoy.authz

default allow := false

allow if "admin" in roles

allow if {
  input.attributes.request.http.method == "GET"
  not input.attributes.request.http.path in denied
  some path in data.paths
  path == input.attributes.request.http.path
}

roles contains role if some role in data.users[input.user]

denied contains "/secret"

denied contains path if some path in data.denied

level := "high" if data.limits.rate > 5 else := "low"
`;

const DATA = JSON.stringify({
  users: { ann: ['admin'], bob: ['reader'] },
  paths: ['/a', '/b', '/secret', '/old'],
  denied: ['/old'],
  limits: { rate: 9 },
});

const INPUTS = ['ann', 'bob', 'nobody'].flatMap((user) =>
  ['GET', 'PUT'].flatMap((method) =>
    ['/a', '/b', '/c', '/secret', '/old'].map((path) => ({
      user,
      attributes: { request: { http: { method, path } } },
    })),
  ),
);

/** A module gives sets in an order of its own. */
function withSortedSets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(String).toSorted((one, other) => (one < other ? -1 : 1));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withSortedSets(field)]));
}

async function assertSame(bundle: Uint8Array, plain: Uint8Array, entrypoint: string): Promise<void> {
  const signal = new AbortController().signal;
  const read = await judges.reader.read(bundle, { signal });
  assert.ok(read.kind === 'snapshot');
  await using policy = await openPolicy({ path: snapshotSource('bundle', read.snapshot), entrypoint, signal });
  const values = new Set<string>();
  for (const input of INPUTS) {
    const they = await judges.opa.evaluate([plain], `data.${entrypoint.replaceAll('/', '.')}`, input);
    assert.ok(they.kind === 'taken', JSON.stringify(they));
    const evaluation = await policy.evaluate(Buffer.from(JSON.stringify(input)));
    assert.ok(evaluation.kind === 'value', JSON.stringify(evaluation));
    assert.deepEqual(withSortedSets(evaluation.value), withSortedSets(they.value), JSON.stringify(input));
    values.add(JSON.stringify(evaluation.value));
  }
  assert.ok(values.size > 1, [...values].join());
}

test('Rego of version 0', async () => {
  // Deprecated builtins are gone in version 1: see the next test.
  const rego = OLD.replace('; any([allow])', '');
  const files = (version: object): Buffer =>
    tarGz([
      { path: '/.manifest', content: JSON.stringify(version) },
      { path: '/policy/authz.rego', content: rego },
      { path: '/data.json', content: DATA },
    ]);
  for (const version of [{ rego_version: 0 }, { rego_version: 1, file_rego_versions: { '/policy/*.rego': 0 } }]) {
    await assertSame(files(version), files(version), 'envoy/authz/allow');
    await assertSame(files(version), files(version), 'envoy/authz');
  }
});

test('a builtin of version 0 that version 1 does not have is refused', async () => {
  const signal = new AbortController().signal;
  const bundle = tarGz([
    { path: '/.manifest', content: '{"rego_version": 0}' },
    { path: '/authz.rego', content: OLD },
  ]);
  const they = await judges.opa.activate([bundle]);
  assert.equal(they.kind, 'taken');
  await assert.rejects(judges.reader.read(bundle, { signal }), {
    code: 'policy_invalid',
    message: /authz\.rego:\d+:\d+: rego_type_error: deprecated built-in function calls in expression: any/,
  });
});

test('as OPA builds it: plain, optimized, compiled', async () => {
  const files = { 'authz.rego': NEW, 'data.json': DATA };
  const entrypoints = ['envoy/authz/allow'];
  const plain = await judges.opa.build({ files });
  for (const build of [
    { files },
    { files, entrypoints, optimize: 1 },
    { files, entrypoints, optimize: 2 },
    { files, entrypoints, target: 'wasm' },
    { files, entrypoints, target: 'wasm', optimize: 1 },
    { files, entrypoints: ['envoy/authz'], target: 'wasm' },
  ] as const) {
    const bundle = await judges.opa.build(build);
    await assertSame(bundle, plain, 'envoy/authz/allow').catch((error: unknown) => {
      throw new Error(`${JSON.stringify({ ...build, files: [] })}: ${String(error)}`, { cause: error });
    });
  }
});
