import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  matchesText,
  restrict,
  setFor,
  type PeerFacts,
  type PeerMatch,
  type TextMatch,
} from '../../../src/offload/index.ts';
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
  assert.deepEqual(peerUnder(anyone, revoked(WEB, ALIEN)), { kind: 'anyone', except: [exact(ALIEN), exact(WEB)] });
  const before: PeerMatch = { kind: 'anyone', except: [exact(WEB), prefix('spiffe://x/')] };
  assert.deepEqual(peerUnder(before, revoked(WEB)), before, 'once is enough');
});

test('more revoked peers than a rule can name are a call, and so is one that nobody can name', () => {
  const many = Array.from({ length: 501 }, (_, index) => `spiffe://td.test/w-${index}`);
  assert.equal(peerUnder(anyone, revoked(...many)), undefined);
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
