import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatMistake } from '../../../src/config/index.ts';
import { checkDraft } from '../../../src/registration/entry-draft.ts';
import { formatSpireEntries, parseEntries } from '../../../src/registration/index.ts';
import { parseTrustDomain, type RegisteredEntry, type RegistrationEntry } from '../../../src/spiffe/index.ts';

const trustDomain = parseTrustDomain('td.test');
const server = 'spiffe://td.test/spire/server';

function parse(text: string): readonly RegistrationEntry[] {
  const { value, mistakes } = parseEntries({ text, file: 'e.json', trustDomain });
  assert.ok(value !== undefined, mistakes?.map(formatMistake).join('\n'));
  return value;
}

test('what `entry show -output json` writes is read', () => {
  const shown = {
    entries: [
      {
        id: '00000000-0000-0000-0000-000000000001',
        spiffe_id: { trust_domain: 'td.test', path: '/orders' },
        parent_id: { trust_domain: 'td.test', path: '/spire/agent/join_token/abc' },
        selectors: [
          { type: 'unix', value: 'uid:1001' },
          { type: 'k8s', value: 'pod-label:app:orders' },
        ],
        x509_svid_ttl: 3600,
        federates_with: ['partner.test'],
        hint: 'internal',
        admin: false,
        created_at: '1678731397',
        downstream: true,
        expires_at: '1900000000',
        dns_names: ['orders.td.test'],
        revision_number: '3',
        store_svid: false,
        jwt_svid_ttl: 0,
        additional_attributes: { disable_x509_svid_prefetch: false, jwt_svid_include_jti: true },
      },
    ],
    next_page_token: '',
  };
  for (const space of [0, 2, '\t']) {
    assert.deepEqual(parse(JSON.stringify(shown, undefined, space)), [
      {
        entryId: '00000000-0000-0000-0000-000000000001',
        spiffeId: 'spiffe://td.test/orders',
        parentId: 'spiffe://td.test/spire/agent/join_token/abc',
        selectors: ['k8s:pod-label:app:orders', 'unix:uid:1001'],
        x509SvidTtlMs: 3_600_000,
        hint: 'internal',
        dnsNames: ['orders.td.test'],
        federatesWith: ['partner.test'],
        expiresAt: 1_900_000_000_000,
        jwtSvidIncludeJti: true,
        downstream: true,
      },
    ]);
  }
});

test('what `entry create -data` reads is read', () => {
  const text = JSON.stringify({
    entries: [
      {
        selectors: [{ type: 'unix', value: 'uid:1111' }],
        spiffe_id: 'spiffe://td.test/blog',
        parent_id: server,
        x509_svid_ttl: 200,
        jwt_svid_ttl: 30,
        federates_with: ['spiffe://partner.test'],
        entryExpiry: 1_900_000_000,
        admin: true,
        store_svid: true,
      },
    ],
  });
  const [entry] = parse(text);
  assert.match(entry?.entryId ?? '', /^[0-9a-f]{32}$/);
  assert.deepEqual(entry, {
    entryId: entry?.entryId,
    spiffeId: 'spiffe://td.test/blog',
    parentId: server,
    selectors: ['unix:uid:1111'],
    x509SvidTtlMs: 200_000,
    jwtSvidTtlMs: 30_000,
    federatesWith: ['partner.test'],
    expiresAt: 1_900_000_000_000,
    admin: true,
    storeSvid: true,
  });
});

test('a mistake in JSON has its place', () => {
  const right = '{"spiffe_id": "spiffe://td.test/a", "selectors": [{"type": "a", "value": "b"}]}';
  for (const [text, ...mistakes] of [
    [
      `{\n  "entries": [\n    {"spiffe_id": {"trust_domain": "x", "path": "/a"}, "selectors": [{"type": "a"}]}\n  ]\n}`,
      'e.json:3:19: `entries[0].spiffe_id` is a mapping: expected an ID of the trust domain td.test',
      'e.json:3:70: `entries[0].selectors[0]` is a mapping: expected a selector such as unix:uid:1001',
    ],
    [`{"entries": [${right}], "entries": []}`, 'e.json:1:96: duplicate key `entries`: keep one of them'],
    [
      `{"entries": [{"hint": "a", "hint": "b", ${right.slice(1)}]}`,
      'e.json:1:28: duplicate key `hint`: keep one of them',
    ],
    [`{"entries": [${right}], "more": 1}`, 'e.json:1:96: unknown key `more`: the keys here are `entries`'],
    [
      `{"entries": [${right}, ${right}]}`,
      'e.json:1:95: `entries[1]` gives the same SPIFFE ID for the same selectors as `entries[0]`: keep one of them',
    ],
    ['[]', 'e.json:1:1: the document is an empty list: expected a mapping with keys such as `entries`'],
  ] as const) {
    const found = parseEntries({ text, file: 'e.json', trustDomain }).mistakes?.map(formatMistake);
    assert.deepEqual(found, mistakes);
  }
  for (const text of ['{"entries": [}', '{"entries": [{]}', `{"entries": [${right}`]) {
    assert.ok((parseEntries({ text, file: 'e.json', trustDomain }).mistakes ?? []).length > 0, text);
  }
});

const name = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,12}$/);
const dnsLabel = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const draftArbitrary = fc.record(
  {
    entry_id: fc.uuid(),
    spiffe_id: name.map((path) => `spiffe://td.test/w/${path}`),
    parent_id: name.map((path) => `spiffe://td.test/spire/agent/${path}`),
    selectors: fc.array(fc.tuple(fc.constantFrom('unix', 'k8s', 'docker'), fc.string({ unit: 'grapheme', minLength: 1 })).map(([type, value]) => `${type}:${value}`), { minLength: 1, maxLength: 4 }), // prettier-ignore
    x509_svid_ttl: fc.integer({ min: 1, max: 315_360_000 }),
    jwt_svid_ttl: fc.integer({ min: 1, max: 315_360_000 }),
    hint: fc.string({ unit: 'grapheme', maxLength: 60 }).filter((text) => !/\p{Cc}/u.test(text)),
    dns_names: fc.array(
      fc.tuple(dnsLabel, dnsLabel).map((labels) => labels.join('.')),
      { maxLength: 3 },
    ),
    federates_with: fc.array(fc.constantFrom('a.test', 'b.test', 'c.test'), { maxLength: 3 }),
    expires_at: fc.integer({ min: 1, max: 253_402_300_799 }),
    jwt_svid_include_jti: fc.boolean(),
    admin: fc.boolean(),
    downstream: fc.boolean(),
  },
  { requiredKeys: ['spiffe_id', 'parent_id', 'selectors'] },
);

test("SPIRE's JSON keeps every field on its way out and in", () => {
  fc.assert(
    fc.property(draftArbitrary, fc.nat(), (draft, revision) => {
      const { entry, mistakes } = checkDraft(draft, { trustDomain, path: [], newId: () => 'made' });
      assert.ok(entry !== undefined, JSON.stringify(mistakes));
      const registered: RegisteredEntry = { entry, source: 'api', revision, createdAt: 1_678_731_397_000 };
      assert.deepEqual(parse(formatSpireEntries([registered])), [entry]);
    }),
    { numRuns: 300 },
  );
});

test("an entry without a parent is exported as the server's own, as SPIRE wants it", () => {
  const { entry } = checkDraft(
    { entry_id: 'x', spiffe_id: 'spiffe://td.test/a', selectors: ['unix:uid:1'] },
    { trustDomain, path: [], newId: () => '' },
  );
  const text = formatSpireEntries([{ entry: entry!, source: 'file', revision: 2, createdAt: 5500 }]);
  assert.deepEqual(JSON.parse(text), {
    entries: [
      {
        id: 'x',
        spiffe_id: { trust_domain: 'td.test', path: '/a' },
        parent_id: { trust_domain: 'td.test', path: '/spire/server' },
        selectors: [{ type: 'unix', value: 'uid:1' }],
        x509_svid_ttl: 0,
        federates_with: [],
        hint: '',
        admin: false,
        created_at: '5',
        downstream: false,
        expires_at: '0',
        dns_names: [],
        revision_number: '2',
        store_svid: false,
        jwt_svid_ttl: 0,
      },
    ],
    next_page_token: '',
  });
});
