import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  KnownPeers,
  matchesText,
  restrict,
  setFor,
  type PeerFacts,
  type PeerMatch,
  type TextMatch,
} from '../../../src/offload/index.ts';
import { searchRegex } from '../../../src/offload/translate/text-match.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';
import { exact, facts, FOREIGN, OWN, peers, prefix, rule, translated } from './offload-fixtures.ts';

const WEB = parseSpiffeId('spiffe://td.test/web');
const API = parseSpiffeId('spiffe://td.test/api');
const ALIEN = parseSpiffeId('spiffe://other.test/web');
const suffix = (text: string): TextMatch => ({ kind: 'suffix', text });
const contains = (text: string): TextMatch => ({ kind: 'contains', text });
const regex = (text: string): TextMatch => ({ kind: 'regex', regex: text });
const anyone: PeerMatch = { kind: 'anyone', except: [] };

/** Undefined: left to the call. */
function peerUnder(peer: PeerMatch, more: Partial<PeerFacts>): PeerMatch | undefined {
  return restrict(translated([rule('r', peer)]), facts(more)).rules[0]?.rule.peer;
}

const revoked = (...ids: readonly string[]): Partial<PeerFacts> => ({ revokedIds: new Set(ids) });

test('whoever is revoked leaves lists, and is left out of what is no list', () => {
  assert.deepEqual(peerUnder(peers(exact(WEB), exact(API)), revoked(WEB)), peers(exact(API)));
  assert.equal(peerUnder(peers(exact(WEB)), revoked(WEB)), undefined, 'an empty list would be anyone');
  const under = peerUnder(peers(prefix('spiffe://td.test/')), revoked(WEB, ALIEN));
  assert.deepEqual(under, { ...peers(prefix('spiffe://td.test/')), except: [exact(WEB)] });
  const without: PeerMatch = { ...anyone, withoutCertificate: true };
  assert.deepEqual(peerUnder(anyone, revoked(WEB)), without, 'with any certificate: the gate may be unable to read it');
  assert.deepEqual(peerUnder(without, revoked(WEB)), without, 'once is enough');
  assert.deepEqual(peerUnder(anyone, {}), anyone);
});

test('more revoked peers than a rule can name are a call, and so is one that nobody can name', () => {
  const many = Array.from({ length: 501 }, (_, index) => `spiffe://td.test/w-${index}`);
  assert.equal(peerUnder(peers(prefix('spiffe://td.test/')), revoked(...many)), undefined);
  assert.ok(peerUnder(peers(prefix('spiffe://td.test/x')), revoked(...many)));
  assert.equal(peerUnder(peers(exact(WEB)), { obstacle: 'a serial of nobody we know' }), undefined);
});

const ids = [
  'spiffe://td.test/web',
  'spiffe://td.test/a/web',
  'spiffe://other.test/web',
  'spiffe://gone.test/web',
  'spiffe://gone.test/spiffe://td.test/web',
  'spiffe://td.testing/web',
  'spiffe://td.test',
];

test('peers of trust domains without a bundle are left to the call, in whatever way they are matched', () => {
  const table: readonly (readonly [match: TextMatch, expected: readonly string[]])[] = [
    [exact('spiffe://gone.test/web'), []],
    [exact('not a SPIFFE ID'), []],
    [exact(ALIEN), [ALIEN]],
    [prefix('spiffe://'), ['spiffe://td.test/web', 'spiffe://td.test/a/web', ALIEN]],
    [prefix('spiffe://td'), ['spiffe://td.test/web', 'spiffe://td.test/a/web']],
    [prefix('spiffe://td.test/a'), ['spiffe://td.test/a/web']],
    [prefix('spiffe://gone.test/'), []],
    [prefix('https://'), []],
    [suffix('/web'), ['spiffe://td.test/web', 'spiffe://td.test/a/web', ALIEN]],
    [suffix('eb'), ['spiffe://td.test/web', 'spiffe://td.test/a/web', ALIEN]],
    [contains('we'), ['spiffe://td.test/web', 'spiffe://td.test/a/web', ALIEN]],
    [regex('spiffe://td\\.test/[a-z]+'), ['spiffe://td.test/web']],
    [regex('spiffe://td\\.test/web|spiffe://gone\\.test/web'), []],
    [regex('spiffe://td\\.test/?.*'), []],
    [regex('spiffe://[a-z]+\\.test/web'), []],
    [regex('.*'), []],
  ];
  for (const [match, expected] of table) {
    const peer = peerUnder(peers(match), {});
    const matched = peer?.kind === 'peers' ? ids.filter((id) => peer.of.some((each) => matchesText(each, id))) : [];
    assert.deepEqual(matched, expected, JSON.stringify(match));
  }
  assert.deepEqual(peerUnder(peers(prefix('spiffe://')), { trustDomains: new Set() }), undefined);
  const own = peerUnder(peers(prefix('spiffe://')), { trustDomains: new Set([OWN]) });
  assert.deepEqual(own, peers(prefix('spiffe://td.test/')));
});

test('where peers must be registered, only lists of those who are remain of the own trust domain', () => {
  const registered = { trustDomain: OWN, has: (id: string): boolean => id === WEB };
  assert.deepEqual(
    peerUnder(peers(exact(WEB), exact(API), exact(ALIEN)), { registered }),
    peers(exact(WEB), exact(ALIEN)),
  );
  assert.equal(peerUnder(anyone, { registered }), undefined);
  assert.equal(peerUnder(peers(prefix('spiffe://td.test/')), { registered }), undefined);
  assert.deepEqual(peerUnder(peers(prefix('spiffe://')), { registered }), peers(prefix(`spiffe://${FOREIGN}/`)));
  const under = peerUnder(peers(suffix('/web')), { registered });
  assert.ok(under?.kind === 'peers');
  assert.deepEqual(
    ids.filter((id) => under.of.some((each) => matchesText(each, id))),
    [ALIEN],
  );
});

test('of peers by a part of their ID those are told one by one that have an entry', () => {
  const IDS = [WEB, API, 'spiffe://td.test/a/web', 'spiffe://td.testing/web', `spiffe://td.test/${'x'.repeat(90)}`];
  const known = new KnownPeers(() => IDS);
  const told = (peer: PeerMatch, more: Partial<PeerFacts> = {}): readonly string[] | undefined => {
    const under = peerUnder(peer, { known, ...more });
    if (under === undefined) return undefined;
    assert.ok(under.kind === 'peers' && under.of.every(({ kind }) => kind === 'exact'));
    assert.deepEqual(under.except, []);
    return under.of.map((match) => (match.kind === 'exact' ? match.text : '')).toSorted();
  };
  assert.deepEqual(
    told(peers(prefix('spiffe://td.test/'))),
    ['spiffe://td.test/a/web', API, WEB],
    'as Envoy can be told',
  );
  assert.deepEqual(told(peers(prefix('spiffe://td.test/web'))), [WEB]);
  assert.deepEqual(
    told(peers(prefix('spiffe://'))),
    ['spiffe://td.test/a/web', API, WEB],
    'of trust domains that count',
  );
  assert.equal(told(peers(prefix('spiffe://td.test/b'))), undefined);
  assert.equal(told(peers(prefix('spiffe://other.test/'))), undefined, 'others have no entry');
  assert.deepEqual(told(peers(suffix('/web'))), ['spiffe://td.test/a/web', WEB]);
  assert.deepEqual(told(peers(prefix('spiffe://td.test/w'), exact(ALIEN), exact(WEB))), [ALIEN, WEB]);
  const but: PeerMatch = {
    kind: 'peers',
    of: [prefix('spiffe://td.test/'), exact(API)],
    except: [exact(API), contains('/a/')],
  };
  assert.deepEqual(told(but), [WEB]);
  assert.deepEqual(told(peers(prefix('spiffe://td.test/')), revoked(WEB)), ['spiffe://td.test/a/web', API]);
  const registered = { trustDomain: OWN, has: (id: string): boolean => id === WEB };
  assert.deepEqual(told(peers(prefix('spiffe://td.test/')), { registered }), [WEB]);
  assert.equal(told(peers(prefix('spiffe://td.test/')), { trustDomains: new Set([FOREIGN]) }), undefined);
});

test('more of them than a rule, or all rules, can tell are left to the call, and counted', () => {
  const many = (count: number, at: string): readonly string[] =>
    Array.from({ length: count }, (_, index) => `spiffe://td.test/${at}/${index}`);
  const under = (known: readonly string[], ...matches: readonly PeerMatch[]) => {
    const rules = matches.map((peer, index) => rule(`r${index}`, peer));
    const {
      rules: kept,
      crowded,
      withheld,
    } = restrict(translated(rules), facts({ known: new KnownPeers(() => known) }));
    const counts = kept.map(({ rule: { peer } }) => (peer.kind === 'peers' ? peer.of.length : 0));
    return { counts, crowded, withheld };
  };
  const open = peers(prefix('spiffe://td.test/a/'));
  assert.deepEqual(under(many(200, 'a'), open), { counts: [200], crowded: 0, withheld: 0 });
  assert.deepEqual(under(many(201, 'a'), open), { counts: [], crowded: 1, withheld: 1 });
  const both = peers(prefix('spiffe://td.test/a/'), exact('spiffe://td.test/a/7'), exact(WEB));
  assert.deepEqual(under(many(201, 'a'), both), { counts: [2], crowded: 1, withheld: 0 }, 'who is named stays');
  const eleven = Array.from({ length: 11 }, (_, index) => peers(prefix(`spiffe://td.test/${index}/`)));
  const all = eleven.flatMap((_, index) => many(200, String(index)));
  const after = [...eleven, peers(exact(WEB))];
  assert.deepEqual(under(all, ...after), { counts: [...Array<number>(10).fill(200), 1], crowded: 1, withheld: 1 });
  const others = Array.from({ length: 60 }, (_, index) => peers(suffix(`/${index}/none`)));
  assert.equal(under(many(20_000, 'a'), ...others).crowded, 0);
});

test('what is too costly to look for is left to the call, and counted by itself', () => {
  const many = Array.from({ length: 20_000 }, (_, index) => `spiffe://td.test/a/${index}`);
  const known = new KnownPeers(() => many);
  const under = (of: readonly PeerMatch[]) => {
    const all = of.map((peer, index) => rule(`r${index}`, peer));
    const { rules, crowded, costly } = restrict(translated(all), facts({ known }));
    return { left: rules.map(({ rule: { id } }) => id), crowded, costly };
  };
  const suffixes = (from: number): readonly PeerMatch[] =>
    Array.from({ length: 52 }, (_, index) => peers(suffix(`/${from + index}/none`), exact(WEB)));
  const first = under(suffixes(0));
  assert.deepEqual(
    [first.crowded, first.costly, first.left.length],
    [0, 2, 52],
    'a million comparisons; who is named stays',
  );
  assert.equal(under(suffixes(100)).costly, 2, 'each policy has its own');
  const but = (count: number): Extract<PeerMatch, { kind: 'peers' }> => ({
    kind: 'peers',
    of: [prefix('spiffe://td.test/a/11'), exact(WEB)],
    except: Array.from({ length: count }, (_, index) => regex(`spiffe://td\\.test/.*a.*b.*${index}`)),
  });
  const { length } = many.filter((id) => id.startsWith('spiffe://td.test/a/11'));
  assert.ok(length > 200, 'too many to be told');
  assert.deepEqual(under([but(100)]), { left: ['r0'], crowded: 1, costly: 0 });
  const few: PeerMatch = { ...but(2), of: [prefix('spiffe://td.test/a/111'), exact(WEB)] };
  assert.deepEqual(under([few]), { left: ['r0'], crowded: 0, costly: 0 });
  assert.deepEqual(under([{ ...few, except: but(3).except }]), { left: [], crowded: 0, costly: 1 });
});

test('IDs are looked for by patterns as they are written', () => {
  const ids = Array.from(
    { length: 300 },
    (_, index) => `spiffe://td.test/ns/web/sa/${index === 7 ? 'admin-x' : `s-${index}`}`,
  );
  for (const pattern of ['^spiffe://td[.]test/ns/[a-z]+/sa/[a-z-]+$', 'admin']) {
    const found = new KnownPeers(() => ids).matching(regex(searchRegex(pattern) ?? ''), 200);
    assert.deepEqual(found, [exact('spiffe://td.test/ns/web/sa/admin-x')], pattern);
  }
});

test('when as many are told as a policy may, nobody is looked for', () => {
  const ids = Array.from({ length: 2000 }, (_, index) => `spiffe://td.test/${index % 10}/${index}`);
  const tens = Array.from({ length: 10 }, (_, index) => rule(`r${index}`, peers(prefix(`spiffe://td.test/${index}/`))));
  const known = new KnownPeers(() => ids);
  const costly = Array.from({ length: 3000 }, (_, index) => rule(`s${index}`, peers(suffix(`/none${index}`))));
  const { rules, crowded, costly: uncounted } = restrict(translated([...tens, ...costly]), facts({ known }));
  assert.deepEqual([rules.length, crowded, uncounted], [10, 3000, 0]);
});

test('entries that come and go change what matches by a part of the ID, and nothing else', () => {
  const knows = (...ids: readonly string[]): PeerFacts => facts({ ...base, known: new KnownPeers(() => ids) });
  const base = facts();
  const closed = translated([rule('one', peers(exact(WEB)))]);
  const before = restrict(closed, knows(WEB));
  assert.equal(restrict(closed, knows(API), before), before, 'not looked at again');
  assert.notEqual(restrict(closed, { ...knows(API), ...revoked(WEB) }, before), before);
  const policy = translated([rule('one', peers(prefix('spiffe://td.test/a'))), rule('two', peers(exact(WEB)))]);
  const first = restrict(policy, knows(WEB));
  assert.deepEqual(
    first.rules.map(({ rule: { id } }) => id),
    ['two'],
  );
  const second = restrict(policy, knows(WEB, API), first);
  assert.deepEqual(second.rules[0]?.rule.peer, peers(exact(API)));
  assert.equal(second.rules[1]?.rule, first.rules[0]?.rule);
  const third = restrict(policy, knows(API), second);
  const set = setFor(second, [WEB], { fastDeny: false });
  assert.equal(setFor(third, [WEB], { fastDeny: false, before: set }), set);
});

test('what a change does not concern stays the same object, also the set', () => {
  const policy = translated([rule('one', peers(exact(WEB))), rule('two', peers(exact(API))), rule('any', anyone)]);
  const first = restrict(policy, facts());
  assert.ok(first.rules.every(({ rule: now, from }) => now === from));
  const second = restrict(policy, facts(revoked(API)), first);
  assert.deepEqual(
    second.rules.map(({ rule: now }) => now.id),
    ['one', 'any'],
  );
  assert.equal(second.withheld, 1);
  const third = restrict(policy, facts(revoked(API, API)), second);
  const before = setFor(second, [WEB], { fastDeny: false });
  assert.equal(setFor(third, [WEB], { fastDeny: false, before }), before);
  assert.notEqual(setFor(first, [WEB], { fastDeny: false, before }), before);
  const undone = restrict(policy, facts(), third);
  assert.deepEqual(setFor(undone, [WEB], { fastDeny: false }), setFor(first, [WEB], { fastDeny: false }));
});

test('a caller gets the rules whose conditions on callers it meets', () => {
  const caller = { kind: 'some_id', test: { kind: 'text', match: exact(WEB) } } as const;
  const outer = [rule('out', anyone)];
  const policy = translated([rule('all', anyone), rule('web', anyone, { caller })], { outer });
  const under = restrict(policy, facts());
  assert.deepEqual(
    setFor(under, [API, WEB], { fastDeny: false }).allow.map(({ id }) => id),
    ['all', 'web'],
  );
  assert.deepEqual(setFor(under, [API], { fastDeny: false }), {
    policy: 'default',
    policyDigest: 'd1',
    allow: [policy.rules[0]],
  });
  assert.equal(setFor(under, [API], { fastDeny: true }).outer, outer);
  assert.equal('outer' in setFor(restrict(translated([]), facts()), [API], { fastDeny: true }), false);
});
