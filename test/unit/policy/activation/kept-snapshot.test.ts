import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decodeSnapshot, encodeSnapshot } from '../../../../src/policy/activation/kept-snapshot.ts';
import type { PolicySnapshot } from '../../../../src/policy/index.ts';

const texts = fc.dictionary(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ unit: 'grapheme' }), {
  noNullPrototype: true,
});
const snapshots: fc.Arbitrary<PolicySnapshot> = fc
  .record(
    {
      modules: texts,
      data: texts,
      tests: texts,
      digest: fc.stringMatching(/^[0-9a-f]{64}$/),
      revision: fc.string(),
      signedBy: fc.string(),
      verifiedBy: fc.string(),
      wasm: fc.record(
        { bytes: fc.uint8Array().map((bytes) => new Uint8Array(bytes)), entrypoints: fc.array(fc.string()) },
        { noNullPrototype: true },
      ),
    },
    { requiredKeys: ['modules', 'data', 'tests', 'digest'], noNullPrototype: true },
  )
  .map(({ modules, data, ...rest }) => ({ files: { modules, data }, ...rest }));

test('any snapshot is given back as it was', () => {
  fc.assert(
    fc.property(snapshots, (snapshot) => {
      assert.deepEqual(decodeSnapshot(snapshot.digest, encodeSnapshot(snapshot)), snapshot);
    }),
  );
});

test('bytes that were changed anywhere, cut off or lengthened are none', () => {
  fc.assert(
    fc.property(snapshots, fc.nat(), fc.integer({ min: 1, max: 255 }), (snapshot, place, change) => {
      const bytes = Buffer.from(encodeSnapshot(snapshot));
      const at = place % bytes.byteLength;
      assert.equal(decodeSnapshot(snapshot.digest, bytes.subarray(0, at)), undefined);
      assert.equal(decodeSnapshot(snapshot.digest, Buffer.concat([bytes, Buffer.of(change)])), undefined);
      bytes[at] = (bytes[at] ?? 0) ^ change;
      assert.equal(decodeSnapshot(snapshot.digest, bytes), undefined);
    }),
  );
});

test('a file under the name of another digest is none', () => {
  const snapshot = { files: { modules: { 'a.rego': 'package a' }, data: {} }, tests: {}, digest: 'aa' };
  assert.equal(decodeSnapshot('ab', encodeSnapshot(snapshot)), undefined);
});
