/** A bundle that OPA compiled to WASM decides as OPA decides by its Rego, also where OPA's modules themselves do not. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { BundleSnapshot } from '../../src/policy/bundle/index.ts';
import { openPolicy, snapshotSource } from '../../src/policy/open-policy.ts';
import { startBundleJudges, type BundleJudges } from '../support/bundle-judges.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { retarGz, untarGz } from '../support/tar-file.ts';

let judges: BundleJudges;

before(async () => (judges = await startBundleJudges()), { timeout: BUILD_LIMIT_MS });

after(() => judges[Symbol.asyncDispose]());

const never = new AbortController().signal;

async function read(bundle: Uint8Array): Promise<BundleSnapshot> {
  const found = await judges.reader.read(bundle, { signal: never });
  assert.ok(found.kind === 'snapshot');
  return found.snapshot;
}

async function ourValue(snapshot: BundleSnapshot, entrypoint: string, input: unknown): Promise<unknown> {
  await using policy = await openPolicy({ path: snapshotSource('bundle', snapshot), entrypoint, signal: never });
  const evaluation = await policy.evaluate(Buffer.from(JSON.stringify(input)));
  assert.ok(evaluation.kind === 'value', JSON.stringify(evaluation));
  return evaluation.value;
}

/** An expression for each builtin that OPA's modules answer otherwise in some case, and others beside them. */
const EXPRESSIONS = [
  'net.cidr_contains("10.0.0.0/8", "::ffff:10.1.2.3")',
  'net.cidr_contains("10.0.0.0/8", "10.1.2.3/32")',
  'net.cidr_intersects("10.0.0.0/8", "::ffff:10.0.0.0/120")',
  'base64.decode("YQ")',
  'base64.is_valid("YQ")',
  'base64url.decode("YQ==")',
  'json.unmarshal("{} x")',
  'json.is_valid("{} x")',
  'json.marshal({"b": "<&>", "a": [1.50, 1e3]})',
  'json.filter({"a": {"b": 1, "c": 2}}, ["a/b"])',
  'json.remove({"a": {"b": 1, "c": 2}}, ["a/b"])',
  '12345678901234567890 + 1',
  '12345678901234567890 - 0.5',
  '1e20 * 3',
  '7 / 3',
  '12345678901234567891 % 10',
  'abs(-12345678901234567890)',
  'ceil(1.000000000000000000001)',
  'floor(-1.000000000000000000001)',
  'round(2.5)',
  'sum([0.1, 0.2, 12345678901234567890])',
  'product([0.1, 3])',
  'bits.and(12345678901234567890, 255)',
  'bits.or(1, 12345678901234567890)',
  'bits.xor(5, 12345678901234567890)',
  'bits.negate(12345678901234567890)',
  'bits.lsh(1, 70)',
  'bits.rsh(12345678901234567890, 3)',
  'format_int(12345678901234567890, 16)',
  'to_number("1e3")',
  'to_number(" 1")',
  'concat("-", {"b", "a"})',
  'indexof("héllo", "l")',
  'substring("héllo", 1, 2)',
  'replace("aaa", "", "b")',
  'array.slice([1, 2, 3], -1, 2)',
  'object.union_n([{"a": 1}, {"a": {"b": 2}}])',
  'glob.match("*.{a,b}", ["."], "x.b")',
  'regex.match("(?i)^É$", "é")',
  'regex.is_valid("(?<n>a)")',
  'regex.find_all_string_submatch_n("a(b)?", "abab", -1)',
  'sprintf("%v %d", [{"b", "a"}, 3])',
  'upper("straße")',
  'startswith("abc", "ab")',
  'time.parse_rfc3339_ns("2026-01-02T03:04:05.123456789Z")',
  'io.jwt.decode("a.b.c")',
  'input.user in data.users',
];

test('each builtin answers as OPA does', async () => {
  const rules = EXPRESSIONS.map((expression, index) => `r${index} := ${expression}`).join('\n');
  const files = { 'a.rego': `package a\n\n${rules}\n`, 'data.json': '{"users": ["ann"]}' };
  const compiled = await judges.opa.build({ files, target: 'wasm', entrypoints: ['a'] });
  // OPA leaves the Rego of a package there, and one rule would be compiled from it.
  const parts = untarGz(compiled);
  assert.ok(parts.delete('/a.rego'));
  const snapshot = await read(retarGz(parts));
  assert.deepEqual(snapshot.wasm?.entrypoints, ['a']);
  const input = { user: 'ann' };
  const they = await judges.opa.evaluate([await judges.opa.build({ files })], 'data.a', input);
  assert.ok(they.kind === 'taken');
  const we = await ourValue(snapshot, 'a', input);
  assert.ok(Object.keys(they.value as object).length > 35);
  for (const [index, expression] of EXPRESSIONS.entries()) {
    const name = `r${index}`;
    const ours = (we as Record<string, unknown>)[name];
    assert.deepEqual(ours, (they.value as Record<string, unknown>)[name], expression);
  }
});

describe('a bundle that is compiled', () => {
  const REGO = [
    'package envoy.authz',
    'default allow := false',
    'allow if not denied',
    'denied if net.cidr_contains(data.envoy.denied, input.ip)',
    'other := 1',
  ].join('\n\n');
  const files = { 'authz.rego': REGO, 'data.json': '{"envoy": {"denied": "10.0.0.0/8"}}' };

  test('decides by its module where its Rego is not whole', async () => {
    const snapshot = await read(
      await judges.opa.build({ files, target: 'wasm', entrypoints: ['envoy/authz/allow', 'envoy/authz/denied'] }),
    );
    assert.deepEqual(snapshot.wasm?.entrypoints, ['envoy/authz/allow', 'envoy/authz/denied']);
    for (const [ip, allowed] of [
      ['10.1.2.3', false],
      ['::ffff:10.1.2.3', false],
      ['11.1.2.3', true],
    ] as const) {
      assert.equal(await ourValue(snapshot, 'envoy/authz/allow', { ip }), allowed, ip);
    }
  });

  test('is refused for an entrypoint that only its Rego has', async () => {
    const snapshot = await read(await judges.opa.build({ files, target: 'wasm', entrypoints: ['envoy/authz/denied'] }));
    // OPA adds `allow`, which asks for it.
    assert.deepEqual(snapshot.wasm?.entrypoints, ['envoy/authz/denied', 'envoy/authz/allow']);
    await assert.rejects(ourValue(snapshot, 'envoy/authz/other', { ip: '10.1.2.3' }), {
      code: 'policy_invalid',
      message: /opa build -t rego/,
    });
  });

  test('is compiled again where its Rego is whole', async () => {
    const compiled = await judges.opa.build({ files, target: 'wasm', entrypoints: ['envoy/authz/allow'] });
    const parts = new Map<string, string | Uint8Array>(untarGz(compiled));
    parts.set('/authz.rego', REGO);
    const snapshot = await read(retarGz(parts));
    assert.equal(snapshot.wasm, undefined);
    assert.equal(await ourValue(snapshot, 'envoy/authz/allow', { ip: '::ffff:10.1.2.3' }), false);
  });

  test('is refused when its module calls what svidgate does not offer', async () => {
    const rego = 'package envoy.authz\n\nallow if opa.runtime().env.ALLOW == "yes"\n';
    const snapshot = await read(
      await judges.opa.build({ files: { 'a.rego': rego }, target: 'wasm', entrypoints: ['envoy/authz/allow'] }),
    );
    await assert.rejects(ourValue(snapshot, 'envoy/authz/allow', {}), {
      code: 'policy_invalid',
      message: /builtins that svidgate does not offer: opa\.runtime/,
    });
  });

  test('is refused when its module is not as OPA writes it', async () => {
    const compiled = await judges.opa.build({ files, target: 'wasm', entrypoints: ['envoy/authz/allow'] });
    const parts = new Map<string, string | Uint8Array>(untarGz(compiled));
    const wasm = Buffer.from(parts.get('/policy.wasm') ?? '');
    const renamed = Buffer.from(wasm);
    renamed.write('opa_cidr_x', renamed.lastIndexOf('entrypoints'));
    const modules: readonly (readonly [string, Uint8Array, RegExp])[] = [
      ['no WASM', Buffer.from('wasm'), /it is not WASM/],
      ['cut off', wasm.subarray(0, -10), /it is not WASM|not as OPA/],
      ['an empty module', wasm.subarray(0, 8), /does not export/],
      ['without names', withoutNames(wasm), /without names/],
      ['other names', renamed, /without names/],
    ];
    for (const [name, module, reason] of modules) {
      const snapshot = await read(retarGz(new Map(parts).set('/policy.wasm', module)));
      await assert.rejects(
        ourValue(snapshot, 'envoy/authz/allow', { ip: '10.1.2.3' }),
        { code: 'policy_invalid', message: reason },
        name,
      );
    }
  });
});

/** As `wasm-strip` writes it: OPA puts the section of the names last. */
function withoutNames(wasm: Buffer): Buffer {
  const title = wasm.lastIndexOf(Buffer.from([4, ...Buffer.from('name')]));
  // The section begins with a zero and its length, which ends at the end of the file.
  for (let at = title - 1; at > 0; at -= 1) {
    const rest = wasm.subarray(0, at);
    if (wasm[at] === 0 && WebAssembly.validate(rest)) return rest;
  }
  throw new Error('it has no names');
}
