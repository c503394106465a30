import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { createHmac } from 'node:crypto';
import { describe, test } from 'node:test';
import { createBuiltinHost } from '../../../../src/policy/builtins/builtin-host.ts';
import { limitMemory } from '../../../../src/policy/builtins/limit-memory.ts';
import { NATIVE_BUILTINS } from '../../../../src/policy/builtins/native-builtins.ts';
import {
  NETWORK_BUILTINS,
  NON_DETERMINISTIC_BUILTINS,
  OFFERED_BUILTINS,
  REDIRECTED_BUILTINS,
} from '../../../../src/policy/builtins/offered.ts';
import { instantiatePolicy } from '../../../../src/policy/policy-instance.ts';
import { json, load } from '../support.ts';

const encoder = new TextEncoder();
const host = createBuiltinHost({ now: () => 1_755_555_555_123_456_789n });

function ask(name: string, args: string): string {
  const answer = host.call(name, encoder.encode(args));
  if (answer.kind === 'undefined') return 'undefined';
  return new TextDecoder().decode(answer.kind === 'value' ? answer.text : answer.bytes);
}

describe('the host of builtins', () => {
  test('answers with exact numbers and with sets', () => {
    assert.equal(ask('time.now_ns', '[]'), '1755555555123456789');
    assert.equal(ask('json.unmarshal', String.raw`["[12345678901234567890.10]"]`), '[12345678901234567890.10]');
    assert.equal(ask('intersection', '[{{1, 2}, {2, 3}}]'), '{2}');
    assert.equal(ask('object.subset', '[set(),{"a"}]'), 'false');
  });

  test('says undefined where a builtin of OPA fails', () => {
    assert.equal(ask('hex.decode', '["zz"]'), 'undefined');
    assert.equal(ask('json.unmarshal', '["{} x"]'), 'undefined');
    assert.equal(ask('upper', '[1]'), 'undefined');
    assert.equal(ask('host.div', '[7,0]'), 'undefined');
  });

  test('keeps the bytes of strings that are not UTF-8', () => {
    const answer = host.call('base64.decode', encoder.encode('["/w=="]'));
    assert.deepEqual(answer, { kind: 'bytes', bytes: new Uint8Array([0xff]) });
    const given = new Uint8Array([...encoder.encode('["'), 0xff, ...encoder.encode('"]')]);
    const { kind } = host.call('crypto.sha256', given);
    assert.equal(kind, 'value');
  });

  test('keeps chance and time the same within one evaluation', () => {
    let now = 1n;
    const changing = createBuiltinHost({ now: () => (now += 1n) });
    const decode = (name: string, args: string): string => {
      const answer = changing.call(name, encoder.encode(args));
      assert.ok(answer.kind === 'value');
      return new TextDecoder().decode(answer.text);
    };
    changing.begin();
    const first = [decode('time.now_ns', '[]'), decode('uuid.rfc4122', '["k"]')];
    assert.deepEqual([decode('time.now_ns', '[]'), decode('uuid.rfc4122', '["k"]')], first);
    changing.begin();
    assert.notEqual(decode('time.now_ns', '[]'), first[0]);
    assert.notEqual(decode('uuid.rfc4122', '["k"]'), first[1]);
  });

  test('remembers what it found of a token only while that is right', () => {
    const at = { seconds: 1000 };
    const moving = createBuiltinHost({ now: () => BigInt(at.seconds) * 1_000_000_000n });
    const isValid = (token: string, secret: string): boolean => {
      moving.begin();
      const args = encoder.encode(`["${token}",{"secret": "${secret}"}]`);
      const answer = moving.call('io.jwt.decode_verify', args);
      return answer.kind === 'value' && new TextDecoder().decode(answer.text).startsWith('[true,');
    };
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const content = `${encode({ alg: 'HS256' })}.${encode({ nbf: 900, exp: 1100 })}`;
    const token = `${content}.${createHmac('sha256', 'k').update(content).digest('base64url')}`;
    for (const [seconds, expected] of [
      [899, false],
      [900, true],
      [1099, true],
      [1000, true],
      [899, false],
      [1100, false],
      [1099, true],
    ] as const) {
      at.seconds = seconds;
      assert.equal(isValid(token, 'k'), expected, `at ${seconds}`);
      assert.equal(isValid(token, 'other'), false);
      assert.equal(isValid(token.slice(0, -2), 'k'), false);
    }
  });

  test('fails where OPA would end or go on without end, and works on', () => {
    const deep = `[${'['.repeat(1100)}${']'.repeat(1100)}]`;
    const faults = [
      ['net.cidr_expand', '["10.0.0.0/8"]', /too many addresses/],
      ['numbers.range_step', '[0,1000000000000,1]', /out of memory/],
      ['io.jwt.decode_verify', '["a.b.c",{1: 2}]', /interface conversion/],
      ['json.marshal', deep, /not well-formed/],
      ['upper', `["${'a'.repeat(5 * 2 ** 20)}"]`, /arguments of upper are larger than/],
      [
        'strings.render_template',
        String.raw`["{{range .l}}{{$.s}}{{end}}",{"s": "${'a'.repeat(2000)}", "l": [${'0, '.repeat(5000)}0]}]`,
        /value of .* is larger than/,
      ],
      ['urlquery.decode_object', '["a=%ff"]', /not UTF-8/],
      ['no.such_builtin', '[]', /no such builtin/],
      ['upper', '["a"', /not well-formed/],
    ] as const;
    for (const [name, args, message] of faults) {
      assert.throws(() => ask(name, args), message, name);
      assert.equal(ask('upper', '["works"]'), '"WORKS"');
    }
  });

  test('joins and adds without OPA where it is exact', () => {
    assert.deepEqual(NATIVE_BUILTINS.get('plus')?.answer('[1,2]'), { text: '3' });
    for (const args of ['[1,2.0]', '[1,-0]', '[9999999999,1]', '[1,2,3]', '["1",2]', '[01,2]']) {
      assert.equal(NATIVE_BUILTINS.get('plus')?.answer(args), 'ask_opa', args);
    }
    assert.deepEqual(NATIVE_BUILTINS.get('concat')?.answer(String.raw`["\"",{"b", "\u0001", "a,]"}]`), {
      text: String.raw`"\u0001\"a,]\"b"`,
    });
    assert.equal(NATIVE_BUILTINS.get('concat')?.answer('["",["a", {"b"}]]'), 'undefined');
  });

  test('knows each builtin that is redirected or depends on more than its arguments', () => {
    for (const name of [...REDIRECTED_BUILTINS, ...NON_DETERMINISTIC_BUILTINS, ...NATIVE_BUILTINS.keys()]) {
      assert.ok([...OFFERED_BUILTINS, ...NETWORK_BUILTINS].includes(name), name);
    }
    assert.equal(new Set(OFFERED_BUILTINS).size, OFFERED_BUILTINS.length);
  });
});

describe('a policy', () => {
  const limits = { recycleBytes: 4 * 2 ** 20, maxBytes: 64 * 2 ** 20 };

  test('asks the host for what it would answer otherwise itself, but not for its own of that name', async () => {
    const loaded = await load(`package test
import data.test.net
net.cidr_contains(_, _) := "own"
mocked(_) := [1, 2, 3]
allow := [
  net.cidr_contains("10.0.0.0/8", "::ffff:10.0.0.1"),
  replace("ab", "", "-"),
  count(json.unmarshal("[1]")),
  counted,
]
counted := n if n := count(json.unmarshal("[1]")) with json.unmarshal as mocked
`);
    const [first] = instantiatePolicy({ ...loaded, limits }).evaluate(json({}).buffer);
    assert.deepEqual(first?.result, ['own', '-a-b-', 1, 3]);
  });

  test('fails as a whole where the host fails', async () => {
    const loaded = await load('package test\nallow if not "x" in net.cidr_expand(input.cidr)');
    const policy = instantiatePolicy({ ...loaded, limits });
    assert.deepEqual(policy.evaluate(json({ cidr: '10.0.0.0/30' }).buffer), [{ result: true }]);
    assert.throws(() => policy.evaluate(json({ cidr: '::/0' }).buffer), /too many addresses/);
  });
});

test('limitMemory puts a maximum on the memory of a module', () => {
  /** (module (memory (export "m") 1)), with a custom section before it. */
  const head = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, 2, 1, 0x78];
  const wasm = new Uint8Array([...head, 5, 3, 1, 0, 1, 7, 5, 1, 1, 0x6d, 2, 0]);
  const limited = new WebAssembly.Instance(new WebAssembly.Module(limitMemory(wasm, 300)), {});
  const memory = limited.exports['m'] as WebAssembly.Memory & { grow(pages: number): number };
  assert.equal(memory.grow(299), 1);
  assert.throws(() => memory.grow(1), RangeError);
  assert.throws(() => limitMemory(wasm.subarray(0, 12), 300), /has no memory/);
  assert.throws(() => limitMemory(wasm.subarray(0, 13), 300), /ends early/);
});
