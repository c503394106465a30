import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import {
  compiledPolicyKey,
  decodeCompiledPolicy,
  encodeCompiledPolicy,
  type CompiledPolicy,
} from '../../../src/policy/compiled-policy.ts';
import { createRegoCompiler } from '../../../src/policy/rego-compiler.ts';
import { systemClock } from '../../../src/core/index.ts';
import { compiler, json } from './support.ts';

const ORIGIN = { snapshotDigest: 'a1', entrypoint: 'test/allow', compilerDigest: 'c1' };
const KEY = compiledPolicyKey(ORIGIN);
const POLICY: CompiledPolicy = {
  wasm: new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]),
  data: json({ list: [1, 'é'] }),
  warnings: [{ code: 'rego_compile_error', message: 'unused', file: 'a.rego', line: 2, column: 1 }],
  reads: [['attributes', 'é']],
  calls: ['time.now_ns'],
};
const BYTES = encodeCompiledPolicy(KEY, POLICY);

describe('compiledPolicyKey', () => {
  const others = [
    { ...ORIGIN, snapshotDigest: 'a2' },
    { ...ORIGIN, entrypoint: 'test/allow2' },
    { ...ORIGIN, compilerDigest: 'c2' },
    { ...ORIGIN, snapshotDigest: 'a1","test' },
  ];
  for (const other of others) {
    test(`is another one for ${JSON.stringify(other)}`, () => assert.notEqual(compiledPolicyKey(other), KEY));
  }

  test('has another compiler digest where other builtins are offered', async () => {
    const fewer = createRegoCompiler({ clock: systemClock, builtins: ['eq'] });
    assert.match(await compiler.digest(), /^[0-9a-f]{64}$/);
    assert.notEqual(await fewer.digest(), await compiler.digest());
  });

  test('has the digest of the compiler that built the policy', async () => {
    const files = { modules: { 'a.rego': 'package test\nallow := true' }, data: {} };
    const built = await compiler.build(files, 'test/allow', new AbortController().signal);
    assert.equal(built.kind === 'built' && built.compilerDigest, await compiler.digest());
  });
});

describe('decodeCompiledPolicy', () => {
  test('gives back what was encoded', () => {
    assert.deepEqual(decodeCompiledPolicy(KEY, BYTES), POLICY);
    const empty = { wasm: new Uint8Array(), data: new Uint8Array(), warnings: [], reads: null, calls: [] };
    assert.deepEqual(decodeCompiledPolicy(KEY, encodeCompiledPolicy(KEY, empty)), empty);
  });

  test('gives nothing for the bytes of another key', () => {
    assert.equal(decodeCompiledPolicy(compiledPolicyKey({ ...ORIGIN, entrypoint: 'other' }), BYTES), undefined);
  });

  test('gives nothing for bytes of which one bit is wrong', () => {
    fc.assert(
      fc.property(fc.nat(BYTES.byteLength - 1), fc.nat(7), (at, bit) => {
        const damaged = new Uint8Array(BYTES);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
        assert.equal(decodeCompiledPolicy(KEY, damaged), undefined);
      }),
    );
  });

  test('gives nothing for bytes that are cut off or go on', () => {
    for (let length = 0; length < BYTES.byteLength; length += 1) {
      assert.equal(decodeCompiledPolicy(KEY, BYTES.subarray(0, length)), undefined);
    }
    assert.equal(decodeCompiledPolicy(KEY, new Uint8Array([...BYTES, 0])), undefined);
  });

  test('gives nothing for any other bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => assert.equal(decodeCompiledPolicy(KEY, bytes), undefined)));
  });
});
