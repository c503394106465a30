import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readXfcc, type XfccElement } from '../../../src/peer/xfcc.ts';

const EMPTY: XfccElement = { by: [], hash: '', cert: '', chain: '', subject: '', uris: [], dnsNames: [] };

const READ: readonly { readonly name: string; readonly text: string; readonly elements: readonly XfccElement[] }[] = [
  {
    name: 'what Envoy 1.40 writes for a client with two URIs and a DNS name',
    text: 'By=spiffe://td/srv;Hash=ab12;Subject="CN=cli";URI=spiffe://td/evil;URI=spiffe://td/second;DNS=c.example',
    elements: [
      {
        ...EMPTY,
        by: ['spiffe://td/srv'],
        hash: 'ab12',
        subject: 'CN=cli',
        uris: ['spiffe://td/evil', 'spiffe://td/second'],
        dnsNames: ['c.example'],
      },
    ],
  },
  {
    name: 'two hops, the nearer one last',
    text: 'By=spiffe://td/a;URI=spiffe://td/client,By=spiffe://td/b;URI=spiffe://td/a',
    elements: [
      { ...EMPTY, by: ['spiffe://td/a'], uris: ['spiffe://td/client'] },
      { ...EMPTY, by: ['spiffe://td/b'], uris: ['spiffe://td/a'] },
    ],
  },
  {
    name: 'a subject with separators and quotes',
    text: 'Subject="O=\\"A, B\\"; C,CN=x=y";URI=u',
    elements: [{ ...EMPTY, subject: 'O="A, B"; C,CN=x=y', uris: ['u'] }],
  },
  {
    name: 'a subject that ends in a backslash does not swallow its closing quote',
    text: 'Subject="CN=a\\\\";URI=u,By=b',
    elements: [
      { ...EMPTY, subject: 'CN=a\\\\', uris: ['u'] },
      { ...EMPTY, by: ['b'] },
    ],
  },
  {
    name: 'other escapes of RFC 2253 stay as they are',
    text: 'Subject="CN=a\\,b\\0A"',
    elements: [{ ...EMPTY, subject: 'CN=a\\,b\\0A' }],
  },
  {
    name: 'keys in any case',
    text: 'bY=b;uri=u;dns=d',
    elements: [{ ...EMPTY, by: ['b'], uris: ['u'], dnsNames: ['d'] }],
  },
  { name: 'empty values', text: 'By=;Subject="";URI=', elements: [EMPTY] },
  {
    name: 'spaces between elements',
    text: 'By=a , By="b" ,\tBy=c',
    elements: ['a', 'b', 'c'].map((by) => ({ ...EMPTY, by: [by] })),
  },
  { name: 'a key of a later Envoy', text: 'By=a;Issuer="x";URI=u', elements: [{ ...EMPTY, by: ['a'], uris: ['u'] }] },
];

for (const { name, text, elements } of READ) {
  test(`x-forwarded-client-cert is read: ${name}`, () => {
    assert.deepEqual(readXfcc(text), elements);
  });
}

const REFUSED: readonly { readonly name: string; readonly text: string }[] = [
  { name: 'nothing', text: '' },
  { name: 'an empty element', text: 'By=a,,By=b' },
  { name: 'a comma at the end', text: 'By=a,' },
  { name: 'a semicolon at the end', text: 'By=a;' },
  { name: 'no key', text: '=a' },
  { name: 'no value', text: 'By' },
  { name: 'an open quote', text: 'Subject="CN=a' },
  { name: 'a quote that its last backslash escapes', text: 'Subject="CN=a\\"' },
  { name: 'text after a quote', text: 'Subject="a"b;URI=u' },
  { name: 'a quote within a plain value', text: 'URI=a"b' },
  { name: 'two hashes', text: 'Hash=a;Hash=b' },
  { name: 'two subjects, in keys of different case', text: 'Subject="a";SUBJECT="b"' },
  { name: 'two certificates', text: 'Cert="a";Cert="a"' },
  { name: 'too many elements', text: Array.from({ length: 17 }, () => 'By=a').join(',') },
  { name: 'too many pairs', text: Array.from({ length: 129 }, () => 'URI=a').join(';') },
  { name: 'too long', text: `Cert="${'a'.repeat(256 * 1024)}"` },
];

for (const { name, text } of REFUSED) {
  test(`x-forwarded-client-cert is refused as a whole: ${name}`, () => {
    assert.equal(readXfcc(text), undefined);
  });
}

test('reading never throws and takes linear time, whatever the text is', () => {
  const pieces = fc.constantFrom('By=', 'Cert="', '"', '\\', '\\"', ',', ';', '=', ' ', 'a', 'URI=', '\n', '\u{1F600}');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(pieces).map((list) => list.join('')),
      ),
      (text) => {
        const elements = readXfcc(text);
        assert.ok(elements === undefined || elements.length > 0);
      },
    ),
    { numRuns: 2000 },
  );
  const startedAt = performance.now();
  for (const text of [
    'Cert="'.padEnd(250_000, '\\"'),
    'By=a'.padEnd(250_000, ' '),
    'URI="a" '.padEnd(250_000, '\t;'),
  ]) {
    readXfcc(text);
  }
  assert.ok(performance.now() - startedAt < 2000);
});

/** Writes elements as the grammar has it, with quotes wherever `quotes` says so or they are needed. */
function format(elements: readonly XfccElement[], quotes: () => boolean): string {
  const write = (key: string, value: string): string => {
    const needed = /[",;]|^\s|\s$/.test(value);
    return needed || quotes() ? `${key}="${value.split('"').join('\\"')}"` : `${key}=${value}`;
  };
  return elements
    .map(({ by, hash, cert, chain, subject, uris, dnsNames }) =>
      [
        ...by.map((value) => write('By', value)),
        write('Hash', hash),
        write('Cert', cert),
        write('Chain', chain),
        write('Subject', subject),
        ...uris.map((value) => write('URI', value)),
        ...dnsNames.map((value) => write('DNS', value)),
      ].join(';'),
    )
    .join(',');
}

test('what another implementation writes is read as it was', () => {
  // A backslash stands before another character only, as in RFC 2253, never before a quote.
  const character = fc.constantFrom('a', 'B', ',', ';', '=', '"', ' ', '/', ':', '%0A', '\\,', '\\\\', 'ü', '\\;');
  const value = fc.array(character, { minLength: 1, maxLength: 8 }).map((parts) => parts.join(''));
  const element = fc.record(
    {
      by: fc.array(value, { maxLength: 2 }),
      hash: value,
      cert: value,
      chain: value,
      subject: value,
      uris: fc.array(value, { maxLength: 3 }),
      dnsNames: fc.array(value, { maxLength: 3 }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(
      fc.array(element, { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.boolean()),
      (elements, stream) => {
        const quotes = (): boolean => stream.next().value as boolean;
        assert.deepEqual(readXfcc(format(elements, quotes)), elements);
      },
    ),
    { numRuns: 1000 },
  );
});
