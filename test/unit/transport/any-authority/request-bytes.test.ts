import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { encodeBlock } from '../../../../src/transport/any-authority/encode-block.ts';
import { PREFACE, writeHeaderFrames } from '../../../../src/transport/any-authority/frames.ts';
import type { HeaderField } from '../../../../src/transport/any-authority/header-table.ts';
import { mendAuthority } from '../../../../src/transport/any-authority/mend-authority.ts';
import { RequestBytes } from '../../../../src/transport/any-authority/request-bytes.ts';
import { collectGarbage } from '../../../support/collect-garbage.ts';
import {
  openSink,
  recordClient,
  requestFields,
  requestsOnWire,
  settle,
  type SeenRequest,
} from '../../../support/http2-wire.ts';

interface Outcome {
  readonly seen: readonly SeenRequest[];
  readonly failures: readonly string[];
}

/** What a real Node server makes of these bytes. */
async function serve(chunks: readonly Buffer[]): Promise<Outcome> {
  using sink = openSink();
  sink.wire.resume();
  for (const chunk of chunks) sink.wire.write(chunk);
  await settle();
  return { seen: [...sink.seen], failures: [...sink.failures] };
}

/** The same bytes after the stage, cut into pieces of these sizes. */
function throughStage(bytes: Buffer, sizes: readonly number[] = [bytes.length]): readonly Buffer[] {
  const stage = new RequestBytes();
  const out: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = Math.max(1, sizes[turn % sizes.length] ?? 1);
    out.push(...stage.take(bytes.subarray(at, at + size)));
    at += size;
  }
  return out;
}

function authorityOf(request: SeenRequest | undefined): string | undefined {
  return request?.find(([name]) => name === ':authority')?.[1];
}

const FORMS: readonly { readonly name: string; readonly authority: string | undefined; readonly becomes: string }[] = [
  { name: 'localhost', authority: 'localhost', becomes: 'localhost' },
  { name: 'an address', authority: '[::1]:80', becomes: '[::1]:80' },
  { name: 'a percent-encoded path', authority: '%2Frun%2Fapi.sock', becomes: '%2Frun%2Fapi.sock' },
  { name: 'a raw path', authority: '/run/api.sock', becomes: 'localhost' },
  { name: "Istio's cluster name", authority: 'outbound|8080||x.default.svc', becomes: 'localhost' },
  { name: 'a name with slashes', authority: 'extension/ns/auth-server', becomes: 'localhost' },
  { name: 'unix:', authority: 'unix:/run/api.sock', becomes: 'localhost' },
  { name: 'a space', authority: 'a b', becomes: 'localhost' },
  { name: 'not ASCII', authority: 'caf\u00e9', becomes: 'localhost' },
  { name: 'empty', authority: '', becomes: 'localhost' },
  { name: 'missing', authority: undefined, becomes: 'localhost' },
];
for (const { name, authority, becomes } of FORMS) {
  test(`served: the authority ${name}`, async () => {
    const fields = requestFields(authority === undefined ? [] : [{ name: ':authority', value: authority }]);
    const bytes = requestsOnWire([fields, [...fields, { name: 'x', value: 'y' }]]);
    const { seen, failures } = await serve(throughStage(bytes));
    assert.deepEqual(failures, []);
    assert.deepEqual(seen.map(authorityOf), [becomes, becomes]);
  });
}

test('every authority that is left as it is, Node serves; and all others but control characters are mended', async () => {
  for (let code = 0; code < 256; code += 1) {
    const character = String.fromCodePoint(code);
    for (const value of [character, `a${character}`, `${character}a`, `a${character}a`]) {
      const fields = requestFields([{ name: ':authority', value }]);
      const isControl = (code < 0x20 && code !== 9) || code === 0x7f;
      if (mendAuthority(fields) !== undefined || isControl) continue;
      assert.deepEqual((await serve([requestsOnWire([fields])])).seen.map(authorityOf), [value]);
    }
  }
});

const LEFT_ALONE: Readonly<Record<string, readonly HeaderField[]>> = {
  'two authorities': requestFields([
    { name: ':authority', value: 'a|b' },
    { name: ':authority', value: 'a|b' },
  ]),
  'a control character': requestFields([{ name: ':authority', value: 'a\r\nb' }]),
  'CONNECT without an authority': [{ name: ':method', value: 'CONNECT' }],
  trailers: [{ name: 'grpc-status', value: '0' }],
  'a good host in its place': requestFields([{ name: 'host', value: 'localhost' }]),
};
for (const [name, fields] of Object.entries(LEFT_ALONE)) {
  test(`left as it is: ${name}`, () => {
    const bytes = requestsOnWire([fields]);
    assert.deepEqual(Buffer.concat(throughStage(bytes)), bytes);
  });
}

test('a bad host without an authority, padding, priority and CONTINUATION are no obstacle', async () => {
  const block = encodeBlock(
    requestFields([
      { name: 'host', value: 'a|b' },
      { name: 'big', value: 'x'.repeat(20_000) },
    ]),
  );
  const padded = Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 9]), block.subarray(0, 10), Buffer.alloc(3)]);
  const frame = (type: number, flags: number, payload: Buffer): Buffer => {
    const header = Buffer.alloc(9);
    header.writeUIntBE(payload.length, 0, 3);
    header.writeUInt8(type, 3);
    header.writeUInt8(flags, 4);
    header.writeUInt32BE(1, 5);
    return Buffer.concat([header, payload]);
  };
  const bytes = Buffer.concat([
    PREFACE,
    Buffer.from('000000040000000000', 'hex'),
    frame(1, 0x1 | 0x8 | 0x20, padded),
    frame(9, 0, block.subarray(10, 16_000)),
    frame(9, 0x4, block.subarray(16_000)),
  ]);
  for (const sizes of [[bytes.length], [1], [7, 300]]) {
    const { seen, failures } = await serve(throughStage(bytes, sizes));
    assert.deepEqual(failures, []);
    assert.equal(authorityOf(seen[0]), 'localhost');
    assert.equal(seen[0]?.find(([name]) => name === 'big')?.[1].length, 20_000);
  }
});

const text = fc
  .string({ unit: fc.constantFrom(...'abcxyz09-_.~ /|%"'.split('')), maxLength: 40 })
  .map((value) => value.trim());
const authority = fc.oneof(
  fc.constantFrom('localhost', 'outbound|8080||x', '/run/api.sock', 'a/b', 'sds-grpc'),
  text.filter((value) => value !== ''),
);
const request = fc.record({
  ':method': fc.constant('POST'),
  ':path': fc.constantFrom('/a', '/b', '/SpiffeWorkloadAPI/FetchX509SVID'),
  ':authority': authority,
  'x-one': text,
  'x-two': text,
  'grpc-timeout': fc.constantFrom('1S', '200m', '7u'),
});

test('what Node sees of any requests of a real client is what was sent but for the authority, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 }),
      async (requests, sizes) => {
        const bytes = await recordClient(requests);
        const { seen, failures } = await serve(throughStage(bytes, sizes));
        assert.deepEqual(failures, []);
        const expected = requests.map((sent) => ({
          ...sent,
          ':authority': /[^a-z0-9\-_.~%]/.test(sent[':authority']) ? 'localhost' : sent[':authority'],
          ':scheme': 'http',
        }));
        assert.deepEqual(
          seen.map((fields) => Object.fromEntries(fields)),
          expected.map((one) => ({ ...one })),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('of broken bytes Node sees no request that it would not see without the stage, but for the authority', async () => {
  const samples = await Promise.all(
    ['localhost', 'a|b'].map((value) =>
      recordClient(
        [1, 2, 3].map((n) => ({ ':method': 'POST', ':path': '/p', ':authority': value, n: `${n}`, m: 'same' })),
      ),
    ),
  );
  const change = fc.record({
    at: fc.nat(),
    to: fc.integer({ min: 0, max: 255 }),
    kind: fc.constantFrom('set', 'cut', 'add'),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...samples),
      fc.array(change, { minLength: 1, maxLength: 3 }),
      async (sample, changes) => {
        let bytes = Buffer.from(sample);
        for (const { at, to, kind } of changes) {
          const place = PREFACE.length + (at % (bytes.length - PREFACE.length));
          const rest = bytes.subarray(kind === 'add' ? place : place + 1);
          bytes = Buffer.concat([bytes.subarray(0, place), kind === 'cut' ? Buffer.alloc(0) : Buffer.from([to]), rest]);
        }
        const direct = await serve([bytes]);
        const staged = await serve(throughStage(bytes, [37]));
        // In order: each request that is served directly is served; what comes on top had its authority mended.
        const rest = [...direct.seen];
        for (const one of staged.seen) {
          const wasMended = authorityOf(one) === 'localhost';
          if (isDeepStrictEqual(one, rest[0]) || (wasMended && sameButAuthority(one, rest[0]))) rest.shift();
          else assert.ok(wasMended, String(one));
        }
        assert.deepEqual(rest, []);
      },
    ),
    { numRuns: 300 },
  );
});

function sameButAuthority(one: SeenRequest, other: SeenRequest | undefined): boolean {
  const without = (request: SeenRequest): SeenRequest => request.filter(([name]) => name !== ':authority');
  return other !== undefined && isDeepStrictEqual(without(one), without(other));
}

test('any bytes that begin no HTTP/2 pass as they are', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (bytes, sizes) => {
        fc.pre(bytes[0] !== PREFACE[0]);
        assert.deepEqual(Buffer.concat(throughStage(Buffer.from(bytes), sizes)), Buffer.from(bytes));
      },
    ),
  );
});

test('any frames after the preface pass as they are while no authority is mended', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), (tail) => {
      const bytes = Buffer.concat([PREFACE, tail]);
      const out = Buffer.concat(throughStage(bytes, [11]));
      assert.deepEqual(out, bytes.subarray(0, out.length)); // it may wait for the rest of a frame
    }),
    { numRuns: 1000 },
  );
});

test('a block of more than 64 KiB, or of many frames, passes as it is; once blocks are written anew it ends the connection', async () => {
  const bad = requestFields([{ name: ':authority', value: 'a|b' }]);
  const empty = Buffer.from('000000090000000003', 'hex');
  const endless = Buffer.concat([
    Buffer.from('00000101000000000382', 'hex'),
    ...Array.from({ length: 40 }, () => empty),
  ]);
  const start = requestsOnWire([requestFields([{ name: ':authority', value: 'good' }])]);
  assert.deepEqual(Buffer.concat(throughStage(Buffer.concat([start, endless]))), Buffer.concat([start, endless]));
  const mended = Buffer.concat(throughStage(Buffer.concat([requestsOnWire([bad]), endless, endless])));
  assert.equal(mended.subarray(-10).toString('hex'), '00000101040000000380');
  const { seen, failures } = await serve([mended]);
  assert.equal(seen.length, 1);
  assert.match(failures.join(), /^Protocol error/);
  const large = encodeBlock([...bad, { name: 'x', value: 'x'.repeat(70_000) }]);
  const frames = Buffer.concat([start, ...writeHeaderFrames({ flags: 1, streamId: 3 }, Buffer.alloc(0), large)]);
  assert.deepEqual(Buffer.concat(throughStage(frames)), frames);
});

test('a block that unpacks to more than 128 KiB is not written anew', () => {
  const table = Buffer.concat([Buffer.from('400161', 'hex'), Buffer.from('7f8118', 'hex'), Buffer.alloc(3200, 0x61)]);
  const bomb = Buffer.concat([
    encodeBlock(requestFields([{ name: ':authority', value: 'a|b' }])),
    table,
    Buffer.alloc(1000, 0xbe),
  ]);
  const start = requestsOnWire([]);
  const frames = Buffer.concat([start, ...writeHeaderFrames({ flags: 1, streamId: 1 }, Buffer.alloc(0), bomb)]);
  assert.deepEqual(Buffer.concat(throughStage(frames)), frames);
});

test('of a frame that comes byte by byte the bytes are held, not the pieces', async () => {
  const stage = new RequestBytes();
  const [frame] = writeHeaderFrames({ flags: 0, streamId: 1 }, Buffer.alloc(0), Buffer.alloc(16_000));
  stage.take(PREFACE);
  const pieces = [...frame!.subarray(0, 10_000)].map((byte) => {
    const piece = Buffer.alloc(1, byte);
    assert.deepEqual(stage.take(piece), []);
    return new WeakRef(piece);
  });
  await settle(); // a WeakRef holds its target until the end of the turn
  collectGarbage();
  const held = pieces.filter((piece) => piece.deref() !== undefined);
  assert.ok(held.length <= 64, `${held.length} pieces are held`);
});
