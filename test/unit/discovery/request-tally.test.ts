import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { tallyField } from '../../../src/discovery/request-tally.ts';
import { decodeMessage, DeltaDiscoveryRequest, encodeMessage } from '../../../src/proto/index.ts';

test('a field is counted as decoding counts it', () => {
  const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 300 }), { maxLength: 40 });
  const message = fc.record({
    node: fc.record({ id: fc.string(), cluster: fc.string() }),
    typeUrl: fc.string(),
    resourceNamesSubscribe: texts,
    resourceNamesUnsubscribe: texts,
    responseNonce: fc.string(),
    errorDetail: fc.record({ code: fc.integer(), message: fc.string() }),
  });
  fc.assert(
    fc.property(message, (init) => {
      const bytes = encodeMessage(DeltaDiscoveryRequest, init);
      for (const [field, names] of [
        [3, init.resourceNamesSubscribe],
        [4, init.resourceNamesUnsubscribe],
      ] as const) {
        const lengths = names.map((name) => Buffer.byteLength(name.toWellFormed()));
        assert.deepEqual(tallyField(bytes, field), {
          count: names.length,
          longest: Math.max(0, ...lengths),
          total: lengths.reduce((sum, length) => sum + length, 0),
        });
      }
    }),
  );
});

test('of bytes that decode, whatever they are, no name is left out', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const { count } = tallyField(bytes, 3);
      let names: readonly string[];
      try {
        names = decodeMessage(DeltaDiscoveryRequest, bytes, 64).resourceNamesSubscribe;
      } catch {
        return;
      }
      assert.ok(count >= names.length, `${count} of ${names.length}`);
    }),
    { numRuns: 20_000 },
  );
});

test('a megabyte of the shortest fields is counted in some milliseconds', () => {
  const bytes = Buffer.alloc(1024 * 1024, Buffer.from([0x1a, 0x00]));
  const beganAt = performance.now();
  assert.equal(tallyField(bytes, 3).count, 512 * 1024);
  const ms = performance.now() - beganAt;
  assert.ok(ms < 250, `${ms} ms`);
});
