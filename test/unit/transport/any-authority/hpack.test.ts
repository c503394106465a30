import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBlock } from '../../../../src/transport/any-authority/decode-block.ts';
import { encodeBlock } from '../../../../src/transport/any-authority/encode-block.ts';
import { HeaderTable } from '../../../../src/transport/any-authority/header-table.ts';
import { decodeHuffman } from '../../../../src/transport/any-authority/huffman.ts';

const PLAIN = [
  '828684410f7777772e6578616d706c652e636f6d',
  '828684be58086e6f2d6361636865',
  '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
];
const HUFFMAN = [
  '828684418cf1e3c2e5f23a6ba0ab90f4ff',
  '828684be5886a8eb10649cbf',
  '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
];
const REQUESTS = [
  ':method: GET|:scheme: http|:path: /|:authority: www.example.com',
  ':method: GET|:scheme: http|:path: /|:authority: www.example.com|cache-control: no-cache',
  ':method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|custom-key: custom-value',
];

function textOf(fields: ReturnType<typeof decodeBlock>): string | undefined {
  return fields?.map(({ name, value }) => `${name}: ${value}`).join('|');
}

for (const [name, blocks] of Object.entries({ 'RFC 7541 C.3': PLAIN, 'RFC 7541 C.4': HUFFMAN })) {
  test(`${name}: three requests on one connection`, () => {
    const table = new HeaderTable(4096);
    const seen = blocks.map((block) => textOf(decodeBlock(Buffer.from(block, 'hex'), table)));
    assert.deepEqual(seen, REQUESTS);
  });
}

test('RFC 7541 C.5: a table of 256 bytes drops its oldest entries', () => {
  const table = new HeaderTable(256);
  const blocks = [
    '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d',
    '4803333037c1c0bf',
  ];
  const [first, second] = blocks.map((block) => textOf(decodeBlock(Buffer.from(block, 'hex'), table)));
  assert.match(first ?? '', /^:status: 302\|cache-control: private\|date: Mon, .*\|location: https:/);
  assert.match(second ?? '', /^:status: 307\|cache-control: private\|date: Mon, .*\|location: https:/);
  assert.equal(table.at(66), undefined);
});

const BROKEN: Readonly<Record<string, string>> = {
  'index 0': '80',
  'an index beyond the tables': 'be',
  'a name index beyond the tables': '7f000161',
  'an integer that ends early': 'ff',
  'an integer of too many bytes': 'ffffffffffffff7f',
  'an integer that is too large': 'ff80808001',
  'a literal without a value': '000161',
  'a text longer than the block': '0001610561',
  'a text of a length that is not there': '0001617f',
  'Huffman padding of zeros': '0001618118',
  'Huffman padding of a whole byte': '000161821fff',
  'the end-of-string symbol': '00016184ffffffff',
  'a table larger than announced': '3fe21f',
  'a change of the table between fields': '8220',
};
for (const [name, block] of Object.entries(BROKEN)) {
  test(`no header block: ${name}`, () => {
    assert.equal(decodeBlock(Buffer.from(block, 'hex'), new HeaderTable(4096)), undefined);
  });
}

test('a table that was made smaller forgets, and one made larger again does not remember', () => {
  const table = new HeaderTable(4096);
  decodeBlock(Buffer.from(PLAIN[0]!, 'hex'), table);
  assert.equal(table.at(62)?.value, 'www.example.com');
  decodeBlock(Buffer.from('203fe11f82', 'hex'), table);
  assert.equal(table.at(62), undefined);
});

test('a field larger than the table empties it', () => {
  const table = new HeaderTable(100);
  table.add({ name: 'a', value: 'b' });
  table.add({ name: 'a', value: 'x'.repeat(100) });
  assert.equal(table.at(62), undefined);
});

test('every Huffman code stands for its own byte', () => {
  assert.equal(decodeHuffman(Buffer.from('f1e3c2e5f23a6ba0ab90f4ff', 'hex')), 'www.example.com');
  assert.equal(decodeHuffman(Buffer.alloc(0)), '');
});

const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCodePoint(code)) });

test('what is encoded decodes to the same, and leaves the table alone', () => {
  const field = fc.record({ name: latin1, value: latin1, neverIndexed: fc.boolean() });
  fc.assert(
    fc.property(fc.array(field), (fields) => {
      const table = new HeaderTable(4096);
      const decoded = decodeBlock(encodeBlock(fields), table);
      assert.deepEqual(
        decoded?.map(({ name, value, neverIndexed = false }) => ({ name, value, neverIndexed })),
        fields.map((field) => ({ ...field })),
      );
      assert.equal(table.at(62), undefined);
    }),
  );
});

test('any bytes decode or do not, and neither throw nor run on', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      decodeBlock(Buffer.from(bytes), new HeaderTable(4096));
    }),
    { numRuns: 2000 },
  );
});
