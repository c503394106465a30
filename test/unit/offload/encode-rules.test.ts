import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  encodeNoRules,
  encodeRules,
  OFFLOAD_NAMES,
  type EncodedRules,
  type OffloadRule,
  type OffloadSet,
  type PeerMatch,
  type RequestMatch,
} from '../../../src/offload/index.ts';
import {
  decodeMessage,
  MtlsAuthenticated,
  RbacFilter,
  SanType,
  TypedExtensionConfig,
  unpackAny,
  type Any,
  type Principal,
  type StringMatcher,
  type TypedExtensionConfig as Config,
} from '../../../src/proto/index.ts';

const MAX = 2 ** 24;
const ID = 'spiffe://example.test/orders-1.x';
const ANYONE: PeerMatch = { kind: 'anyone', except: [] };

function ruleOf(id: string, own: Partial<OffloadRule> = {}): OffloadRule {
  return { id, request: { kind: 'always' }, peer: ANYONE, origin: [], ...own };
}

function setOf(allow: readonly OffloadRule[], outer?: readonly OffloadRule[]): OffloadSet {
  return { policy: 'orders', policyDigest: 'd', allow, ...(outer === undefined ? {} : { outer }) };
}

function decode({ bytes }: EncodedRules): { readonly name: string; readonly filter: RbacFilter } {
  const { name, typedConfig } = decodeMessage(TypedExtensionConfig, bytes, MAX);
  return { name, filter: unpackAny(RbacFilter, typedConfig as Any, MAX) };
}

/** As JSON, without what is not set. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, each: unknown) => (each === null ? undefined : each)));
}

function permissionOf(request: RequestMatch): unknown {
  const { filter } = decode(encodeRules(setOf([ruleOf('r', { request })])));
  return plain(filter.shadowRules?.policies['r']?.permissions);
}

describe('what a request has to be', () => {
  const CASES: readonly { readonly request: RequestMatch; readonly permission: unknown }[] = [
    { request: { kind: 'always' }, permission: { any: true } },
    {
      request: { kind: 'header', name: ':method', match: { kind: 'exact', text: 'GET' } },
      permission: { header: { name: ':method', stringMatch: { exact: 'GET' } } },
    },
    {
      request: { kind: 'header', name: 'x-a', match: 'present' },
      permission: { header: { name: 'x-a', presentMatch: true } },
    },
    {
      request: { kind: 'header', name: 'x-a', match: { kind: 'exact', text: '' } },
      permission: { header: { name: 'x-a', stringMatch: { safeRegex: { regex: '^$' } } } },
    },
    {
      request: { kind: 'header', name: 'x-a', match: { kind: 'prefix', text: '' } },
      permission: { header: { name: 'x-a', stringMatch: { safeRegex: { regex: String.raw`\C*` } } } },
    },
    {
      request: { kind: 'header', name: 'x-a', match: { kind: 'contains', text: 'b' } },
      permission: { header: { name: 'x-a', stringMatch: { contains: 'b' } } },
    },
    {
      request: { kind: 'path', match: { kind: 'suffix', text: '/end' } },
      permission: { urlPath: { path: { suffix: '/end' } } },
    },
    {
      request: { kind: 'path', match: { kind: 'regex', regex: '/a/[^/]+' } },
      permission: { urlPath: { path: { safeRegex: { regex: '/a/[^/]+' } } } },
    },
    { request: { kind: 'destination_port', from: 80, to: 80 }, permission: { destinationPort: 80 } },
    {
      request: { kind: 'destination_port', from: 80, to: 90 },
      permission: { destinationPortRange: { start: 80, end: 91 } },
    },
    {
      request: { kind: 'destination_ip', address: '10.0.0.0', prefixLength: 8 },
      permission: { destinationIp: { addressPrefix: '10.0.0.0', prefixLen: { value: 8 } } },
    },
    {
      request: { kind: 'server_name', match: { kind: 'exact', text: 'a.test' } },
      permission: { requestedServerName: { exact: 'a.test' } },
    },
    {
      request: {
        kind: 'all',
        of: [{ kind: 'always' }, { kind: 'not', of: { kind: 'any', of: [{ kind: 'always' }] } }],
      },
      permission: { andRules: { rules: [{ any: true }, { notRule: { orRules: { rules: [{ any: true }] } } }] } },
    },
  ];
  for (const { request, permission } of CASES) {
    test(JSON.stringify(request), () => assert.deepEqual(permissionOf(request), [permission]));
  }

  for (const request of [
    { kind: 'all', of: [] },
    { kind: 'any', of: [] },
    { kind: 'not', of: { kind: 'all', of: [] } },
    { kind: 'header', name: '', match: 'present' },
  ] as unknown as readonly RequestMatch[]) {
    test(`${JSON.stringify(request)} is refused, in rules that allow and in outer ones`, () => {
      assert.throws(() => encodeRules(setOf([ruleOf('r', { request })])), { code: 'internal' });
      assert.throws(() => encodeRules(setOf([], [ruleOf('r', { request })])), { code: 'internal' });
    });
  }
});

type Matches = (text: string) => boolean;

/** The SAN matcher of a principal, as RE2 would have it if JavaScript were it. */
function sanOf({ custom, authenticated }: Pick<Principal, 'custom' | 'authenticated'>): Matches {
  return matcherOf(authenticated?.principalName ?? sanMatcherOf(custom));
}

function sanMatcherOf(custom: Config | null | undefined): StringMatcher {
  const { sanMatcher } = unpackAny(MtlsAuthenticated, custom?.typedConfig as Any, MAX);
  assert.equal(sanMatcher?.sanType, SanType.URI);
  return sanMatcher.matcher ?? assert.fail();
}

function matcherOf({ exact, safeRegex }: StringMatcher): Matches {
  if (typeof exact === 'string') return (text) => text === exact;
  const pattern = new RegExp(`^(?:${safeRegex?.regex.replaceAll(String.raw`\C`, '[^]') ?? assert.fail()})$`);
  return (text) => pattern.test(text);
}

/** Whether a verified certificate with these URI SANs is let in by a rule for these peers. */
function isLetIn(...ids: readonly string[]): (...sans: readonly string[]) => boolean {
  const { filter } = decode(encodeRules(setOf([ruleOf('r', { peer: peers(...ids) })])));
  const [principal] = filter.shadowRules?.policies['r']?.principals ?? [];
  const matches = certificateMatcher(principal ?? assert.fail());
  return (...sans) => matches(sans);
}

function certificateMatcher(id: Principal): (sans: readonly string[]) => boolean {
  const { andIds, orIds, notId } = id;
  if (andIds !== null) {
    const parts = andIds.ids.map(certificateMatcher);
    return (sans) => parts.every((matches) => matches(sans));
  }
  if (orIds !== null) {
    const parts = orIds.ids.map(certificateMatcher);
    return (sans) => parts.some((matches) => matches(sans));
  }
  if (notId !== null) {
    const matches = certificateMatcher(notId);
    return (sans) => !matches(sans);
  }
  const san = sanOf(id);
  return (sans) => sans.some(san);
}

function peers(...ids: readonly string[]): PeerMatch {
  const [first = '', ...more] = ids;
  return { kind: 'peers', of: [exact(first), ...more.map(exact)], except: [] };
}

function exact(text: string) {
  return { kind: 'exact', text } as const;
}

describe('whom a rule is for', () => {
  for (const id of [
    ID,
    'spiffe://aaaa.test/aaaaaaaaaa',
    'spiffe://a/ababababab',
    `spiffe://${'long-'.repeat(15)}x`,
    'spiffe://a',
    'spiffe://spiffe//spiffe',
  ]) {
    test(`a verified certificate with ${id} and no other URI SAN`, () => {
      const letsIn = isLetIn(id);
      assert.equal(letsIn(id), true);
      assert.equal(letsIn(), false);
      const near = fc
        .tuple(fc.nat(id.length), fc.string({ unit: 'binary', maxLength: 2 }), fc.nat(3))
        .map(([at, text, cut]) => id.slice(0, at) + text + id.slice(at + cut));
      const shorter = fc
        .tuple(fc.nat(id.length), fc.nat(id.length))
        .map(([at, cut]) => id.slice(0, at) + id.slice(cut));
      fc.assert(
        fc.property(fc.oneof(near, shorter, fc.string({ unit: 'binary' })), (text) => {
          assert.equal(letsIn(id, text), text === id);
          assert.equal(letsIn(text, id), text === id);
          assert.equal(letsIn(text), text === id);
        }),
        { seed: 8, numRuns: 2000 },
      );
    });
  }

  for (const ids of [
    [ID, `${ID}/b`],
    [`${ID}/b`, ID],
    [ID, ID],
    ['spiffe://a/x', 'spiffe://b/x', 'spiffe://a'],
    ['spiffe://a/x1', 'spiffe://a/x2', 'spiffe://a/y'],
    [`spiffe://${'long-'.repeat(15)}x`, `spiffe://${'long-'.repeat(15)}y`],
  ]) {
    test(`a verified certificate with one of ${ids.join(', ')} and no other URI SAN`, () => {
      const letsIn = isLetIn(...ids);
      assert.equal(letsIn(), false);
      const near = fc
        .tuple(fc.constantFrom(...ids), fc.nat(86), fc.string({ unit: 'binary', maxLength: 2 }), fc.nat(3))
        .map(([id, at, text, cut]) => id.slice(0, at) + text + id.slice(at + cut));
      const other = fc.oneof(fc.constantFrom(...ids), near, fc.string({ unit: 'binary' }));
      fc.assert(
        fc.property(fc.constantFrom(...ids), other, (id, text) => {
          assert.equal(letsIn(text), ids.includes(text));
          assert.equal(letsIn(id, text), text === id);
          assert.equal(letsIn(text, id), text === id);
        }),
        { seed: 8, numRuns: 2000 },
      );
    });
  }

  test('none of those that are left out, however they show it', () => {
    const peer: PeerMatch = { ...peers(ID), except: [{ kind: 'prefix', text: 'spiffe://bad' }] };
    const { filter } = decode(encodeRules(setOf([ruleOf('r', { peer })])));
    const [principal] = filter.shadowRules?.policies['r']?.principals ?? [];
    assert.deepEqual(plain(principal?.andIds?.ids.at(-1)), {
      notId: { authenticated: { principalName: { prefix: 'spiffe://bad' } } },
    });
  });

  test('anyone, but those that are left out', () => {
    const principals = (peer: PeerMatch): unknown =>
      plain(decode(encodeRules(setOf([ruleOf('r', { peer })]))).filter.shadowRules?.policies['r']?.principals);
    assert.deepEqual(principals(ANYONE), [{ any: true }]);
    assert.deepEqual(principals({ kind: 'anyone', except: [exact(ID)] }), [
      { notId: { authenticated: { principalName: { exact: ID } } } },
    ]);
  });

  test('anyone who shows no certificate', () => {
    const set = setOf([ruleOf('r', { peer: { ...ANYONE, except: [exact(ID)], withoutCertificate: true } })]);
    const [principal] = decode(encodeRules(set)).filter.shadowRules?.policies['r']?.principals ?? [];
    const [excepted, named, verified] = (principal?.andIds?.ids ?? []).map(({ notId }) => notId);
    assert.deepEqual(plain(excepted), { authenticated: { principalName: { exact: ID } } });
    assert.equal(named?.authenticated?.principalName?.safeRegex?.regex, String.raw`\C+`);
    const config = decodeMessage(MtlsAuthenticated, verified?.custom?.typedConfig?.value ?? new Uint8Array(), MAX);
    assert.deepEqual([config.anyValidatedClientCertificate, config.sanMatcher ?? undefined], [true, undefined]);
  });

  for (const { what, rule } of [
    {
      what: 'peers by a prefix',
      rule: { peer: { kind: 'peers', of: [{ kind: 'prefix', text: 'spiffe://a/' }], except: [] } },
    },
    { what: 'an ID that is too long', rule: { peer: peers(`spiffe://a/${'x'.repeat(80)}`) } },
    { what: 'an ID that no certificate of ours has', rule: { peer: peers('spiffe://a/(b)') } },
    { what: 'a name that no header has', rule: { headers: [{ name: 'x role', oneOf: ['a'] }] } },
    { what: 'a header in upper case', rule: { headers: [{ name: 'X-Role', oneOf: ['a'] }] } },
    { what: 'a pseudo header', rule: { headers: [{ name: ':path', oneOf: ['/'] }] } },
    { what: 'a text with NUL', rule: { headers: [{ name: 'x-role', oneOf: ['a\0'] }] } },
  ] as const) {
    test(`${what} is left to the call`, () => {
      const encoded = encodeRules(setOf([ruleOf('left', rule), ruleOf('told')]));
      assert.deepEqual([encoded.left, encoded.allowCount], [['left'], 1]);
      assert.deepEqual(Object.keys(decode(encoded).filter.shadowRules?.policies ?? {}), ['told']);
      const none = encodeRules(setOf([ruleOf('left', rule)]));
      assert.deepEqual([none.isEmpty, decode(none).filter.shadowRules], [true, null]);
    });
  }

  test('nobody is not anybody', () => {
    const peer = { kind: 'peers', of: [], except: [] } as unknown as PeerMatch;
    assert.throws(() => encodeRules(setOf([ruleOf('r', { peer })])), { code: 'internal' });
    assert.throws(() => encodeRules(setOf([], [ruleOf('r', { peer })])), { code: 'internal' });
  });
});

describe('a set', () => {
  test('is named as the listener has it, and no rules leave the metadata unwritten', () => {
    const { name, filter } = decode(encodeRules(setOf([ruleOf('r')])));
    assert.equal(name, OFFLOAD_NAMES.resource('orders'));
    assert.equal(filter.shadowRulesStatPrefix, OFFLOAD_NAMES.shadowPrefix('orders'));
    assert.equal(filter.rules, null);
    const none = encodeNoRules('orders');
    assert.deepEqual([none.isEmpty, decode(none).filter.shadowRules, decode(none).filter.rules], [true, null, null]);
    assert.deepEqual(encodeRules(setOf([])).bytes, none.bytes);
  });

  test('is the same bytes in whatever order its rules are, and is encoded once', () => {
    const [a, b] = [ruleOf('a'), ruleOf('b', { peer: peers(ID) })];
    const set = setOf([a, b]);
    assert.equal(encodeRules(set), encodeRules(set));
    assert.equal(encodeRules(setOf([b, a])).version, encodeRules(set).version);
    assert.notEqual(encodeRules(setOf([a])).version, encodeRules(set).version);
    assert.match(encodeRules(set).version, /^[0-9a-f]{16}$/);
  });

  test('has no two rules of one name', () => {
    assert.throws(() => encodeRules(setOf([ruleOf('a'), ruleOf('a')])), { code: 'internal' });
    assert.throws(() => encodeRules(setOf([], [ruleOf('a'), ruleOf('a')])), { code: 'internal' });
  });

  test('refuses what no outer rule covers: they take in more than they say, and never less', () => {
    const outer = [
      ruleOf('by prefix', {
        peer: { kind: 'peers', of: [{ kind: 'prefix', text: 'spiffe://a/' }], except: [exact(ID)] },
      }),
      ruleOf('anyone', { peer: { kind: 'anyone', except: [exact(ID)] } }),
    ];
    const encoded = encodeRules(setOf([], outer));
    const { rules, rulesStatPrefix } = decode(encoded).filter;
    assert.deepEqual(plain(rules?.policies), {
      anyone: { permissions: [{ any: true }], principals: [{ any: true }] },
      'by prefix': {
        permissions: [{ any: true }],
        principals: [{ authenticated: { principalName: { prefix: 'spiffe://a/' } } }],
      },
    });
    assert.deepEqual([rulesStatPrefix, encoded.isEmpty], [OFFLOAD_NAMES.rulesPrefix('orders'), false]);
    const nothing = decode(encodeRules(setOf([], []))).filter;
    assert.deepEqual(plain(nothing.rules?.policies), {}, 'nothing may be allowed: all is refused');
  });
});
