import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import {
  CheckRequest,
  decodeMessage,
  DeltaDiscoveryResponse,
  encodeMessage,
  int64ToBigInt,
  jsonToStruct,
  MAX_STRUCT_DEPTH,
  msToDuration,
  msToTimestamp,
  durationToMs,
  Struct,
  structToJson,
  timestampToMs,
  type JsonObject,
} from '../../../src/proto/index.ts';

const MAX_BYTES = 1 << 20;

function throughTheWire(json: JsonObject): JsonObject {
  return structToJson(decodeMessage(Struct, encodeMessage(Struct, jsonToStruct(json)), MAX_BYTES));
}

describe('structToJson and jsonToStruct', () => {
  it('are inverse for JSON that doubles can hold', () => {
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small', maxDepth: 6 },
        fc.constant(null),
        fc.boolean(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
        fc.string({ unit: 'grapheme' }),
        fc.array(tie('tree'), { maxLength: 4 }),
        fc.dictionary(fc.string({ unit: 'grapheme' }), tie('tree'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), tree, { maxKeys: 4 }), (json) => {
        assert.equal(JSON.stringify(throughTheWire(json as JsonObject)), JSON.stringify(json));
      }),
    );
  });

  it('keep a key named __proto__', () => {
    const json = JSON.parse('{"__proto__": {"a": 1}}') as JsonObject;
    assert.equal(JSON.stringify(throughTheWire(json)), '{"__proto__":{"a":1}}');
  });

  it('give null for numbers that JSON does not have, and for a value of no kind', () => {
    const bytes = encodeMessage(Struct, {
      fields: { nan: { numberValue: Number.NaN }, infinite: { numberValue: -Infinity }, none: {} },
    });
    assert.deepEqual(structToJson(decodeMessage(Struct, bytes, MAX_BYTES)), { nan: null, infinite: null, none: null });
  });

  it('go as deep as Envoy reads and no deeper', () => {
    const nested = (depth: number): JsonObject => (depth === 1 ? { leaf: true } : { a: nested(depth - 1) });
    assert.deepEqual(throughTheWire(nested(MAX_STRUCT_DEPTH)), nested(MAX_STRUCT_DEPTH));
    assert.throws(
      () => jsonToStruct(nested(MAX_STRUCT_DEPTH + 1)),
      (error) => error instanceof SvidgateError && error.code === 'too_large',
    );
  });
});

describe('int64', () => {
  const VALUES = [0n, 1n, -1n, 2n ** 31n, -(2n ** 31n), 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
  for (const value of VALUES) {
    it(`${value} is exact`, () => {
      const bytes = checkRequestOfSize(value);
      const size = decodeMessage(CheckRequest, bytes, MAX_BYTES).attributes?.request?.http?.size;
      assert.ok(size);
      assert.equal(int64ToBigInt(size), value);
      assert.equal(size.toString(), value.toString());
    });
  }

  it('reads the default as zero', () => {
    const bytes = encodeMessage(CheckRequest, { attributes: { request: { http: {} } } });
    const size = decodeMessage(CheckRequest, bytes, MAX_BYTES).attributes?.request?.http?.size;
    assert.ok(size);
    assert.equal(int64ToBigInt(size), 0n);
  });

  /** CheckRequest.attributes (1) .request (4) .http (2) .size (9), by hand, since encoding takes no bigint. */
  function checkRequestOfSize(value: bigint): Uint8Array {
    const varint: number[] = [];
    let left = BigInt.asUintN(64, value);
    while (left > 127n) {
      varint.push(Number(left & 127n) | 128);
      left >>= 7n;
    }
    const http = Buffer.from([0x48, ...varint, Number(left)]);
    const request = Buffer.concat([Buffer.from([0x12, http.length]), http]);
    const attributes = Buffer.concat([Buffer.from([0x22, request.length]), request]);
    return Buffer.concat([Buffer.from([0x0a, attributes.length]), attributes]);
  }
});

describe('timestamps and durations', () => {
  const CASES: readonly { readonly ms: number; readonly seconds: number; readonly nanos: number }[] = [
    { ms: 0, seconds: 0, nanos: 0 },
    { ms: 1, seconds: 0, nanos: 1_000_000 },
    { ms: 1_700_000_000_123, seconds: 1_700_000_000, nanos: 123_000_000 },
    { ms: -1, seconds: -1, nanos: 999_000_000 },
  ];
  for (const { ms, seconds, nanos } of CASES) {
    it(`${ms} ms since the epoch are ${seconds} s and ${nanos} ns, and back`, () => {
      assert.deepEqual(msToTimestamp(ms), { seconds, nanos });
      const bytes = encodeMessage(CheckRequest, { attributes: { request: { time: msToTimestamp(ms) } } });
      const time = decodeMessage(CheckRequest, bytes, MAX_BYTES).attributes?.request?.time;
      assert.ok(time);
      assert.equal(timestampToMs(time), ms);
    });
  }

  for (const ms of [0, 1, 999, 1000, 3_600_001, -1, -1500]) {
    it(`a duration of ${ms} ms comes back`, () => {
      const bytes = encodeMessage(DeltaDiscoveryResponse, { resources: [{ ttl: msToDuration(ms) }] });
      const ttl = decodeMessage(DeltaDiscoveryResponse, bytes, MAX_BYTES).resources[0]?.ttl;
      assert.ok(ttl);
      assert.equal(durationToMs(ttl), ms);
      assert.equal(int64ToBigInt(ttl.seconds), BigInt(Math.trunc(ms / 1000)));
    });
  }
});
