import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Watchable, type ReadonlyWatchable } from '../../../src/core/index.ts';
import { createPeerLists, type PeerLists, type PeerListSource } from '../../../src/secrets/index.ts';
import { parseSpiffeIdPattern } from '../../../src/spiffe/index.ts';
import { listen, type Told } from './support.ts';

type Documents = { readonly kind: 'pending' } | { readonly kind: 'known'; readonly data: unknown };

const WEB = 'spiffe://example.test/web';
const BATCH = 'spiffe://example.test/batch/**';

interface Stage extends Told {
  readonly lists: ReadonlyWatchable<PeerLists>;
  readonly policy: Watchable<Documents>;
  /** How often a change was told. */
  readonly changes: () => number;
  readonly set: (data: unknown) => void;
}

function stage(sources: Readonly<Record<string, PeerListSource>>): Stage {
  const told = listen();
  const policy = new Watchable<Documents>({ kind: 'pending' });
  const policyData = (name: string): ReadonlyWatchable<Documents> => {
    assert.equal(name, 'default');
    return policy;
  };
  const lists = createPeerLists({ lists: new Map(Object.entries(sources)), policyData, logger: told.logger });
  let changes = 0;
  lists.subscribe(() => (changes += 1));
  return { ...told, lists, policy, changes: () => changes, set: (data) => policy.set({ kind: 'known', data }) };
}

const FROM_POLICY = { kind: 'policy', policy: 'default', path: 'peers/orders' } as const;

describe('lists of peers', () => {
  test('of the configuration are there at once', () => {
    const peers = [parseSpiffeIdPattern(WEB)];
    const { lists } = stage({ own: { kind: 'static', peers }, nobody: { kind: 'static', peers: [] } });
    assert.deepEqual(lists.value.get('own'), { kind: 'known', peers });
    assert.deepEqual(lists.value.get('nobody'), { kind: 'known', peers: [] });
    assert.equal(lists.value.get('other'), undefined);
  });

  test('of a policy are pending until it is loaded, and follow its data', () => {
    const { lists, set, changes } = stage({ orders: FROM_POLICY });
    assert.deepEqual(lists.value.get('orders'), { kind: 'pending' });
    set({ peers: { orders: [WEB, BATCH] } });
    const expected = [WEB, BATCH].map(parseSpiffeIdPattern);
    assert.deepEqual(lists.value.get('orders'), { kind: 'known', peers: expected });
    set({ peers: { orders: [] } });
    assert.deepEqual(lists.value.get('orders'), { kind: 'known', peers: [] });
    assert.equal(changes(), 2);
  });

  test('stay the same objects when other data changes', () => {
    const { lists, set, changes } = stage({
      orders: FROM_POLICY,
      other: { ...FROM_POLICY, path: 'peers/other' },
    });
    set({ peers: { orders: [WEB, BATCH], other: [] } });
    const before = lists.value;
    set({ peers: { orders: [WEB, BATCH], other: [] }, more: 1 });
    assert.equal(lists.value, before);
    set({ peers: { orders: [WEB, BATCH], other: [WEB] } });
    assert.notEqual(lists.value, before);
    assert.equal(lists.value.get('orders'), before.get('orders'));
    assert.equal(changes(), 2);
    set({ peers: { orders: [BATCH, WEB], other: [WEB] } });
    assert.notEqual(lists.value.get('orders'), before.get('orders'));
  });

  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    ['no such key', {}, /there is no such value$/],
    ['no such key further down', { peers: {} }, /there is no such value$/],
    ['a text', { peers: { orders: WEB } }, /it is not a list$/],
    ['an object', { peers: { orders: { 0: WEB } } }, /it is not a list$/],
    ['null', { peers: { orders: null } }, /it is not a list$/],
    ['null above', { peers: null }, /there is no such value$/],
    ['a list above', { peers: [{ orders: [WEB] }] }, /there is no such value$/],
    ['a number in it', { peers: { orders: [WEB, 7] } }, /number 2 is not a text$/],
    ['a list in it', { peers: { orders: [[WEB]] } }, /number 1 is not a text$/],
    ['no SPIFFE ID in it', { peers: { orders: [WEB, 'web'] } }, /"web": /],
    [
      'a trust domain in it',
      { peers: { orders: ['spiffe://example.test'] } },
      /"spiffe:\/\/example\.test": no workload/,
    ],
    ['a star in it', { peers: { orders: ['spiffe://example.test/*'] } }, /"spiffe:\/\/example\.test\/\*": /],
    ['an empty text in it', { peers: { orders: [''] } }, /"": /],
  ];
  for (const [what, data, reason] of wrong) {
    test(`with ${what} let nobody in, which is told once`, () => {
      const { lists, set, lines } = stage({ orders: FROM_POLICY });
      set({ peers: { orders: [WEB] } });
      set(data);
      assert.deepEqual(lists.value.get('orders'), { kind: 'known', peers: [] });
      set(structuredClone(data));
      assert.equal(lines.length, 1);
      assert.equal(lines[0]?.message, 'list of peers is wrong and lets nobody in');
      assert.equal(lines[0]?.policy, 'default');
      assert.match(lines[0]?.reason ?? '', reason);
      assert.match(lines[0]?.reason ?? '', /^list orders in peers\/orders: /);
      set({ peers: { orders: [WEB] } });
      set(data);
      assert.equal(lines.length, 2);
    });
  }

  test('are not found in what every object inherits', () => {
    for (const path of ['constructor', 'peers/__proto__', 'toString/name', 'peers/orders/length']) {
      const { lists, set } = stage({ list: { ...FROM_POLICY, path } });
      set(JSON.parse('{"peers": {"orders": ["spiffe://example.test/web"]}}'));
      assert.deepEqual(lists.value.get('list'), { kind: 'known', peers: [] }, path);
    }
  });

  test('quote at most a piece of a long text', () => {
    const { set, lines } = stage({ orders: FROM_POLICY });
    set({ peers: { orders: ['x'.repeat(1_000_000)] } });
    assert.ok((lines[0]?.reason ?? '').length < 1000, `${lines[0]?.reason?.length}`);
  });
});
