import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../../src/core/index.ts';
import { OFFERED_BUILTINS } from '../../../src/policy/builtins/offered.ts';
import { describeThrown, exactBuffer, instantiatePolicy } from '../../../src/policy/policy-instance.ts';
import { createRegoCompiler } from '../../../src/policy/rego-compiler.ts';
import { json, load } from './support.ts';

const MIB = 2 ** 20;
const limits = { recycleBytes: 4 * MIB, maxBytes: 64 * MIB };

describe('instantiatePolicy', () => {
  test('evaluates on the data it was given', async () => {
    const loaded = await load('package test\nallow if input.user in data.users', '{"users":["ann"]}');
    const policy = instantiatePolicy({ ...loaded, limits });
    assert.deepEqual(policy.evaluate(json({ user: 'ann' }).buffer), [{ result: true }]);
    assert.deepEqual(policy.evaluate(json({ user: 'bob' }).buffer), []);
  });

  test('keeps the text of numbers, of data and of input', async () => {
    const loaded = await load('package test\nallow if input.n == data.n', '{"n":9007199254740993}');
    const policy = instantiatePolicy({ ...loaded, limits });
    assert.deepEqual(policy.evaluate(new TextEncoder().encode('{"n":9007199254740993}').buffer), [{ result: true }]);
    assert.deepEqual(policy.evaluate(new TextEncoder().encode('{"n":9007199254740992}').buffer), []);
  });

  test('refuses a module that needs builtins of the host that are not offered, and names them', async () => {
    const builtins = [...OFFERED_BUILTINS, 'opa.runtime', 'net.lookup_ip_addr'];
    const lax = createRegoCompiler({ clock: systemClock, builtins });
    const rego = 'package test\nallow if { opa.runtime().env == {}; count(net.lookup_ip_addr("x")) == time.now_ns() }';
    const loaded = await load(rego, '{}', lax);
    assert.throws(() => instantiatePolicy({ ...loaded, limits }), {
      message:
        /needs builtins that svidgate does not offer: (?=.*opa\.runtime)(?=.*net\.lookup_ip_addr)(?!.*time\.now_ns)/,
    });
  });

  test('refuses an entrypoint that the module lacks, also one of every object', async () => {
    const loaded = await load('package test\nallow := true');
    for (const entrypoint of ['test/other', 'constructor', '__proto__']) {
      assert.throws(() => instantiatePolicy({ ...loaded, entrypoint, limits }), /has no entrypoint/);
    }
  });

  test('fails on input that is not one JSON document, rather than taking it for undefined', async () => {
    const loaded = await load('package test\nallow if not input.bad');
    const texts = ['', '{', '{"a":1', '{"a":1} x', '{"a":1}{}', '{1,2}', "{'a':1}", 'NaN', '{"a":"\\ud800"}'];
    for (const text of texts) {
      const policy = instantiatePolicy({ ...loaded, limits });
      assert.throws(() => policy.evaluate(new TextEncoder().encode(text).buffer), text);
    }
    const policy = instantiatePolicy({ ...loaded, limits });
    assert.throws(() => policy.evaluate(new Uint8Array([0x22, 0xff, 0x22]).buffer), /the input is not JSON/);
    assert.deepEqual(instantiatePolicy({ ...loaded, limits }).evaluate(json({}).buffer), [{ result: true }]);
  });

  test('never quotes the input in its errors', async () => {
    const loaded = await load('package test\nallow := true');
    const policy = instantiatePolicy({ ...loaded, limits });
    const input = new TextEncoder().encode('{"authorization": secret-token}').buffer;
    assert.throws(() => policy.evaluate(input), { message: 'the input is not JSON' });
  });

  test('tells when its memory has grown, and fails at its maximum', async () => {
    const loaded = await load('package test\nallow := count(input.list)');
    const policy = instantiatePolicy({ ...loaded, limits });
    policy.evaluate(json({ list: [1] }).buffer);
    assert.equal(policy.isGrown(), false);
    policy.evaluate(json({ list: ['x'.repeat(3 * MIB)] }).buffer);
    assert.equal(policy.isGrown(), true);
    assert.throws(() => policy.evaluate(json({ list: ['x'.repeat(40 * MIB)] }).buffer));
  });

  test('fails when the data does not fit', async () => {
    const loaded = await load('package test\nallow := true', JSON.stringify({ text: 'x'.repeat(3 * MIB) }));
    assert.throws(() => instantiatePolicy({ ...loaded, limits: { recycleBytes: MIB, maxBytes: 2 * MIB } }));
  });
});

test('describes whatever opa-wasm throws', () => {
  const cases: { readonly thrown: unknown; readonly text: string }[] = [
    { thrown: 'authz.rego:5:1: object insert conflict', text: 'authz.rego:5:1: object insert conflict' },
    { thrown: { message: 'not implemented' }, text: 'not implemented' },
    { thrown: new RangeError('memory'), text: 'memory' },
    { thrown: undefined, text: 'the evaluation failed' },
    { thrown: 7, text: 'the evaluation failed' },
    { thrown: 'x'.repeat(5000), text: 'x'.repeat(1000) },
  ];
  for (const { thrown, text } of cases) assert.equal(describeThrown(thrown), text);
});

test('takes the bytes of a view alone', () => {
  const whole = new Uint8Array([1, 2, 3, 4]);
  assert.equal(exactBuffer(whole), whole.buffer);
  assert.deepEqual(new Uint8Array(exactBuffer(whole.subarray(1, 3))), new Uint8Array([2, 3]));
});
