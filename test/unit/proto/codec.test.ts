import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { SvidgateError, type ErrorCode } from '../../../src/core/index.ts';
import {
  CheckRequest,
  CheckResponse,
  decodeMessage,
  DeltaDiscoveryRequest,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  packAny,
  Secret,
  SECRET_TYPE_URL,
  SPIFFE_CERT_VALIDATOR_TYPE_URL,
  SpiffeCertValidatorConfig,
  Struct,
  unpackAny,
  type CheckRequestInit,
  type Codec,
} from '../../../src/proto/index.ts';

const MAX_BYTES = 1 << 20;
const CODECS: readonly Codec<unknown, object>[] = [
  CheckRequest,
  CheckResponse,
  DeltaDiscoveryRequest,
  DiscoveryRequest,
  DiscoveryResponse,
  Secret,
  SpiffeCertValidatorConfig,
  Struct,
];

const hasCode = (code: ErrorCode) => (error: unknown) => error instanceof SvidgateError && error.code === code;

describe('decodeMessage', () => {
  it('gives defaults for what is not there', () => {
    const request = decodeMessage(CheckRequest, new Uint8Array(0), MAX_BYTES);
    assert.equal(request.attributes, null);
    const secret = decodeMessage(Secret, encodeMessage(Secret, { name: 'default' }), MAX_BYTES);
    assert.equal(secret.name, 'default');
    assert.equal(secret.type, undefined);
    const discovery = decodeMessage(DiscoveryRequest, new Uint8Array(0), MAX_BYTES);
    assert.deepEqual([discovery.typeUrl, discovery.resourceNames, discovery.node], ['', [], null]);
  });

  const BAD_INPUTS: readonly { readonly what: string; readonly hex: string; readonly message: RegExp }[] = [
    { what: 'a length beyond the end', hex: '0a7f00', message: /not a protobuf message/ },
    { what: 'a tag that is cut off', hex: '80', message: /not a protobuf message/ },
    { what: 'field number zero', hex: '0000', message: /not a protobuf message/ },
    { what: 'a wire type that does not exist', hex: '0f', message: /not a protobuf message/ },
    { what: 'the end of a group that never began', hex: '0c', message: /not a protobuf message/ },
    { what: 'a version that is not UTF-8', hex: '0a02c328', message: /a string is not UTF-8/ },
    { what: 'a version with an overlong encoding', hex: '0a02c080', message: /a string is not UTF-8/ },
    { what: 'a version with half a surrogate pair', hex: '0a03eda080', message: /a string is not UTF-8/ },
    { what: 'a long name that is not UTF-8', hex: `1a50${'61'.repeat(79)}ff`, message: /a string is not UTF-8/ },
  ];
  for (const { what, hex, message } of BAD_INPUTS) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => decodeMessage(DiscoveryRequest, Buffer.from(hex, 'hex'), MAX_BYTES),
        (error) => hasCode('invalid_request')(error) && message.test((error as Error).message),
      );
    });
  }

  it('refuses strings that are not UTF-8 inside google.protobuf messages and in map keys', () => {
    // Struct { fields { key: "\xff" } }, then { fields { key: "a" value { string_value: "\xff" } } }
    for (const hex of ['0a030a01ff', '0a080a016112031a01ff']) {
      assert.throws(() => decodeMessage(Struct, Buffer.from(hex, 'hex'), MAX_BYTES), hasCode('invalid_request'));
    }
  });

  it('refuses more bytes than the limit and names both', () => {
    const bytes = encodeMessage(Secret, { name: 'x'.repeat(100) });
    assert.throws(
      () => decodeMessage(Secret, bytes, 101),
      (error) => hasCode('too_large')(error) && /Secret of 102 bytes, the limit is 101/.test((error as Error).message),
    );
    assert.equal(decodeMessage(Secret, bytes, 102).name.length, 100);
  });

  it('refuses a message nested without end', () => {
    let bytes: Uint8Array = new Uint8Array(0);
    // Value.list_value (6) in ListValue.values (1), a thousand times; at last Struct.fields (1) with key and value.
    for (let depth = 0; depth < 1000; depth += 1) bytes = lengthDelimited(depth % 2 === 1 ? 0x32 : 0x0a, bytes);
    const struct = lengthDelimited(0x0a, Buffer.concat([Buffer.from('0a0161', 'hex'), lengthDelimited(0x12, bytes)]));
    assert.throws(() => decodeMessage(Struct, struct, MAX_BYTES), hasCode('invalid_request'));
  });

  it('keeps a map key that is the name of a property of every object', () => {
    const headers = JSON.parse('{"__proto__": "a", "constructor": "b"}') as Record<string, string>;
    const bytes = encodeMessage(CheckRequest, { attributes: { request: { http: { headers } } } });
    const decoded = decodeMessage(CheckRequest, bytes, MAX_BYTES).attributes?.request?.http?.headers ?? {};
    assert.deepEqual(Object.entries(decoded), [
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
    assert.equal(Object.hasOwn({}, 'polluted'), false);
  });

  it('skips unknown fields', () => {
    const known = encodeMessage(DiscoveryRequest, { typeUrl: SECRET_TYPE_URL });
    const unknown = Buffer.from('fa3f03616263', 'hex'); // field 1023
    assert.equal(decodeMessage(DiscoveryRequest, Buffer.concat([known, unknown]), MAX_BYTES).typeUrl, SECRET_TYPE_URL);
  });

  it('throws nothing but SvidgateError, whatever the bytes', () => {
    const codec = fc.constantFrom(...CODECS);
    fc.assert(
      fc.property(codec, fc.uint8Array({ maxLength: 256 }), (codec, bytes) => {
        decodesOrRefuses(codec, bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('throws nothing but SvidgateError for a real message with bytes changed, cut or added', () => {
    const bytes = encodeMessage(CheckRequest, SAMPLE);
    const change = fc.record({ at: fc.nat(bytes.length - 1), byte: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(bytes.length), (changes, length) => {
        const damaged = Buffer.from(bytes.subarray(0, length));
        for (const { at, byte } of changes) if (at < length) damaged[at] = byte;
        decodesOrRefuses(CheckRequest, damaged);
      }),
      { numRuns: 2000 },
    );
  });

  it('reads back what was encoded, and encodes it to the same bytes', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 });
    const http = fc.record({
      method: text,
      path: text,
      headers: fc.dictionary(text, text),
      size: fc.maxSafeNat(),
      rawBody: fc.uint8Array({ maxLength: 32 }),
    });
    fc.assert(
      fc.property(http, (http) => {
        const bytes = encodeMessage(CheckRequest, { attributes: { request: { http } } });
        const decoded = decodeMessage(CheckRequest, bytes, MAX_BYTES);
        const read = decoded.attributes?.request?.http;
        assert.ok(read);
        assert.deepEqual([read.method, read.path, { ...read.headers }], [http.method, http.path, { ...http.headers }]);
        assert.equal(read.size.toString(), String(http.size));
        assert.deepEqual(Buffer.from(read.rawBody), Buffer.from(http.rawBody));
        assert.deepEqual(encodeMessage(CheckRequest, decoded), bytes);
      }),
    );
  });
});

describe('encodeMessage', () => {
  it('never writes a string that is not UTF-8', () => {
    for (const body of ['\ud800', `${'x'.repeat(100)}\udfff`, 'a\ud800b']) {
      const bytes = encodeMessage(CheckResponse, { status: { code: 7 }, deniedResponse: { body } });
      const decoded = decodeMessage(CheckResponse, bytes, MAX_BYTES);
      assert.equal(decoded.deniedResponse?.body, body.toWellFormed());
    }
  });

  it('leaves code zero out, which Envoy reads as an allow', () => {
    assert.equal(encodeMessage(CheckResponse, { status: { code: 0 } }).length, 2);
    assert.equal(encodeMessage(CheckResponse, {}).length, 0);
  });
});

describe('Any', () => {
  const secret = encodeMessage(Secret, { name: 'default' });

  it('is unpacked as the type it names', () => {
    const response = encodeMessage(DiscoveryResponse, { resources: [packAny(SECRET_TYPE_URL, secret)] });
    const any = decodeMessage(DiscoveryResponse, response, MAX_BYTES).resources[0]!;
    assert.equal(unpackAny(Secret, any, MAX_BYTES).name, 'default');
    assert.throws(() => unpackAny(SpiffeCertValidatorConfig, any, MAX_BYTES), hasCode('invalid_request'));
  });

  it('has type URLs that are those of the messages', () => {
    assert.equal(SECRET_TYPE_URL, Secret.getTypeUrl());
    assert.equal(SPIFFE_CERT_VALIDATOR_TYPE_URL, SpiffeCertValidatorConfig.getTypeUrl());
  });
});

const SAMPLE: CheckRequestInit = {
  attributes: {
    source: {
      address: { socketAddress: { address: '127.0.0.1', portValue: 40_000 } },
      principal: 'spiffe://prod.acme.test/web',
    },
    request: {
      time: { seconds: 1_700_000_000, nanos: 5000 },
      http: {
        method: 'GET',
        path: '/orders?x=1',
        headers: { ':authority': 'orders', 'x-request-id': 'abc' },
        headerMap: { headers: [{ key: 'a', rawValue: Buffer.from('b') }] },
        size: 12,
      },
    },
    contextExtensions: { 'svidgate.policy': 'default' },
    metadataContext: { filterMetadata: { a: { fields: { b: { listValue: { values: [{ numberValue: 1 }] } } } } } },
  },
};

function decodesOrRefuses(codec: Codec<unknown, object>, bytes: Uint8Array): void {
  try {
    const decoded = decodeMessage(codec, bytes, MAX_BYTES) as object;
    const encoded = encodeMessage(codec, decoded);
    const again = decodeMessage(codec, encoded, MAX_BYTES) as object;
    assert.deepEqual(encodeMessage(codec, again), encoded);
  } catch (error) {
    assert.ok(hasCode('invalid_request')(error), String(error));
  }
}

function lengthDelimited(tag: number, bytes: Uint8Array): Buffer {
  const length: number[] = [];
  let left = bytes.length;
  while (left > 127) {
    length.push((left & 127) | 128);
    left >>>= 7;
  }
  return Buffer.concat([Buffer.from([tag, ...length, left]), bytes]);
}
