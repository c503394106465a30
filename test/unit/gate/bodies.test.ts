import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { parsedBody } from '../../../src/gate/body/parsed-body.ts';

/** The JSON text, or `refused`. test/conformance/go-bodies.test.ts compares what is read with Go. */
function read(type: string, body: Buffer | string): string {
  const text = typeof body === 'string' ? body : '';
  const rawBody = typeof body === 'string' ? Buffer.alloc(0) : body;
  try {
    return parsedBody({ headers: { 'content-type': type }, body: text, rawBody }, []).json;
  } catch (error) {
    assert.ok(error instanceof SvidgateError && error.code === 'invalid_request', String(error));
    return 'refused';
  }
}

const TYPES = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=b'];

test('a body of any kind is JSON text, or refused', () => {
  const token = fc.constantFrom(
    '--b',
    '\r\n',
    'Content-Disposition: form-data; name="',
    '"',
    '{',
    '}',
    ':',
    '\\u',
    'd800',
    '&',
    '=',
    '%',
  );
  const soup = fc.array(fc.oneof(token, fc.string()), { maxLength: 12 }).map((parts) => parts.join(''));
  const bytes = fc.uint8Array({ maxLength: 64 }).map((array) => Buffer.from(array));
  const body = fc.oneof(
    soup,
    soup.map((text) => Buffer.from(text)),
    bytes,
  );
  fc.assert(
    fc.property(fc.constantFrom(...TYPES), body, (type, drawn) => {
      const json = read(type, drawn);
      if (json !== 'refused') JSON.parse(json);
      assert.equal(json.isWellFormed(), true);
    }),
    { numRuns: 3000 },
  );
});

test('a content type of any kind is read or refused', () => {
  const token = fc.constantFrom(
    'multipart/form-data',
    ';',
    ' ',
    'boundary',
    '=',
    '"',
    '\\',
    'b',
    '*',
    ',',
    '\u00a0',
    '\ufeff',
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 12 }), (tokens) => {
      read(`multipart/form-data${tokens.join('')}`, '--b--');
    }),
    { numRuns: 2000 },
  );
});

const SIZE = 4_000_000;
const hostile: readonly { readonly what: string; readonly type: string; readonly body: string }[] = [
  { what: 'brackets', type: TYPES[0]!, body: '['.repeat(SIZE) },
  { what: 'escapes', type: TYPES[0]!, body: `"${'\\ud800'.repeat(SIZE / 6)}"` },
  { what: 'digits', type: TYPES[0]!, body: '1'.repeat(SIZE) },
  { what: 'spaces', type: TYPES[0]!, body: ' '.repeat(SIZE) },
  { what: 'an open text', type: TYPES[0]!, body: `"${'x'.repeat(SIZE)}` },
  { what: 'ampersands', type: TYPES[1]!, body: '&'.repeat(SIZE) },
  { what: 'parameters', type: TYPES[1]!, body: 'a&'.repeat(SIZE / 2) },
  { what: 'percents', type: TYPES[1]!, body: '%41'.repeat(SIZE / 3) },
  { what: 'parts', type: TYPES[2]!, body: `${'--b\r\n\r\n\r\n'.repeat(SIZE / 9)}--b--` },
  { what: 'headers', type: TYPES[2]!, body: `--b\r\n${'a: b\r\n'.repeat(SIZE / 6)}` },
  { what: 'spaces in a header', type: TYPES[2]!, body: `--b\r\na:${' '.repeat(SIZE)}x\r\n\r\n\r\n--b--` },
  {
    what: 'lines that continue a header',
    type: TYPES[2]!,
    body: `--b\r\na:${'\r\n x'.repeat(SIZE / 4)}\r\n\r\n\r\n--b--`,
  },
  { what: 'boundaries that are none', type: TYPES[2]!, body: `--b\r\n\r\n${'\r\n--bx'.repeat(SIZE / 6)}` },
  { what: 'lines before the first part', type: TYPES[2]!, body: '\n'.repeat(SIZE) },
  { what: 'spaces in the type', type: `multipart/form-data;${' '.repeat(SIZE)}x`, body: 'x' },
  { what: 'quotes in the type', type: `multipart/form-data; a="${'\\"'.repeat(SIZE / 2)}`, body: 'x' },
  { what: 'parameters of the type', type: `multipart/form-data${';a=b'.repeat(SIZE / 4)}`, body: 'x' },
];
for (const { what, type, body } of hostile) {
  test(`4 MB of ${what} take time linear in them`, () => {
    const startedAt = performance.now();
    read(type, body);
    assert.ok(performance.now() - startedAt < 3000, `${performance.now() - startedAt} ms`);
  });
}
