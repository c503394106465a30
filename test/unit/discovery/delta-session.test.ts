import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeltaSession, type DeltaRequest } from '../../../src/discovery/delta-session.ts';
import { UNKNOWN_NODE } from '../../../src/discovery/envoy-node.ts';
import type { ResourceView } from '../../../src/discovery/resource-view.ts';
import type { SessionOptions } from '../../../src/discovery/sotw-session.ts';
import { decodeMessage, DeltaDiscoveryResponse, Secret, SECRET_TYPE_URL, unpackAny } from '../../../src/proto/index.ts';
import { makeSecret, PENDING, viewOf } from '../../support/sds-view.ts';

interface RequestFields {
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly initial?: Readonly<Record<string, string>>;
  readonly nonce?: string;
  readonly refusal?: string;
  readonly node?: string;
}

const request = (fields: RequestFields): DeltaRequest => ({
  subscribe: new Set(fields.subscribe),
  unsubscribe: new Set(fields.unsubscribe),
  initialVersions: new Map(Object.entries(fields.initial ?? {})),
  responseNonce: fields.nonce ?? '',
  refusal: fields.refusal,
  node: fields.node === undefined ? undefined : { ...UNKNOWN_NODE, id: fields.node },
});

const stock = (content: Readonly<Record<string, string>>, more: Parameters<typeof viewOf>[1] = {}): ResourceView =>
  viewOf(new Map(Object.entries(content)), more);
const NEW = { a: 'a1', b: 'b1', c: 'c1' };
const versionOf = (name: string, content: string): string => makeSecret(name, content).version;
const A1 = versionOf('a', 'a1');

interface Driven {
  readonly session: DeltaSession;
  readonly ask: (fields: RequestFields) => ReturnType<DeltaSession['receive']>;
  /** What is sent when the view may have changed: names, then `-` and those removed. */
  readonly look: (view: ResourceView, isChanged?: boolean) => readonly string[];
}

function open(options: Partial<SessionOptions> = {}): Driven {
  let count = 0;
  const session = new DeltaSession({
    typeUrl: SECRET_TYPE_URL,
    unknownName: 'error',
    isAggregated: false,
    nextNonce: () => `n${(count += 1)}`,
    ...options,
  });
  return {
    session,
    ask: (fields) => session.receive(request(fields)),
    look(view, isChanged = true) {
      const { message, more } = session.look(view, isChanged);
      assert.equal(more, false);
      return [...(message?.sent ?? []).map(({ name }) => name), ...(message?.removed ?? []).map((name) => `-${name}`)];
    },
  };
}

test('an answer holds each resource with its name and version', () => {
  const { session, ask } = open();
  ask({ subscribe: ['a', 'z'] });
  const { message } = session.look(stock(NEW), true);
  const response = decodeMessage(DeltaDiscoveryResponse, message?.encode() ?? assert.fail(), 2 ** 20);
  assert.deepEqual([response.nonce, response.typeUrl, response.removedResources], ['n1', SECRET_TYPE_URL, ['z']]);
  const [resource] = response.resources;
  assert.deepEqual([resource?.name, resource?.version], ['a', A1]);
  assert.equal(unpackAny(Secret, resource?.resource ?? assert.fail(), 2 ** 20).name, 'a');
});

test('only what has changed is sent', () => {
  const { session, ask, look } = open();
  ask({ subscribe: ['a', 'b', 'c'] });
  assert.deepEqual(look(stock(NEW)), ['a', 'b', 'c']);
  assert.deepEqual(look(stock(NEW)), []);
  assert.deepEqual(look(stock({ ...NEW, b: 'b2' })), ['b']);
  const { unchanged } = session.look(stock({ ...NEW, b: 'b2' }), true);
  assert.deepEqual(
    unchanged.map(({ name }) => name),
    ['a', 'b', 'c'],
  );
});

test('every name that is subscribed to is answered, once, also when it is held already', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a', 'b'], initial: { a: A1, b: 'old', z: 'held without being asked for' } });
  assert.deepEqual(look(stock(NEW)), ['a', 'b']);
  ask({ subscribe: ['a'] });
  assert.deepEqual(look(stock(NEW), false), ['a']);
  assert.deepEqual(look(stock(NEW), false), []);
  ask({ subscribe: ['a'], unsubscribe: ['a'] });
  assert.deepEqual(look(stock(NEW), false), ['a']);
});

test('what was unsubscribed is not sent, and not answered', () => {
  const { session, ask, look } = open();
  ask({ subscribe: ['a', 'b'] });
  look(stock(NEW));
  assert.deepEqual(ask({ unsubscribe: ['a', 'never asked for'] }).released, ['a']);
  assert.deepEqual([...session.names], ['b']);
  assert.deepEqual(look(stock({ a: 'a2', b: 'b2' })), ['b']);
  ask({ unsubscribe: ['b'] });
  assert.deepEqual(look(stock(NEW)), []);
});

test('what is to come is answered when it is there', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a', 'b'] });
  assert.deepEqual(look(stock({ a: PENDING, b: 'b1' })), ['b']);
  assert.deepEqual(look(stock({ a: 'a1', b: 'b1' })), ['a']);
  assert.deepEqual(look(stock({ a: PENDING, b: 'b1' })), []);
  assert.deepEqual(look(stock({ a: 'a1', b: 'b1' })), []);
});

test('a name that means nothing is answered as removed, stays subscribed, and is sent when it means something', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a', 'z'] });
  assert.deepEqual(look(stock(NEW)), ['a', '-z']);
  assert.deepEqual(look(stock(NEW)), []);
  ask({ subscribe: ['z'] });
  assert.deepEqual(look(stock(NEW), false), ['-z']);
  assert.deepEqual(look(stock({ ...NEW, z: 'z1' })), ['z']);
});

test('under unknownName: wait it is not answered until it means something', () => {
  const { ask, look } = open({ unknownName: 'wait' });
  ask({ subscribe: ['a', 'z'] });
  assert.deepEqual(look(stock(NEW)), ['a']);
  assert.deepEqual(look(stock({ ...NEW, z: 'z1' })), ['z']);
});

test('what was sent and means nothing any more is removed once, under either rule, and sent when it is back', () => {
  for (const unknownName of ['error', 'wait'] as const) {
    const { ask, look } = open({ unknownName });
    ask({ subscribe: ['a', 'b'], initial: { b: versionOf('b', 'b1') } });
    assert.deepEqual(look(stock({ a: 'a1' })), ['a', '-b']);
    assert.deepEqual(look(stock({ c: 'c1' })), ['-a']);
    assert.deepEqual(look(stock({ c: 'c1' })), []);
    assert.deepEqual(look(stock(NEW)), ['a', 'b']);
  }
});

test('what is asked for again before the answer to the first question is read counts as held', () => {
  const gone = stock({ b: 'b1' }, { closed: 'a' });
  for (const view of [gone, stock({ b: 'b1' })]) {
    const { session, ask } = open({ unknownName: 'wait' });
    ask({ subscribe: ['a', 'b'] });
    session.look(stock(NEW), true);
    ask({ unsubscribe: ['a'] });
    ask({ subscribe: ['a'] });
    const { message } = session.look(view, true);
    assert.deepEqual(
      message?.sent.map(({ version }) => version),
      view === gone ? [versionOf('a', 'closed')] : [],
    );
    assert.deepEqual(message?.removed, view === gone ? [] : ['a']);
  }
  const { session, ask } = open({ unknownName: 'wait' });
  ask({ subscribe: ['a'] });
  session.look(stock(NEW), true);
  ask({ unsubscribe: ['a'], nonce: 'n1' });
  ask({ subscribe: ['a'] });
  assert.equal(session.look(gone, true).message, undefined, 'it has read that, and let go of it');
});

test('a bundle that is held and means nothing any more is closed instead', () => {
  const { session, ask } = open();
  ask({ subscribe: ['b'], initial: { b: 'from before' } });
  const { message } = session.look(stock({ a: 'a1' }, { closed: 'b' }), true);
  assert.deepEqual([message?.removed, message?.sent[0]?.version], [[], versionOf('b', 'closed')]);
});

test('a reply names what was in its answer, and counts once', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a'] });
  look(stock(NEW));
  ask({ subscribe: ['b'] });
  look(stock(NEW), false);
  const nack = ask({ nonce: 'n2', refusal: 'bad key' });
  assert.deepEqual(nack, {
    reply: { kind: 'nack', resources: [{ name: 'b', version: versionOf('b', 'b1') }], reason: 'bad key' },
    asks: false,
    isFree: true,
    released: [],
  });
  assert.deepEqual(ask({ nonce: 'n1' }).reply, { kind: 'ack', resources: [{ name: 'a', version: A1 }] });
  assert.deepEqual(ask({ nonce: 'n1' }).reply, { kind: 'stale' });
});

test('what was refused is not sent again until it changes or is subscribed to anew', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a'] });
  look(stock(NEW));
  ask({ nonce: 'n1', refusal: 'no' });
  assert.deepEqual(look(stock(NEW)), []);
  ask({ subscribe: ['a'] });
  assert.deepEqual(look(stock(NEW), false), ['a']);
  ask({ nonce: 'n2', refusal: 'no' });
  assert.deepEqual(look(stock({ a: 'a2' })), ['a']);
});

test('a nonce that was not sent changes no books; what else the request asks for counts', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a'], nonce: 'of another stream' });
  look(stock(NEW));
  const outcome = ask({ nonce: 'never sent', refusal: 'no', subscribe: ['b'], unsubscribe: ['a'] });
  assert.deepEqual(outcome, { reply: { kind: 'stale' }, asks: true, isFree: false, released: ['a'] });
  assert.deepEqual(look(stock({ a: 'a2', b: 'b1' })), ['b']);
});

test('an ACK that also asks counts as both', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a'] });
  look(stock(NEW));
  const outcome = ask({ nonce: 'n1', subscribe: ['b'] });
  assert.deepEqual([outcome.reply?.kind, outcome.asks], ['ack', true]);
  assert.deepEqual(look(stock(NEW), false), ['b']);
});

test('a first request without names, or a star, asks for everything; what the Envoy holds is spared', () => {
  for (const subscribe of [[], ['*']]) {
    const { ask, look } = open();
    ask({ subscribe, initial: { a: A1, b: 'old', gone: 'v' } });
    assert.deepEqual(look(stock(NEW)), ['b', 'c', '-gone']);
    assert.deepEqual(look(stock(NEW)), []);
    assert.deepEqual(look(stock({ a: 'a1', b: 'b1', d: 'd1' })), ['d', '-c']);
  }
});

test('of what an Envoy says that it holds by the star only so much is closed, and looked at', () => {
  const { ask, session } = open();
  const claims = Array.from({ length: 10_000 }, (_, index) => `d${index}`);
  ask({ initial: { a: 'old', ...Object.fromEntries(claims.map((name) => [name, 'v'])) } });
  let lookups = 0;
  const view: ResourceView = {
    ...stock(NEW),
    lookup(name) {
      lookups += 1;
      return { kind: 'ready', resource: makeSecret(name, 'closed') };
    },
  };
  assert.deepEqual(
    session.look(view, true).message?.sent.map(({ name }) => name),
    ['a', 'b', 'c', ...claims.slice(0, 100)],
  );
  session.look(view, true);
  assert.equal(lookups, 200);
});

test('a later request without names asks for nothing', () => {
  const { ask, look } = open();
  ask({ subscribe: ['a'] });
  look(stock(NEW));
  ask({});
  assert.deepEqual(look(stock(NEW)), []);
});

test('a star can be unsubscribed, and what was asked for by name stays', () => {
  const { ask, look } = open();
  ask({ subscribe: ['*', 'a'] });
  assert.deepEqual([...look(stock(NEW))].sort(), ['a', 'b', 'c']);
  assert.deepEqual(ask({ unsubscribe: ['*'] }).released, ['b', 'c']);
  assert.deepEqual(look(stock({ a: 'a2', b: 'b2', c: 'c2' })), ['a']);
  ask({ subscribe: ['*'] });
  assert.deepEqual(look(stock({ a: 'a2', b: 'b2' }), false), ['b'], 'the other one is held');
});

test('a name that was unsubscribed still comes by the star', () => {
  const { ask, look } = open();
  ask({ subscribe: ['*', 'a', 'z'] });
  const view = stock({ ...NEW, z: 'z1' }, { wild: ['a', 'b'] });
  assert.deepEqual([...look(view)].sort(), ['a', 'b', 'z']);
  assert.deepEqual(ask({ unsubscribe: ['a', 'z'] }).released, ['z']);
  assert.deepEqual(look(stock({ a: 'a2', b: 'b1', z: 'z2' }, { wild: ['a', 'b'] })), ['a']);
});

test('what everything had and is to come again is not removed; a bundle is closed', () => {
  const { ask, look } = open();
  ask({});
  look(stock(NEW));
  assert.deepEqual(look(stock({ ...NEW, a: PENDING })), []);
  assert.deepEqual(look(stock({ a: 'a1', c: 'c1' }, { closed: 'b' })), ['b']);
  assert.deepEqual(look(stock({ a: 'a1', c: 'c1' }, { closed: 'b' })), []);
  assert.deepEqual(look(stock(NEW)), ['b']);
});

test('nothing goes to a caller that no entry matches', () => {
  const nobody = stock(NEW, { isRegistered: false });
  for (const [subscribe, code] of [
    [['a'], 'not_authorized'],
    [[], 'no_identity'],
  ] as const) {
    const refused = open();
    refused.ask({ subscribe });
    assert.throws(() => refused.session.look(nobody, true), { code });
    const patient = open({ unknownName: 'wait' });
    patient.ask({ subscribe, initial: { a: A1 } });
    assert.deepEqual(patient.look(nobody), []);
    assert.notDeepEqual(patient.look(stock({ a: 'a2' })), []);
  }
});

test('a large answer is cut in pieces of about a megabyte, each with the newest content', () => {
  const { session, ask } = open();
  const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
  ask({ subscribe: names });
  const content = new Map(names.map((name) => [name, '1'.repeat(200_000)]));
  const sent: string[] = [];
  for (let more = true; more;) {
    const look = session.look(viewOf(content), true);
    ({ more } = look);
    const bytes = look.message?.encode().length ?? 0;
    assert.ok(bytes > 200_000 && bytes < 1_100_000, `${bytes} bytes`);
    sent.push(...(look.message?.sent ?? []).map(({ name, bytes: own }) => `${name}:${own.length}`));
    content.set('n19', '2'.repeat(100_000));
  }
  assert.equal(sent.length, 20);
  assert.equal(new Set(sent).size, 20);
  assert.match(sent.at(-1) ?? '', /^n19:1000\d\d$/);
});

test('what is subscribed to anew while pieces are sent is answered, without another change', () => {
  const { session, ask } = open();
  const names = Array.from({ length: 10 }, (_, index) => `n${index}`);
  const view = viewOf(new Map([...names, 'late'].map((name) => [name, 'x'.repeat(300_000)])));
  ask({ subscribe: names });
  const sent: string[] = [];
  for (let more = true; more;) {
    const look = session.look(view, false);
    ({ more } = look);
    sent.push(...(look.message?.sent ?? []).map(({ name }) => name));
    if (sent.length < 4) ask({ subscribe: ['late'] });
  }
  assert.deepEqual(new Set(sent), new Set([...names, 'late']));
});

test('a secret larger than an answer should be is sent alone', () => {
  const { session, ask } = open();
  ask({ subscribe: ['a', 'big', 'c'] });
  const view = viewOf(new Map([...Object.entries(NEW), ['big', 'x'.repeat(2_000_000)]]));
  const sent: string[][] = [];
  for (let more = true; more;) {
    const look = session.look(view, true);
    ({ more } = look);
    sent.push((look.message?.sent ?? []).map(({ name }) => name));
  }
  assert.deepEqual(sent, [['a'], ['big'], ['c']]);
});

test('the node is remembered from the first message that carries it', () => {
  const { session, ask } = open();
  ask({ subscribe: ['a'] });
  ask({ node: 'web-1' });
  ask({ node: 'web-2' });
  assert.equal(session.node.id, 'web-1');
});

test('an Envoy that never replies, and one that comes and goes with names, leave nothing behind', () => {
  const { session, ask } = open();
  ask({ subscribe: ['a'] });
  for (let round = 0; round < 10_000; round += 1) {
    ask({ subscribe: ['a', `name ${round}`], unsubscribe: [`name ${round - 1}`], nonce: `never sent ${round}` });
    session.look(stock(NEW), false);
  }
  assert.equal(session.names.size, 2);
  assert.deepEqual(session.tally.count, 2);
  const late = ask({ nonce: 'n1' });
  assert.deepEqual(late.reply, { kind: 'stale' }, 'the oldest answer is forgotten');
  assert.equal(ask({ nonce: 'n10000' }).reply?.kind, 'ack');
});
