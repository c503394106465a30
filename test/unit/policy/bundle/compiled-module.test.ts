import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { SvidgateError, systemClock } from '../../../../src/core/index.ts';
import { decodeSnapshot, encodeSnapshot } from '../../../../src/policy/activation/kept-snapshot.ts';
import { createBundleReader, type BundleSnapshot } from '../../../../src/policy/bundle/index.ts';
import { redirectNatives } from '../../../../src/policy/bundle/redirect-natives.ts';
import {
  concat,
  readSections,
  SECTION,
  unsigned,
  WasmReader,
  writeSections,
} from '../../../../src/policy/bundle/wasm-sections.ts';
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

/** The module with other contents of the sections with this number, which it gets at the end without one. */
function withSection(id: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const sections = readSections(wasm);
  const at = sections.findIndex((section) => section.id >= id && section.id !== SECTION.custom);
  const others = sections.filter((section) => section.id !== id);
  return writeSections(id === SECTION.custom ? [...others, { id, content }] : others.toSpliced(at, 0, { id, content }));
}

/** One function after the other is called x, from the first to the last number that is given. */
function namesOf(numbers: Iterable<number>): Uint8Array {
  const entries: number[] = [];
  let count = 0;
  for (const number of numbers) {
    entries.push(...unsigned(number), 1, 0x78);
    count += 1;
  }
  const part = concat([unsigned(count), entries]);
  return concat([[4], new TextEncoder().encode('name'), [1], unsigned(part.byteLength), part]);
}

describe('a module is refused soon', () => {
  const cases: readonly (readonly [what: string, names: () => Iterable<number>])[] = [
    ['with a million names of one function', () => Array.from({ length: 1_000_000 }, () => 9)],
    ['with names of a million functions that are not there', () => Array(1_000_000).keys()],
    ['with names that do not rise', () => [3, 2]],
  ];
  for (const [what, names] of cases) {
    test(what, async () => {
      const module = withSection(SECTION.custom, namesOf(names()));
      const startedAt = performance.now();
      await assert.rejects(redirectNatives(module), { code: 'policy_invalid' });
      assert.ok(performance.now() - startedAt < 1000);
    });
  }
});

describe('a module is refused', () => {
  test('with a memory of its own', async () => {
    await assert.rejects(redirectNatives(withSection(SECTION.memory, new Uint8Array([1, 0, 1]))), {
      code: 'policy_invalid',
    });
  });

  test('with a table that takes memory without end', async () => {
    for (const table of [
      [1, 0x70, 0, ...unsigned(9_000_000)],
      [2, 0x70, 0, ...unsigned(60_000), 0x70, 0, 1],
    ]) {
      const module = withSection(SECTION.table, new Uint8Array(table));
      assert.ok(WebAssembly.validate(module));
      await assert.rejects(redirectNatives(module), { code: 'policy_invalid', message: /not as OPA writes it/ });
    }
  });

  test('when its memory is shared between threads', async () => {
    const sections = readSections(wasm).map((section) => {
      if (section.id !== SECTION.import) return section;
      const content = Buffer.from(section.content);
      const at = content.indexOf('memory') + 'memory'.length;
      assert.equal(content[at], 2);
      const reader = new WasmReader(content.subarray(at + 2));
      const smallest = reader.unsigned();
      const shared = [2, 3, ...unsigned(smallest), ...unsigned(smallest + 1)];
      return { id: section.id, content: concat([content.subarray(0, at), shared, reader.rest()]) };
    });
    const module = writeSections(sections);
    assert.ok(WebAssembly.validate(module));
    await assert.rejects(redirectNatives(module), { code: 'policy_invalid', message: /not as OPA writes it/ });
  });
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
