import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeMessage, svidgate } from '../../../../src/proto/index.ts';
import { createTestAdmin } from './support.ts';

const MIB = 1024 * 1024;

/** A field of the first sixteen, with this content. */
function field(number: number, content: Uint8Array): Buffer {
  assert.ok(number < 16 && content.length < 128);
  return Buffer.concat([Buffer.from([number * 8 + 2, content.length]), content]);
}

/** One entry that holds this many MiB of empty selectors. */
function entryOfEmptySelectors(mebibytes: number): Buffer {
  const entry = encodeMessage(svidgate.admin.v1.EntryFields, { selectors: [''] });
  const content = Buffer.alloc(mebibytes * MIB, entry);
  const length: number[] = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 128))
    length.push((rest % 128) | (rest >= 128 ? 128 : 0));
  const [tag] = encodeMessage(svidgate.admin.v1.ImportEntriesRequest, { entries: [{}] });
  return Buffer.concat([Buffer.from([tag!, ...length]), content]);
}

const emptyEntry = Buffer.from(encodeMessage(svidgate.admin.v1.ImportEntriesRequest, { entries: [{}] }));
const emptySelector = Buffer.from(encodeMessage(svidgate.admin.v1.ListEntriesRequest, { selectors: [''] }));

const TOO_LARGE = [
  { name: 'listEntries', what: 'a MiB of empty selectors', bytes: Buffer.alloc(MIB, emptySelector) },
  { name: 'getEntry', what: 'a MiB of unknown fields', bytes: Buffer.alloc(MIB, field(15, Buffer.alloc(0))) },
  { name: 'backup', what: 'a MiB', bytes: Buffer.alloc(MIB) },
  { name: 'setBundle', what: '32 MiB', bytes: Buffer.alloc(32 * MIB) },
  { name: 'importEntries', what: '32 MiB of empty entries', bytes: Buffer.alloc(32 * MIB, emptyEntry) },
  { name: 'importEntries', what: '32 MiB of empty selectors', bytes: entryOfEmptySelectors(32) },
] as const;
for (const { name, what, bytes } of TOO_LARGE) {
  test(`${name}: a request of ${what} is refused without being decoded`, async () => {
    await assert.rejects(createTestAdmin().callBytes(name, bytes), { code: 'too_large' });
  });
}

test('what is no message is told by the decoder', async () => {
  for (const bytes of [[0x0a], [0x0a, 0x7f], [0x08], [0x09], [0x0d], [0x0f], [0xff, 0xff]]) {
    await assert.rejects(createTestAdmin().callBytes('importEntries', Buffer.from(bytes)), { code: 'invalid_request' });
  }
});
