/** What a policy sees of gRPC bodies is what Go's protojson writes, or a refusal that docs/compatibility.md names. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../src/core/index.ts';
import { createGrpcBodyReader } from '../../src/gate/body/grpc-body.ts';
import { messageJson, parseDescriptorSet, type DescriptorSet } from '../../src/proto/index.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { parseExactly, startGoBodies, type GoBodies } from '../support/go-bodies.ts';
import { sampleDescriptorSet } from '../support/sample-descriptors.ts';

let go: GoBodies;
let bytes: Buffer;
let set: DescriptorSet;

before(
  async () => {
    go = await startGoBodies();
    const [known = ''] = await go.ask([{ kind: 'known', body: Buffer.alloc(0) }]);
    const { value } = JSON.parse(known) as { readonly value: string };
    // Two sets one after the other are one.
    bytes = Buffer.concat([Buffer.from(value, 'base64'), sampleDescriptorSet()]);
    set = parseDescriptorSet(bytes);
  },
  { timeout: BUILD_LIMIT_MS },
);

after(() => go[Symbol.asyncDispose]());

/** Refusals of ours that Go does not make. */
const STRICTER = /nested deeper|more than 100000 values|is not among the descriptors|is not UTF-8/;

async function compare(
  type: string,
  messages: readonly Buffer[],
): Promise<{ readonly read: number; readonly refused: number }> {
  const lines = await go.ask(
    messages.map((body, index) => ({ kind: 'message', type, body, ...(index === 0 ? { set: bytes } : {}) })),
  );
  let read = 0;
  for (const [index, body] of messages.entries()) {
    const expected = parseExactly(lines[index]!) as { readonly refused?: string; readonly value: unknown };
    const what = `${type} ${body.toString('hex')}: ${lines[index]}`;
    let ours: string;
    try {
      ours = messageJson(set, type, body);
    } catch (error) {
      assert.ok(error instanceof SvidgateError && error.code === 'invalid_request', String(error));
      assert.ok(expected.refused !== undefined || STRICTER.test(error.message), `${what}; ours: ${error.message}`);
      continue;
    }
    // Go resolves an Any by the types that a program is linked with, not by the descriptors.
    if (/unable to resolve "[^"]*shop\.Order"|^panic: /.test(expected.refused ?? '')) continue;
    assert.equal(expected.refused, undefined, `${what}; ours: ${ours}`);
    assert.deepEqual(parseExactly(ours), expected.value, what);
    read += 1;
  }
  return { read, refused: messages.length - read };
}

const varint = fc
  .oneof(
    fc.constantFrom(0n, 1n, 2n, 127n, 300n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 63n, 2n ** 64n - 1n),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  )
  .map(encodeVarint);

function encodeVarint(value: bigint): Buffer {
  const out: number[] = [];
  let left = value;
  while (left > 127n) {
    out.push(Number(left & 127n) | 128);
    left >>= 7n;
  }
  return Buffer.from([...out, Number(left)]);
}

const withLength = (content: Buffer): Buffer => Buffer.concat([encodeVarint(BigInt(content.length)), content]);
const sized = (size: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: size, maxLength: size }).map((array) => Buffer.from(array));
const floats = fc
  .oneof(fc.constantFrom(0, -0, NaN, Infinity, -Infinity, 0.1, 1e21, 1e-7, 16777216, 1.5), fc.double())
  .chain((value) =>
    fc.constantFrom(4, 8).map((size) => {
      const buffer = Buffer.alloc(size);
      if (size === 4) buffer.writeFloatLE(value);
      else buffer.writeDoubleLE(value);
      return buffer;
    }),
  );

/** A message of some fields with wire types that fit mostly; fields of messages have messages in them. */
const message: fc.Arbitrary<Buffer> = fc.letrec<{ readonly message: Buffer; readonly field: Buffer }>((tie) => ({
  message: fc.array(tie('field'), { maxLength: 4 }).map((all) => Buffer.concat(all)),
  field: fc
    .tuple(fc.integer({ min: 1, max: 44 }), fc.constantFrom(0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 5, 5, 3))
    .chain(([number, wire]) => {
      const tag = encodeVarint(BigInt(number * 8 + wire));
      const text = fc
        .constantFrom('', 'a', 'a_b,cD', 'é', 'type.googleapis.com/shop.Order', 'google.protobuf.Duration')
        .map((each) => Buffer.from(each));
      const content = fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        text,
        fc.constantFrom(Buffer.from([0xff]), Buffer.from([0]), Buffer.from([8, 1])),
        varint,
        fc.array(varint, { maxLength: 3 }).map((all) => Buffer.concat(all)),
        floats,
        tie('message'),
        tie('message'),
      );
      const value =
        wire === 0
          ? varint
          : wire === 1
            ? fc.oneof(
                sized(8),
                floats.filter(({ length }) => length === 8),
              )
            : wire === 5
              ? fc.oneof(
                  sized(4),
                  floats.filter(({ length }) => length === 4),
                )
              : wire === 3
                ? tie('message').map((inner) => Buffer.concat([inner, encodeVarint(BigInt(number * 8 + 4))]))
                : content.map(withLength);
      return value.map((each) => Buffer.concat([tag, each]));
    }),
})).message;

describe('messages, as protojson writes them', () => {
  for (const type of ['shop.Order', 'old.Item', 'google.protobuf.Struct', 'google.protobuf.Any']) {
    test(type, async () => {
      // A required field first, which few of the drawn ones have.
      const prefix = type === 'old.Item' ? Buffer.from([8, 0]) : Buffer.alloc(0);
      const drawn = fc.sample(message, 4000).map((each) => Buffer.concat([prefix, each]));
      const { read, refused } = await compare(type, drawn);
      assert.ok(read > 100, `${read} read, ${refused} refused`);
    });
  }

  test('each field of its own, also with its default and twice', async () => {
    const one = fc.integer({ min: 1, max: 43 }).chain((number) =>
      fc.tuple(fc.constantFrom(0, 1, 2, 5), fc.oneof(varint, sized(8), sized(4), message)).map(([wire, content]) => {
        const tag = encodeVarint(BigInt(number * 8 + wire));
        const value = wire === 2 ? withLength(content) : content;
        return Buffer.concat([tag, value, tag, value]);
      }),
    );
    await compare('shop.Order', fc.sample(one, 6000));
  });

  test('times, durations, masks, wrappers and numbers at their limits', async () => {
    const time = (number: number, seconds: bigint, nanos: bigint): Buffer => {
      const inner = Buffer.concat([
        Buffer.from([8]),
        encodeVarint(BigInt.asUintN(64, seconds)),
        Buffer.from([16]),
        encodeVarint(BigInt.asUintN(64, nanos)),
      ]);
      return Buffer.concat([encodeVarint(BigInt(number * 8 + 2)), withLength(inner)]);
    };
    const seconds = [
      0n,
      1n,
      -1n,
      253402300799n,
      253402300800n,
      -62135596800n,
      -62135596801n,
      315576000000n,
      315576000001n,
      -315576000000n,
    ];
    const nanos = [0n, 1n, 1000n, 1000000n, 999999999n, 1000000000n, -1n, -500000000n];
    const all = [31, 32].flatMap((number) => seconds.flatMap((s) => nanos.map((n) => time(number, s, n))));
    const { read, refused } = await compare('shop.Order', all);
    assert.ok(read > 40 && refused > 40);
    const masks = ['a', 'a_b', 'aB', 'a.b_c', '', '_a', 'a_', 'a__b', 'a_1', 'é'].map((path) => {
      const inner = Buffer.concat([Buffer.from([10]), withLength(Buffer.from(path))]);
      return Buffer.concat([encodeVarint(38n * 8n + 2n), withLength(Buffer.concat([inner, inner]))]);
    });
    await compare('shop.Order', masks);
  });
});

describe('gRPC bodies', () => {
  const framed = (content: Buffer, flag = 0, length = content.length): Buffer => {
    const prefix = Buffer.alloc(5);
    prefix[0] = flag;
    prefix.writeUInt32BE(length, 1);
    return Buffer.concat([prefix, content]);
  };
  const order = Buffer.from([40, 7]);
  const nothing = { json: 'null', isTruncated: false };

  test('the first message, by the method of the path', () => {
    const read = createGrpcBodyReader(set);
    const place = ['shop.Orders', 'Place'];
    assert.deepEqual(read(framed(order), place), { json: '{"anInt32":7}', isTruncated: false });
    assert.deepEqual(read(Buffer.concat([framed(order), framed(order)]), place).json, '{"anInt32":7}');
    assert.deepEqual(read(framed(Buffer.alloc(0)), place).json, '{}');
    assert.deepEqual(read(framed(order, 1), place), nothing);
    assert.deepEqual(read(framed(order, 0, 3), place), { json: 'null', isTruncated: true });
    assert.deepEqual(read(framed(order, 0, 2 ** 32 - 1), place), { json: 'null', isTruncated: true });
    for (const other of [
      ['shop.Orders', 'Stream'],
      ['shop.Orders', 'Else'],
      ['shop.Order', 'Place'],
      ['toString', 'x'],
    ]) {
      assert.deepEqual(read(framed(order), other), nothing);
    }
    for (const path of [[''], ['shop.Orders'], ['shop.Orders', 'Place', 'x']]) {
      assert.throws(() => read(framed(order), path), { code: 'invalid_request' });
    }
    assert.throws(() => read(Buffer.alloc(4), place), { code: 'invalid_request' });
    assert.throws(() => read(framed(Buffer.from([40])), place), { code: 'invalid_request' });
  });

  test('hostile ones are refused without much work', () => {
    const nested = (levels: number): Buffer => {
      let inner = Buffer.alloc(0);
      for (let level = 0; level < levels; level += 1) inner = Buffer.concat([Buffer.from([82]), withLength(inner)]);
      return inner;
    };
    assert.ok(messageJson(set, 'shop.Order', nested(99)).startsWith('{"nested":{'));
    assert.throws(() => messageJson(set, 'shop.Order', nested(200)), /nested deeper/);
    assert.throws(() => messageJson(set, 'shop.Order', Buffer.alloc(8_000_000, 0x53)), { code: 'invalid_request' });
    const many = Buffer.concat(Array.from({ length: 200_000 }, () => Buffer.from([0xa2, 1, 0])));
    assert.throws(() => messageJson(set, 'shop.Order', many), /more than 100000 values/);
    const packed = Buffer.concat([Buffer.from([0x92, 1]), withLength(Buffer.alloc(4_000_000))]);
    assert.throws(() => messageJson(set, 'shop.Order', packed), /more than 100000 values/);
  });

  test('what is no descriptor set is refused, never anything else', () => {
    assert.throws(() => parseDescriptorSet(Buffer.alloc(0)), { code: 'invalid_request' });
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
        const broken = Buffer.from(bytes);
        broken[at] = byte;
        try {
          messageJson(parseDescriptorSet(broken), 'shop.Order', Buffer.from([40, 7]));
        } catch (error) {
          assert.ok(error instanceof SvidgateError && error.code === 'invalid_request', String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});
