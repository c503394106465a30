import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { SvidgateError, systemClock } from '../../../../src/core/index.ts';
import { decodeSnapshot, encodeSnapshot } from '../../../../src/policy/activation/kept-snapshot.ts';
import { createBundleReader, type BundleSnapshot } from '../../../../src/policy/bundle/index.ts';
import { redirectNatives } from '../../../../src/policy/bundle/redirect-natives.ts';
import { openPolicy, snapshotSource } from '../../../../src/policy/open-policy.ts';
import { createRegoProgram } from '../../../../src/policy/rego-program.ts';
import { tarGz } from '../../../support/tar-file.ts';
import { compiler, never } from '../support.ts';

const REGO = 'package a\n\nallow if not denied\n\ndenied if net.cidr_contains(data.denied, input.ip)\n';
const DATA = '{"denied":"10.0.0.0/8"}';

let wasm: Uint8Array<ArrayBuffer>;
let snapshot: BundleSnapshot;

async function read(
  entries: readonly { readonly path: string; readonly content: string | Uint8Array }[],
): Promise<BundleSnapshot> {
  const reader = createBundleReader(createRegoProgram({ clock: systemClock, timeLimitMs: 60_000 }));
  const found = await reader.read(tarGz(entries), { signal: never });
  assert.ok(found.kind === 'snapshot');
  return found.snapshot;
}

async function decides(bundle: BundleSnapshot, ip: string): Promise<unknown> {
  await using policy = await openPolicy({
    path: snapshotSource('bundle', bundle),
    entrypoint: 'a/allow',
    signal: never,
  });
  const evaluation = await policy.evaluate(Buffer.from(JSON.stringify({ ip })));
  return evaluation.kind === 'value' ? evaluation.value : evaluation.kind;
}

const MANIFEST = '{"wasm": [{"entrypoint": "a/allow", "module": "/policy.wasm"}]}';

before(async () => {
  const built = await compiler.build({ modules: { 'a.rego': REGO }, data: {} }, 'a/allow', never);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  wasm = built.wasm;
  snapshot = await read([
    { path: '/policy.wasm', content: wasm },
    { path: '/.manifest', content: MANIFEST },
    { path: '/data.json', content: DATA },
    // As OPA leaves it: compiled by itself it would allow everybody.
    { path: '/a.rego', content: 'package a\n\nimport data.a.allow\n\ndenied := false\n' },
  ]);
});

describe('a bundle whose rules are in a compiled module', () => {
  test('has no Rego that could be taken for the policy', async () => {
    assert.deepEqual(snapshot.files, { modules: {}, data: { 'data.json': DATA } });
    const { wasm: module, ...rest } = snapshot;
    assert.deepEqual(module?.entrypoints, ['a/allow']);
    assert.ok(Buffer.from(wasm).equals(module.bytes));
    await assert.rejects(decides(rest, '11.0.0.1'), { code: 'policy_invalid', message: /names no rule/ });
  });

  test('decides by it', async () => {
    assert.equal(await decides(snapshot, '11.0.0.1'), true);
    assert.equal(await decides(snapshot, '10.0.0.1'), 'undefined');
    assert.equal(await decides(snapshot, '::ffff:10.0.0.1'), 'undefined');
  });

  test('is the same after it was kept', async () => {
    const { manifest: _, ...plain } = snapshot;
    const kept = decodeSnapshot(snapshot.digest, encodeSnapshot(snapshot));
    assert.deepEqual(kept, plain);
    assert.equal(await decides({ ...kept, manifest: '{}' }, '::ffff:10.0.0.1'), 'undefined');
  });

  test('has another digest with another module or other entrypoints', async () => {
    const files = [
      { path: '/policy.wasm', content: Buffer.concat([wasm, Buffer.from([0, 1, 0])]) },
      { path: '/.manifest', content: MANIFEST },
      { path: '/data.json', content: DATA },
    ];
    const other = await read(files);
    assert.notEqual(other.digest, snapshot.digest);
  });

  test('a module that the manifest does not name is of no use', async () => {
    const { wasm: module, files } = await read([
      { path: '/policy.wasm', content: wasm },
      { path: '/a.rego', content: REGO },
    ]);
    assert.deepEqual([module, files.modules], [undefined, { 'a.rego': REGO }]);
  });

  test('two modules are refused', async () => {
    const manifest =
      '{"wasm": [{"entrypoint": "a/allow", "module": "/policy.wasm"}, {"entrypoint": "b/allow", "module": "/b/policy.wasm"}]}';
    await assert.rejects(
      read([
        { path: '/policy.wasm', content: wasm },
        { path: '/b/policy.wasm', content: wasm },
        { path: '/.manifest', content: manifest },
      ]),
      { code: 'policy_invalid', message: /in \/policy\.wasm and \/b\/policy\.wasm alone/ },
    );
  });
});

test('a module is changed once', async () => {
  const redirected = await redirectNatives(wasm);
  assert.ok(WebAssembly.validate(redirected));
  await assert.rejects(redirectNatives(redirected), { code: 'policy_invalid', message: /changed already/ });
});

test('whatever is cut out of a module, it is used or refused', async () => {
  for (let end = 1; end < wasm.byteLength; end += 997) {
    try {
      await redirectNatives(wasm.slice(0, end));
    } catch (error) {
      assert.ok(error instanceof SvidgateError && error.code === 'policy_invalid', String(error));
    }
  }
});
