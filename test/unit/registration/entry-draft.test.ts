import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDraft, type DraftContext } from '../../../src/registration/entry-draft.ts';
import { parseEntries } from '../../../src/registration/index.ts';
import { formatDraft } from '../../../src/registration/format-draft.ts';
import { parseTrustDomain, type RegistrationEntry } from '../../../src/spiffe/index.ts';

const trustDomain = parseTrustDomain('td.test');
const context: DraftContext = { trustDomain, path: [], newId: () => 'made' };
const right = { spiffe_id: 'spiffe://td.test/a', selectors: ['unix:uid:1'] };

function entryOf(draft: unknown): RegistrationEntry {
  const { entry, mistakes } = checkDraft(draft, context);
  assert.ok(entry !== undefined, JSON.stringify(mistakes));
  return entry;
}

function refusalsOf(draft: unknown): string[] {
  return (checkDraft(draft, context).mistakes ?? []).map(({ message, remedy }) => `${message}: ${remedy}`);
}

const bare = { entryId: 'made', spiffeId: 'spiffe://td.test/a', selectors: ['unix:uid:1'] };

test('every field is taken in each of its forms', () => {
  const noon = Date.UTC(2027, 0, 31, 12);
  for (const [fields, expected] of [
    [{}, {}],
    [{ entry_id: 'x-1._' }, { entryId: 'x-1._' }],
    [{ id: 'x' }, { entryId: 'x' }],
    [{ spiffe_id: { trust_domain: 'td.test', path: '/b/c' } }, { spiffeId: 'spiffe://td.test/b/c' }],
    [{ parent_id: 'spiffe://td.test/spire/server' }, { parentId: 'spiffe://td.test/spire/server' }],
    [
      { parent_id: { trust_domain: 'td.test', path: '/spire/agent/join_token/x' } },
      { parentId: 'spiffe://td.test/spire/agent/join_token/x' },
    ],
    [
      { selectors: [{ type: 'unix', value: 'uid:2' }, 'k8s:ns:x', 'unix:uid:2'] },
      { selectors: ['k8s:ns:x', 'unix:uid:2'] },
    ],
    [
      { x509_svid_ttl: '30m', jwt_svid_ttl: '90s' },
      { x509SvidTtlMs: 1_800_000, jwtSvidTtlMs: 90_000 },
    ],
    [
      { x509_svid_ttl: 3600, jwt_svid_ttl: '300' },
      { x509SvidTtlMs: 3_600_000, jwtSvidTtlMs: 300_000 },
    ],
    [{ x509_svid_ttl: 3600n }, { x509SvidTtlMs: 3_600_000 }],
    [
      { x509_svid_ttl: '87600h', jwt_svid_ttl: '1s' },
      { x509SvidTtlMs: 315_360_000_000, jwtSvidTtlMs: 1000 },
    ],
    [{ hint: 'internal' }, { hint: 'internal' }],
    [{ dns_names: ['B.test', 'a.test', 'b.test'] }, { dnsNames: ['b.test', 'a.test'] }],
    [{ federates_with: ['spiffe://b.test', 'a.test', 'b.test'] }, { federatesWith: ['a.test', 'b.test'] }],
    [{ expires_at: '2027-01-31T12:00:00Z' }, { expiresAt: noon }],
    [{ expires_at: '2027-01-31t13:30:00.000+01:30' }, { expiresAt: noon }],
    [{ expires_at: '2027-01-31T02:00:00-10:00' }, { expiresAt: noon }],
    [{ expires_at: noon / 1000 }, { expiresAt: noon }],
    [{ expires_at: String(noon / 1000) }, { expiresAt: noon }],
    [{ entryExpiry: noon / 1000 }, { expiresAt: noon }],
    [{ expires_at: 1 }, { expiresAt: 1000 }],
    [{ expires_at: '9999-12-31T23:59:59Z' }, { expiresAt: 253_402_300_799_000 }],
    [{ expires_at: '2028-02-29T00:00:00Z' }, { expiresAt: Date.UTC(2028, 1, 29) }],
    [{ jwt_svid_include_jti: true }, { jwtSvidIncludeJti: true }],
    [
      { additional_attributes: { jwt_svid_include_jti: true, disable_x509_svid_prefetch: true } },
      { jwtSvidIncludeJti: true },
    ],
    [
      { admin: true, downstream: true, store_svid: true },
      { admin: true, downstream: true, storeSvid: true },
    ],
  ] as const) {
    assert.deepEqual(entryOf({ ...right, ...fields }), { ...bare, ...expected }, JSON.stringify(Object.keys(fields)));
  }
});

test('what is empty, 0 or false is not set', () => {
  const empty = {
    entry_id: '',
    parent_id: '',
    x509_svid_ttl: 0,
    jwt_svid_ttl: '0',
    hint: '',
    dns_names: [],
    federates_with: [],
    expires_at: '0',
    jwt_svid_include_jti: false,
    admin: false,
    downstream: false,
    store_svid: false,
    additional_attributes: null,
    created_at: '1678731397',
    revision_number: '4',
  };
  assert.deepEqual(entryOf({ ...right, ...empty }), bare);
  assert.deepEqual(entryOf({ ...right, hint: undefined, id: undefined }), bare);
});

const TTL = 'expected a duration from 1s to 87600h, such as 1h30m';
const TIME = 'expected a time such as 2027-01-31T12:00:00Z, or whole seconds since 1970';
const ENTRY_ID = 'an entry id has 1 to 255 letters, digits, `.`, `-` or `_`';
const SELECTOR = 'a selector is written type:value, such as unix:uid:1001';
const OWN_ID = 'expected a SPIFFE ID such as spiffe://td.test/orders';

/** Field, value, and the whole mistake less what says which field it is. */
const REFUSED: readonly (readonly [field: string, value: unknown, mistake: string])[] = [
  ['entry_id', 'a b', `is "a b": ${ENTRY_ID}`],
  ['entry_id', 'a/b', `is "a/b": ${ENTRY_ID}`],
  ['entry_id', 'é', `is "é": ${ENTRY_ID}`],
  ['entry_id', 'x'.repeat(256), `is "${'x'.repeat(60)}…": ${ENTRY_ID}`],
  ['entry_id', 7, 'is the number 7: expected an entry id'],
  ['spiffe_id', 'td.test/a', 'is "td.test/a": scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"'],
  ['spiffe_id', 'SPIFFE://td.test/a', 'is "SPIFFE://td.test/a": scheme is missing or invalid: a SPIFFE ID starts with "spiffe://"'],
  ['spiffe_id', 'spiffe://other.test/a', 'is "spiffe://other.test/a": expected an ID of the trust domain td.test'],
  ['spiffe_id', 'spiffe://td.test', 'is "spiffe://td.test": expected a path: without one it is the trust domain\'s own ID'],
  ['spiffe_id', 'spiffe://td.test/a//b', 'is "spiffe://td.test/a//b": path cannot contain empty segments or end with a slash'],
  ['spiffe_id', 'spiffe://td.test/../b', 'is "spiffe://td.test/../b": path cannot contain dot segments'],
  ['spiffe_id', 'spiffe://td.test/a b', 'is "spiffe://td.test/a b": path segment characters are limited to letters, numbers, dots, dashes, and underscores'],
  ['spiffe_id', `spiffe://td.test/${'a'.repeat(2048)}`, `is "spiffe://td.test/${'a'.repeat(43)}…": SPIFFE ID is longer than 2048 bytes`],
  ['spiffe_id', 'spiffe://td.test/spire', 'is "spiffe://td.test/spire": expected another path: /spire is reserved for SPIRE servers and agents'],
  ['spiffe_id', 'spiffe://td.test/spire/server', 'is "spiffe://td.test/spire/server": expected another path: /spire is reserved for SPIRE servers and agents'],
  ['spiffe_id', { trust_domain: 'td.test' }, `is a mapping: ${OWN_ID}`],
  ['spiffe_id', { trust_domain: 'td.test', path: 5 }, `is a mapping: ${OWN_ID}`],
  ['spiffe_id', { trust_domain: 'td.test', path: '/a', port: 5 }, `is a mapping: ${OWN_ID}`],
  ['spiffe_id', { trust_domain: 'td.test', path: '' }, "is a mapping: expected a path: without one it is the trust domain's own ID"],
  ['spiffe_id', { trust_domain: 'td', path: '.test/a' }, 'is a mapping: expected a path that starts with a slash'],
  ['spiffe_id', { trust_domain: 'td.test/a', path: '' }, 'is a mapping: trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores'],
  ['spiffe_id', ['spiffe://td.test/a'], `is a list: ${OWN_ID}`],
  ['parent_id', 'spiffe://other.test/spire/server', 'is "spiffe://other.test/spire/server": expected an ID of the trust domain td.test'],
  ['parent_id', 'spiffe://td.test', 'is "spiffe://td.test": expected a path: without one it is the trust domain\'s own ID'],
  ['parent_id', 'spiffe://td.test/a', 'is its own `spiffe_id`: name another parent'],
  ['parent_id', 5, 'is the number 5: expected a SPIFFE ID such as spiffe://td.test/spire/server'],
  ['selectors', [], 'is an empty list: expected a list of at least one selector, such as unix:uid:1001'],
  ['selectors', 'unix:uid:1', 'is "unix:uid:1": expected a list of at least one selector, such as unix:uid:1001'],
  ['selectors[0]', ['uid'], `is "uid": ${SELECTOR}`],
  ['selectors[0]', ['unix:'], `is "unix:": ${SELECTOR}`],
  ['selectors[1]', ['a:b', 'Unix:uid:1'], `is "Unix:uid:1": ${SELECTOR}`],
  ['selectors[0]', [5], 'is the number 5: expected a selector such as unix:uid:1001'],
  ['selectors[0]', [{ type: 'unix' }], 'is a mapping: expected a selector such as unix:uid:1001'],
  ['selectors[0]', [{ type: 'unix:uid', value: '1' }], 'is a mapping: the type of a selector has no colon'],
  ['selectors[0]', [{ type: 'unix', value: '' }], `is a mapping: ${SELECTOR}`],
  ['selectors[0]', [`a:${'x'.repeat(4096)}`], `is "a:${'x'.repeat(58)}…": selector is longer than 4096 characters`],
  ['selectors[0]', ['a:\ud800'], 'is "a:\\ud800": expected text that UTF-8 can hold'],
  ['selectors', Array.from({ length: 1001 }, (_, index) => `a:${index}`), 'has 1001 elements: expected at most 1000'],
  ['x509_svid_ttl', '0s', `is "0s": ${TTL}`],
  ['x509_svid_ttl', -1, `is the number -1: ${TTL}`],
  ['x509_svid_ttl', '-5', `is "-5": ${TTL}`],
  ['x509_svid_ttl', 1.5, `is the number 1.5: ${TTL}`],
  ['x509_svid_ttl', '999ms', `is "999ms": ${TTL}`],
  ['x509_svid_ttl', '1500ms', 'is "1500ms": a lifetime is whole seconds'],
  ['x509_svid_ttl', '87600h1s', `is "87600h1s": ${TTL}`],
  ['x509_svid_ttl', 315_360_001, `is the number 315360001: ${TTL}`],
  ['x509_svid_ttl', 1e300, `is the number 1e+300: ${TTL}`],
  ['x509_svid_ttl', Number.NaN, `is the number NaN: ${TTL}`],
  ['x509_svid_ttl', true, `is true: ${TTL}`],
  ['jwt_svid_ttl', '1y', 'is "1y": a duration is written such as 24h, 1h30m or 100ms'],
  ['jwt_svid_ttl', [], `is an empty list: ${TTL}`],
  ['hint', 'x'.repeat(1025), `is "${'x'.repeat(60)}…": a hint has at most 1024 bytes`],
  ['hint', 'a\nb', 'is "a\\nb": a hint has no control characters'],
  ['hint', '\udc00', 'is "\\udc00": expected text that UTF-8 can hold'],
  ['hint', 5, 'is the number 5: expected a hint'],
  ['dns_names', 'a.test', 'is "a.test": expected a list, each a DNS name such as orders.acme.test'],
  ['dns_names[0]', ['a_b'], 'is "a_b": a DNS name has letters, digits, hyphens and dots; write other alphabets as A-labels (xn--…)'],
  ['dns_names[1]', ['a.test', 'b.*.test'], 'is "b.*.test": a wildcard is the whole first label, and the only one, such as *.acme.test'],
  ['dns_names[0]', [''], 'is "": a DNS name has no empty label'],
  ['dns_names', ['a.x.test', '*.x.test'], 'has a.x.test, which *.x.test covers: keep one of them'],
  ['federates_with', 'b.test', 'is "b.test": expected a list, each a trust domain such as partner.test'],
  ['federates_with[0]', ['B.test'], 'is "B.test": trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores'],
  ['federates_with[0]', ['spiffe://b.test/x'], 'is "spiffe://b.test/x": trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores'],
  ['federates_with[0]', [''], 'is "": trust domain is missing'],
  ['federates_with[0]', ['td.test'], 'is "td.test": expected another trust domain than the own one'],
  ['expires_at', -1, `is the number -1: ${TIME}`],
  ['expires_at', 1.5, `is the number 1.5: ${TIME}`],
  ['expires_at', 253_402_300_800, `is the number 253402300800: ${TIME}`],
  ['expires_at', 'tomorrow', `is "tomorrow": ${TIME}`],
  ['expires_at', '2027-01-31', `is "2027-01-31": ${TIME}`],
  ['expires_at', '2027-01-31T12:00:00', `is "2027-01-31T12:00:00": ${TIME}`],
  ['expires_at', '2027-02-30T00:00:00Z', `is "2027-02-30T00:00:00Z": ${TIME}`],
  ['expires_at', '2027-02-29T00:00:00Z', `is "2027-02-29T00:00:00Z": ${TIME}`],
  ['expires_at', '2027-13-01T00:00:00Z', `is "2027-13-01T00:00:00Z": ${TIME}`],
  ['expires_at', '2027-01-01T24:00:00Z', `is "2027-01-01T24:00:00Z": ${TIME}`],
  ['expires_at', '2027-01-01T00:60:00Z', `is "2027-01-01T00:60:00Z": ${TIME}`],
  ['expires_at', '2027-01-01T00:00:60Z', `is "2027-01-01T00:00:60Z": ${TIME}`],
  ['expires_at', '2027-01-01T00:00:00+24:00', `is "2027-01-01T00:00:00+24:00": ${TIME}`],
  ['expires_at', '2027-01-01T00:00:00.5Z', `is "2027-01-01T00:00:00.5Z": ${TIME}`],
  ['expires_at', '0000-01-01T00:00:00Z', `is "0000-01-01T00:00:00Z": ${TIME}`],
  ['expires_at', '1969-12-31T23:59:59Z', `is "1969-12-31T23:59:59Z": ${TIME}`],
  ['jwt_svid_include_jti', 'yes', 'is "yes": expected true or false'],
  ['admin', 1, 'is the number 1: expected true or false'],
  ['downstream', 'true', 'is "true": expected true or false'],
  ['store_svid', null, 'is empty: expected true or false'],
]; // prettier-ignore

test('each field that is wrong is refused, with its name and limit, alone and in a document', () => {
  for (const [path, value, mistake] of REFUSED) {
    const field = /^\w+/.exec(path)?.[0] ?? '';
    const draft = { ...right, [field]: value };
    assert.deepEqual(refusalsOf(draft), [`\`${path}\` ${mistake}`]);
    if (!JSON.stringify([value]).includes('\\ud') && !Number.isNaN(value)) {
      const text = JSON.stringify({ entries: [draft] });
      const found = parseEntries({ text, file: 'e.json', trustDomain }).mistakes?.map(
        ({ message, remedy }) => `${message}: ${remedy}`,
      );
      assert.deepEqual(found, [`\`entries[0].${path}\` ${mistake}`]);
    }
  }
});

test('what lies between fields and beside them is refused', () => {
  for (const [draft, ...mistakes] of [
    [null, 'the entry is empty: expected a mapping with keys such as `entry_id`'],
    [[], 'the entry is an empty list: expected a mapping with keys such as `entry_id`'],
    [
      {},
      'missing key `spiffe_id`: expected a SPIFFE ID such as spiffe://td.test/orders',
      'missing key `selectors`: expected a list of at least one selector, such as unix:uid:1001',
    ],
    [{ ...right, spiffe_id: '' }, 'missing key `spiffe_id`: expected a SPIFFE ID such as spiffe://td.test/orders'],
    [{ ...right, selectos: [] }, 'unknown key `selectos`: did you mean `selectors`?'],
    [
      { ...right, entry_id: 'a', id: 'b' },
      '`entry_id` is given under two names, of which `id` is one: keep one of them',
    ],
    [
      { ...right, entryExpiry: 1, expires_at: 2 },
      '`expires_at` is given under two names, of which `expires_at` is one: keep one of them',
    ],
    [
      { ...right, additional_attributes: 5 },
      '`additional_attributes` is the number 5: expected a mapping with keys such as `jwt_svid_include_jti`',
    ],
    [
      { ...right, additional_attributes: { x: 5 } },
      'unknown key `additional_attributes.x`: the keys here are `jwt_svid_include_jti`, `disable_x509_svid_prefetch`',
    ],
    [
      { ...right, additional_attributes: { jwt_svid_include_jti: 1 } },
      '`additional_attributes.jwt_svid_include_jti` is the number 1: expected true or false',
    ],
    [
      { ...right, store_svid: true, selectors: ['unix:uid:1', 'k8s:ns:a'] },
      '`selectors` has the types k8s, unix: with `store_svid` all selectors are of one type',
    ],
  ] as const) {
    assert.deepEqual(refusalsOf(draft), mistakes);
  }
  const { mistakes } = checkDraft(
    JSON.parse(`{"spiffe_id":"spiffe://td.test/a","selectors":["a:b"],"__proto__":{}}`),
    context,
  );
  assert.equal(mistakes?.[0].message, 'unknown key `__proto__`');
});

test('the draft of an entry gives the entry again', () => {
  const entry = entryOf({
    ...right,
    entry_id: 'x',
    parent_id: 'spiffe://td.test/spire/server',
    x509_svid_ttl: '1h1s',
    jwt_svid_ttl: 60,
    hint: 'h',
    dns_names: ['b.test', 'a.test'],
    federates_with: ['b.test'],
    expires_at: '2027-01-31T12:00:00Z',
    jwt_svid_include_jti: true,
    admin: true,
    downstream: true,
    store_svid: true,
  });
  assert.deepEqual(entryOf(formatDraft(entry)), entry);
  assert.deepEqual(formatDraft(entryOf(right)), { entry_id: 'made', ...right });
});
