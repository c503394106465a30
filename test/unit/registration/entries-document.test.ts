import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatMistake } from '../../../src/config/index.ts';
import { parseEntries } from '../../../src/registration/index.ts';
import { parseTrustDomain } from '../../../src/spiffe/index.ts';

const trustDomain = parseTrustDomain('td.test');

function parse(text: string): ReturnType<typeof parseEntries> {
  return parseEntries({ text, file: 'e.yaml', trustDomain });
}

function mistakesOf(text: string): string[] {
  return (parse(text).mistakes ?? []).map(formatMistake);
}

test('entries are sorted by id, with their selectors sorted and without duplicates', () => {
  const text = `
entries:
  - entry_id: b
    spiffe_id: spiffe://td.test/orders
    selectors: ["unix:uid:1001", "unix:path:/usr/bin/envoy", "unix:uid:1001"]
    x509_svid_ttl: 30m
  - entry_id: a
    spiffe_id: spiffe://td.test/web/v2
    selectors: ["unix:gid:5"]
`;
  assert.deepEqual(parse(text).value, [
    { entryId: 'a', spiffeId: 'spiffe://td.test/web/v2', selectors: ['unix:gid:5'] },
    {
      entryId: 'b',
      spiffeId: 'spiffe://td.test/orders',
      selectors: ['unix:path:/usr/bin/envoy', 'unix:uid:1001'],
      x509SvidTtlMs: 1_800_000,
    },
  ]);
});

test('an id that is left out is made from SPIFFE ID and selectors, in whatever order they stand', () => {
  const one = parse('entries: [{spiffe_id: "spiffe://td.test/a", selectors: ["unix:uid:1", "unix:gid:2"]}]\n').value;
  const other = parse('entries: [{spiffe_id: "spiffe://td.test/a", selectors: ["unix:gid:2", "unix:uid:1"]}]\n').value;
  assert.match(one?.[0]?.entryId ?? '', /^[0-9a-f]{32}$/);
  assert.deepEqual(one, other);
});

test('each mistake in an entry is told with its place', () => {
  const entry = (text: string): string => `entries:\n  - ${text}\n`;
  const right = 'spiffe_id: spiffe://td.test/a, selectors: ["unix:uid:1"]';
  const cases: readonly (readonly [text: string, ...mistakes: string[]])[] = [
    ['', 'e.yaml:1:1: the document is empty: expected a mapping with keys such as `entries`'],
    ['entries:\n', 'e.yaml:1:1: `entries` is empty: expected a list of entries'],
    ['entires: []\n', 'e.yaml:1:1: missing key `entries`: expected a list of entries', 'e.yaml:1:1: unknown key `entires`: did you mean `entries`?'],
    [entry('text'), 'e.yaml:2:5: `entries[0]` is "text": expected a mapping with keys such as `entry_id`'],
    [entry('{selectors: ["a:b"]}'), 'e.yaml:2:5: missing key `entries[0].spiffe_id`: expected a SPIFFE ID such as spiffe://td.test/orders'],
    [entry('{spiffe_id: spiffe://td.test/a}'), 'e.yaml:2:5: missing key `entries[0].selectors`: expected a list of at least one selector, such as unix:uid:1001'],
    [entry('{spiffe_id: spiffe://td.test/a, selectors: []}'), 'e.yaml:2:48: `entries[0].selectors` is an empty list: expected a list of at least one selector, such as unix:uid:1001'],
    [entry('{spiffe_id: spiffe://td.test/a, selectors: unix:uid:1}'), 'e.yaml:2:48: `entries[0].selectors` is "unix:uid:1": expected a list of at least one selector, such as unix:uid:1001'],
    [entry('{spiffe_id: spiffe://td.test/a, selectors: [uid]}'), 'e.yaml:2:49: `entries[0].selectors[0]` is "uid": a selector is written type:value, such as unix:uid:1001'],
    [entry('{spiffe_id: spiffe://td.test/a, selectors: [5]}'), 'e.yaml:2:49: `entries[0].selectors[0]` is the number 5: expected a selector such as unix:uid:1001'],
    [entry('{spiffe_id: td.test/a, selectors: ["a:b"]}'), 'e.yaml:2:17: `entries[0].spiffe_id` is "td.test/a": scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"'],
    [entry('{spiffe_id: spiffe://other.test/a, selectors: ["a:b"]}'), 'e.yaml:2:17: `entries[0].spiffe_id` is "spiffe://other.test/a": expected an ID of the trust domain td.test'],
    [entry('{spiffe_id: spiffe://td.test, selectors: ["a:b"]}'), 'e.yaml:2:17: `entries[0].spiffe_id` is "spiffe://td.test": expected a path: without one it is the trust domain\'s own ID'],
    [entry(`{${right}, entry_id: "a b"}`), 'e.yaml:2:74: `entries[0].entry_id` is "a b": an entry id has 1 to 255 letters, digits, `.`, `-` or `_`'],
    [entry(`{${right}, entry_id: ${'x'.repeat(256)}}`), `e.yaml:2:74: \`entries[0].entry_id\` is "${'x'.repeat(60)}…": an entry id has 1 to 255 letters, digits, \`.\`, \`-\` or \`_\``],
    [entry(`{${right}, x509_svid_ttl: 0s}`), 'e.yaml:2:79: `entries[0].x509_svid_ttl` is "0s": expected a duration from 1s to 87600h, such as 1h30m'],
    [entry(`{${right}, color: red}`), 'e.yaml:2:64: unknown key `entries[0].color`: the keys here are `entry_id`, `spiffe_id`, `parent_id`, `selectors`, `x509_svid_ttl`, `jwt_svid_ttl`, `hint`, `dns_names`, `federates_with`, `expires_at`, `jwt_svid_include_jti`, `admin`, `downstream`, `store_svid`'],
    [entry(`{${right}}\n  - {spiffe_id: spiffe://td.test/a, selectors: ["unix:uid:1", "unix:uid:1"]}`), 'e.yaml:3:5: `entries[1]` gives the same SPIFFE ID for the same selectors as `entries[0]`: keep one of them'],
    [entry(`{entry_id: x, ${right}}\n  - {entry_id: x, spiffe_id: spiffe://td.test/b, selectors: ["unix:uid:1"]}`), 'e.yaml:3:16: `entries[1].entry_id` is that of `entries[0]` too: give each its own'],
  ]; // prettier-ignore
  for (const [text, ...mistakes] of cases) assert.deepEqual(mistakesOf(text), mistakes, text);
});

test('duplicates are told beside the mistakes of other entries', () => {
  const text = `entries:
  - {spiffe_id: spiffe://td.test/a, selectors: ["unix:uid:1"]}
  - {spiffe_id: nonsense, selectors: ["unix:uid:1"]}
  - {spiffe_id: spiffe://td.test/a, selectors: ["unix:uid:1"]}
`;
  assert.deepEqual(mistakesOf(text), [
    'e.yaml:3:17: `entries[1].spiffe_id` is "nonsense": scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"',
    'e.yaml:4:5: `entries[2]` gives the same SPIFFE ID for the same selectors as `entries[0]`: keep one of them',
  ]);
});

const anyKey = fc.constantFrom(
  'entry_id', 'id', 'spiffe_id', 'parent_id', 'selectors', 'x509_svid_ttl', 'jwt_svid_ttl', 'hint', 'dns_names',
  'federates_with', 'expires_at', 'entryExpiry', 'jwt_svid_include_jti', 'additional_attributes', 'admin', 'downstream',
  'store_svid', 'created_at', '__proto__', 'constructor',
); // prettier-ignore
const anyValue = fc.constantFrom<unknown>(
  'spiffe://td.test/a', 'spiffe://td.test/b', { trust_domain: 'td.test', path: '/c' }, 'unix:uid:1', ['unix:uid:1'],
  [{ type: 'unix', value: 'uid:2' }], ['a.test'], ['*.test', 'b.test'], [], null, 0, 5, -1, 1e21, '30m', '2027-01-31T12:00:00Z',
  true, false, '', {}, { jwt_svid_include_jti: true },
); // prettier-ignore
const anyEntry = fc
  .tuple(
    fc.option(fc.constant({ spiffe_id: 'spiffe://td.test/a', selectors: ['unix:uid:1'] }), { nil: {} }),
    fc.dictionary(anyKey, anyValue, { maxKeys: 5 }),
  )
  .map(([right, any]) => ({ ...right, ...any }));
const anyDocument = fc.record({ entries: fc.array(fc.oneof(anyEntry, anyValue), { maxLength: 4 }) });

test('any text gives entries or mistakes', () => {
  const text = fc.oneof(
    fc.string(),
    anyDocument.map((plain) => JSON.stringify(plain)),
  );
  fc.assert(
    fc.property(text, (source) => {
      const parsed = parse(source);
      if (parsed.mistakes !== undefined) return parsed.mistakes.length > 0;
      return parsed.value.every(
        ({ spiffeId, selectors, entryId }) =>
          spiffeId.startsWith('spiffe://td.test/') && selectors.length > 0 && /^[\w.-]{1,255}$/.test(entryId),
      );
    }),
    { numRuns: 500 },
  );
});

test('JSON means the same to both of its readers', () => {
  fc.assert(
    fc.property(anyDocument, (plain) => {
      const json = JSON.stringify(plain);
      const quick = parse(json);
      const asYaml = parse(`${json}\n# a comment makes it YAML alone`);
      assert.deepEqual(quick.value, asYaml.value);
      assert.deepEqual(quick.mistakes, asYaml.mistakes);
    }),
    { numRuns: 500 },
  );
});

test('a text too large for the YAML parser is taken as JSON alone', () => {
  const right = { spiffe_id: 'spiffe://td.test/a', selectors: ['unix:uid:1'] };
  const padded = (entries: readonly object[]): string => JSON.stringify({ entries }) + ' '.repeat(16 * 1024 * 1024);
  assert.equal(parse(padded([right])).value?.length, 1);
  assert.deepEqual(mistakesOf(padded([right, { ...right, hint: 5, entry_id: 'x' }])), [
    'e.yaml:1:1: `entries[1].hint` is the number 5: expected a hint',
  ]);
  assert.deepEqual(mistakesOf(`${padded([right])}# no JSON`), [
    'e.yaml:1:1: the file is not JSON and has more than 16777216 characters: keep it smaller, or write it as JSON',
  ]);
});

test('parents in a circle are told with their places', () => {
  const entry = (name: string, parent: string): string =>
    `  - {spiffe_id: spiffe://td.test/${name}, parent_id: spiffe://td.test/${parent}, selectors: ["unix:uid:1"]}\n`;
  assert.deepEqual(mistakesOf(`entries:\n${entry('a', 'b')}${entry('b', 'a')}${entry('c', 'a')}`), [
    'e.yaml:2:48: `entries[0].parent_id` leads back to the entry itself: parents form no circle',
    'e.yaml:3:48: `entries[1].parent_id` leads back to the entry itself: parents form no circle',
  ]);
});

test('the same SPIFFE ID and selectors under two parents are two entries', () => {
  const entry = (parent: string): string => `  - {spiffe_id: spiffe://td.test/a, selectors: ["unix:uid:1"]${parent}}\n`;
  const agents = ['x', 'y'].map((name) => entry(`, parent_id: spiffe://td.test/spire/agent/${name}`)).join('');
  assert.equal(parse(`entries:\n${entry('')}${agents}`).value?.length, 3);
  assert.deepEqual(mistakesOf(`entries:\n${entry('')}${entry(', parent_id: spiffe://td.test/spire/server')}`), [
    'e.yaml:3:5: `entries[1]` gives the same SPIFFE ID for the same selectors as `entries[0]`: keep one of them',
  ]);
});

test('the reference page lists every field and no other', async () => {
  const page = await readFile(new URL('../../../docs/reference/entries.md', import.meta.url), 'utf8');
  const listed = [...page.matchAll(/^\| `(\w+)`(?= +\|[^|]+\|[^|]+\|[^|]+\|$)/gm)].map(([, key]) => key);
  const [{ remedy } = { remedy: '' }] = parse('entries: [{zzzzzzzz: 1}]\n').mistakes?.slice(-1) ?? [];
  const known = [...remedy.matchAll(/`(\w+)`/g)].map(([, key]) => key);
  assert.deepEqual(new Set(listed), new Set(known));
});

test('the example of the reference page is right', async () => {
  const page = await readFile(new URL('../../../docs/reference/configuration.md', import.meta.url), 'utf8');
  const text = /```yaml\n(# entries\.yaml\n.*?)```/s.exec(page)?.[1] ?? '';
  const trustDomain = parseTrustDomain('prod.acme.test');
  assert.equal(parseEntries({ text, file: 'e.yaml', trustDomain }).value?.length, 1);
});
