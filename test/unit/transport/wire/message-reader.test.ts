import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frameMessage, MessageReader } from '../../../../src/transport/wire/message-reader.ts';

const MAX = 1000;

test('messages come out as they went in, however they are cut', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  const sizes = fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(messages, sizes, (sent, cuts) => {
      const reader = new MessageReader(MAX);
      const wire = Buffer.concat(sent.map(frameMessage));
      const seen: Buffer[] = [];
      for (let at = 0, cut = 0; at < wire.length; cut += 1) {
        const size = cuts[cut % cuts.length] ?? 1;
        for (const { flag, bytes } of reader.take(wire.subarray(at, at + size))) {
          assert.equal(flag, 0);
          seen.push(Buffer.from(bytes));
        }
        assert.ok(reader.heldBytes <= 1024, 'more room than twice what came, or 1 KiB');
        at += size;
      }
      assert.deepEqual(
        seen,
        sent.map((message) => Buffer.from(message)),
      );
      assert.equal(reader.isWithin, false);
      assert.equal(reader.heldBytes, 0);
    }),
  );
});

test('a message that claims more than it sends has no more room than twice what it sent', () => {
  const reader = new MessageReader(100 * 2 ** 20);
  const prefix = Buffer.from([0, 6, 0, 0, 0]);
  assert.deepEqual(reader.take(prefix), []);
  assert.equal(reader.heldBytes, 0);
  assert.deepEqual(reader.take(Buffer.alloc(3000)), []);
  assert.equal(reader.heldBytes, 6000);
  assert.equal(reader.isWithin, true);
});

test('a message that is too large is refused by its prefix', () => {
  for (const cut of [1, 3, 5]) {
    const reader = new MessageReader(MAX);
    const wire = frameMessage(new Uint8Array(MAX + 1));
    reader.take(wire.subarray(0, cut - 1));
    assert.throws(() => reader.take(wire.subarray(cut - 1, 5)), { code: 'too_large' });
  }
  assert.equal(new MessageReader(MAX).take(frameMessage(new Uint8Array(MAX))).length, 1);
});
