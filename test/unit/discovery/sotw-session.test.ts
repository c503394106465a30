import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UNKNOWN_NODE } from '../../../src/discovery/envoy-node.ts';
import { SotwSession, type SessionOptions, type SotwRequest } from '../../../src/discovery/sotw-session.ts';
import { decodeMessage, DiscoveryResponse, Secret, SECRET_TYPE_URL, unpackAny } from '../../../src/proto/index.ts';
import { makeSecret, PENDING, viewOf } from '../../support/sds-view.ts';

const request = (names: readonly string[], fields: Partial<SotwRequest> = {}): SotwRequest => ({
  names: new Set(names),
  versionInfo: '',
  responseNonce: '',
  refusal: undefined,
  node: undefined,
  ...fields,
});

function open(options: Partial<SessionOptions> = {}): SotwSession {
  let count = 0;
  return new SotwSession({
    typeUrl: SECRET_TYPE_URL,
    unknownName: 'error',
    isAggregated: false,
    nextNonce: () => `n${(count += 1)}`,
    ...options,
  });
}

const stock = (content: Readonly<Record<string, string>>) => viewOf(new Map(Object.entries(content)));
const ready = (name: string) => ({ kind: 'ready', resource: makeSecret(name, 'x1') }) as const;
const NEW = { a: 'a1', b: 'b1', c: 'c1' };
const versionOf = (name: string, content: string): string => makeSecret(name, content).version;
const A1 = versionOf('a', 'a1');

/** What would be sent, by name, or undefined. */
const sentBy = (session: SotwSession, content: Readonly<Record<string, string>>, isChanged = true) =>
  session.look(stock(content), isChanged).message?.sent.map(({ name }) => name);

/** A session whose request for `a` was answered under nonce n1. */
function answered(options: Partial<SessionOptions> = {}): SotwSession {
  const session = open(options);
  session.receive(request(['a']));
  assert.deepEqual(sentBy(session, NEW), ['a']);
  return session;
}

const ACK = { versionInfo: A1, responseNonce: 'n1' };
const cases = [
  { name: 'an ACK is not answered and is free', request: request(['a'], ACK), reply: 'ack', sent: undefined },
  { name: 'a further name is answered', request: request(['a', 'b'], ACK), reply: 'ack', sent: ['a', 'b'] },
  { name: 'other names are answered', request: request(['b'], ACK), reply: 'ack', sent: ['b'] },
  { name: 'another nonce is stale', request: request(['b'], { ...ACK, responseNonce: 'n0' }), reply: 'stale' },
  { name: 'no nonce at all is stale', request: request(['b']), reply: 'stale' },
  { name: 'error_detail is a NACK', request: request(['a'], { responseNonce: 'n1', refusal: 'bad' }), reply: 'nack' },
  { name: 'the version before is a NACK', request: request(['a'], { responseNonce: 'n1' }), reply: 'nack' },
  {
    name: 'a NACK that asks for more is answered',
    request: request(['a', 'b'], { responseNonce: 'n1', refusal: 'bad' }),
    reply: 'nack',
    sent: ['a', 'b'],
  },
];

for (const { name, request: received, reply, sent } of cases) {
  test(name, () => {
    const session = answered();
    const outcome = session.receive(received);
    assert.equal(outcome.reply?.kind, reply);
    assert.equal(outcome.asks, sent !== undefined);
    assert.deepEqual(sentBy(session, NEW, false), sent);
    assert.deepEqual(sentBy(session, NEW), undefined);
  });
}

test('an answer holds the secrets as they are, in a version that is a hash of the content', () => {
  const session = open();
  session.receive(request(['b', 'a']));
  const { message } = session.look(stock(NEW), true);
  const response = decodeMessage(DiscoveryResponse, message?.encode() ?? assert.fail(), 2 ** 20);
  assert.deepEqual([response.nonce, response.typeUrl], ['n1', SECRET_TYPE_URL]);
  assert.deepEqual(
    response.resources.map((resource) => unpackAny(Secret, resource, 2 ** 20).name),
    ['a', 'b'],
  );
  const other = open();
  other.receive(request(['a', 'b']));
  assert.equal(other.look(stock(NEW), true).message?.version, response.versionInfo);
  const changed = open();
  changed.receive(request(['a', 'b']));
  assert.notEqual(changed.look(stock({ ...NEW, b: 'b2' }), true).message?.version, response.versionInfo);
});

test('the order is own bundle, foreign bundles, SVIDs, and does not depend on the order asked', () => {
  const kinds = {
    a: { kind: 'x509_svid' },
    b: { kind: 'bundle' },
    c: { kind: 'bundle', bundleSequence: 0 },
    d: { kind: 'jwt_svid' },
  } as const;
  const view = {
    ...stock({}),
    lookup: (name: string) => ({
      kind: 'ready' as const,
      resource: makeSecret(name, '', kinds[name as keyof typeof kinds]),
    }),
  };
  for (const names of [
    ['a', 'b', 'c', 'd'],
    ['d', 'c', 'b', 'a'],
  ]) {
    const session = open();
    session.receive(request(names));
    const sent = session.look(view, true).message?.sent.map(({ name }) => name);
    assert.deepEqual(sent, ['c', 'b', 'a', 'd']);
  }
});

test('the first request is answered whatever version and nonce it claims', () => {
  const session = open();
  session.receive(request(['a'], { versionInfo: 'old', responseNonce: 'old' }));
  assert.deepEqual(sentBy(session, NEW), ['a']);
});

test('[a,b] to [b,a] is quiet, to [a] is answered and releases b', () => {
  const session = open();
  session.receive(request(['a', 'b']));
  const { message } = session.look(stock(NEW), true);
  const ack = { versionInfo: message?.version ?? '', responseNonce: 'n1' };
  assert.deepEqual(session.receive(request(['b', 'a'], ack)).asks, false);
  assert.equal(sentBy(session, NEW, false), undefined);
  assert.deepEqual(session.receive(request(['a'], ack)).released, ['b']);
  assert.deepEqual(sentBy(session, NEW, false), ['a']);
});

test('content that changes is sent once, what is the same is told as unchanged', () => {
  const session = answered();
  const same = session.look(stock(NEW), true);
  assert.deepEqual([same.message, same.unchanged.map(({ version }) => version)], [undefined, [A1]]);
  assert.deepEqual(sentBy(session, { a: 'a2' }), ['a']);
  assert.equal(sentBy(session, { a: 'a2' }), undefined);
});

test('what was refused is not sent again until it changes', () => {
  const session = answered();
  session.receive(request(['a'], { responseNonce: 'n1', refusal: 'bad key' }));
  assert.equal(sentBy(session, NEW), undefined);
  assert.deepEqual(sentBy(session, { a: 'a2' }), ['a']);
});

test('a reply names what was in the answer, once', () => {
  const session = answered();
  const resources = [{ name: 'a', version: A1 }];
  assert.deepEqual(session.receive(request(['a'], ACK)), {
    reply: { kind: 'ack', resources },
    asks: false,
    isFree: true,
    released: [],
  });
  assert.deepEqual(session.receive(request(['a'], ACK)), { asks: false, isFree: false, released: [] });
});

test('a reply that comes after the next answer is stale, whatever it says', () => {
  const session = answered();
  assert.deepEqual(sentBy(session, { a: 'a2' }), ['a']);
  assert.equal(session.receive(request(['a', 'b'], ACK)).reply?.kind, 'stale');
  assert.deepEqual([...session.names], ['a']);
  assert.equal(sentBy(session, { a: 'a2' }, false), undefined);
});

test('each answer has one reply that is free, also when the next answer was under way', () => {
  const session = answered();
  for (let content = 2; content < 30; content += 1) sentBy(session, { a: `a${content}` });
  const reply = (nonce: number) => session.receive(request(['a'], { responseNonce: `n${nonce}` })).isFree;
  assert.deepEqual([1, 20, 20, 28, 29, 29, 30].map(reply), [false, true, false, true, true, false, false]);
});

test('under ADS a request that repeats one that was replied to is answered again; alone it is not', () => {
  for (const isAggregated of [true, false]) {
    for (const first of [ACK, { responseNonce: 'n1', refusal: 'bad' }]) {
      const session = answered({ isAggregated });
      session.receive(request(['a'], first));
      assert.equal(sentBy(session, NEW, false), undefined);
      assert.equal(session.receive(request(['a'], ACK)).asks, isAggregated);
      assert.deepEqual(sentBy(session, NEW, false), isAggregated ? ['a'] : undefined);
    }
  }
});

test('no name at all asks for everything, under ADS only at first', () => {
  for (const isAggregated of [true, false]) {
    const session = open({ isAggregated });
    session.receive(request([]));
    assert.deepEqual(sentBy(session, NEW), ['a', 'b', 'c']);
  }
  for (const isAggregated of [true, false]) {
    const session = answered({ isAggregated });
    session.receive(request([], ACK));
    assert.deepEqual(sentBy(session, NEW), isAggregated ? undefined : ['a', 'b', 'c']);
  }
});

test('a star asks for everything beside names', () => {
  const session = open();
  session.receive(request(['*', 'z']));
  const view = viewOf(new Map(Object.entries({ ...NEW, z: 'z1' })), { wild: ['a', 'b'] });
  assert.deepEqual(
    session.look(view, true).message?.sent.map(({ name }) => name),
    ['a', 'b', 'z'],
  );
  assert.deepEqual([...session.names], ['z']);
});

test('what was named beside a star is let go when it is not named any more', () => {
  const session = open();
  const everything = new Map(Object.entries(NEW));
  let nonce = '';
  for (let round = 0; round < 20; round += 1) {
    const named = [`x${round}`, 'a'];
    const { released } = session.receive(request(['*', ...named], { versionInfo: 'v', responseNonce: nonce }));
    assert.deepEqual(released, round === 0 ? [] : [`x${round - 1}`]);
    const content = new Map([...everything, [`x${round}`, 'x1']]);
    // As a closed context, whatever is held would be sent again and again.
    const view = { ...viewOf(content, { wild: ['a', 'b', 'c'] }), lookup: (name: string) => ready(name) };
    const { message } = session.look(view, false);
    nonce = message?.nonce ?? '';
    assert.deepEqual(message?.sent.map(({ name }) => name).sort(), ['a', 'b', 'c', `x${round}`]);
  }
  session.receive(request(['*'], { versionInfo: 'v', responseNonce: nonce }));
  assert.deepEqual(sentBy(session, NEW, false), ['a', 'b', 'c'], 'what everything has stays without its name');
});

test('what everything does not have any more is left out of the next answer, or sent closed', () => {
  const session = open();
  session.receive(request([]));
  const look = (content: Readonly<Record<string, string>>, closed?: string) =>
    session
      .look(viewOf(new Map(Object.entries(content)), closed === undefined ? {} : { closed }), true)
      .message?.sent.map(({ name, version }) => (version === versionOf(name, 'closed') ? `${name} closed` : name));
  assert.deepEqual(look(NEW), ['a', 'b', 'c']);
  assert.deepEqual(look({ a: 'a1', c: 'c1' }, 'b'), ['a', 'c', 'b closed']);
  assert.deepEqual(look({ a: 'a1', c: 'c1' }, 'b'), undefined);
  assert.deepEqual(look({ a: 'a1' }, 'b'), ['a', 'b closed']);
  assert.deepEqual(look({ a: 'a1', b: 'b1' }), ['a', 'b']);
  assert.deepEqual(look({ a: 'a1', b: PENDING }), undefined);
});

test('a name that means nothing fails the whole request, and names it', () => {
  const session = open();
  session.receive(request(['z', 'a', 'y']));
  assert.throws(() => session.look(stock(NEW), true), {
    code: 'not_authorized',
    message: 'workload is not authorized for the requested identities ["y" "z"]',
  });
});

test('the names in an error are cut', () => {
  const session = open();
  session.receive(request(Array.from({ length: 1000 }, (_, index) => `${index}`.padEnd(2000, 'x'))));
  assert.throws(
    () => session.look(stock(NEW), true),
    ({ message }: Error) => message.length < 1000 && message.endsWith('] and 995 more'),
  );
});

test('under unknownName: wait a name that means nothing is waited for, and the others are sent', () => {
  const session = open({ unknownName: 'wait' });
  session.receive(request(['a', 'z']));
  assert.deepEqual(sentBy(session, NEW), ['a']);
  assert.deepEqual(sentBy(session, { ...NEW, z: 'z1' }), ['a', 'z']);
});

test('nothing goes to a caller that no entry matches', () => {
  const nobody = viewOf(new Map(Object.entries(NEW)), { isRegistered: false });
  for (const [names, code] of [
    [['a'], 'not_authorized'],
    [[], 'no_identity'],
  ] as const) {
    const session = open();
    session.receive(request(names));
    assert.throws(() => session.look(nobody, true), { code });
    const patient = open({ unknownName: 'wait' });
    patient.receive(request(names));
    assert.deepEqual(patient.look(nobody, true), { unchanged: [], more: false });
    assert.notEqual(sentBy(patient, NEW), undefined);
  }
});

test('what is to come is waited for, and what is being issued anew is not taken for gone', () => {
  const session = open();
  session.receive(request(['a', 'b']));
  assert.equal(sentBy(session, { a: PENDING, b: PENDING }), undefined);
  assert.deepEqual(sentBy(session, { a: 'a1', b: PENDING }), ['a']);
  assert.deepEqual(sentBy(session, { a: 'a1', b: 'b1' }), ['a', 'b']);
  assert.equal(sentBy(session, { a: PENDING, b: 'b1' }), undefined);
  assert.equal(sentBy(session, { a: 'a1', b: 'b1' }), undefined);
});

test('a bundle that the Envoy holds from before is closed when it means nothing any more, a new name is not', () => {
  const view = viewOf(new Map([['a', 'a1']]), { closed: 'b' });
  const back = open();
  back.receive(request(['b'], { versionInfo: 'from before' }));
  assert.equal(back.look(view, true).message?.sent[0]?.version, versionOf('b', 'closed'));
  const fresh = open();
  fresh.receive(request(['b']));
  assert.throws(() => fresh.look(view, true), { code: 'not_authorized' });
  const later = answered();
  later.receive(request(['a', 'b'], ACK));
  assert.deepEqual(sentBy(later, NEW, false), ['a', 'b']);
  assert.deepEqual(
    later.look(view, true).message?.sent.map(({ version }) => version),
    [A1, versionOf('b', 'closed')],
  );
});

test('the node is remembered from the first message that carries it, a stale one too', () => {
  const session = answered();
  assert.equal(session.node, UNKNOWN_NODE);
  session.receive(request(['a'], { node: { ...UNKNOWN_NODE, id: 'web-1' } }));
  session.receive(request(['a'], { node: { ...UNKNOWN_NODE, id: 'web-2' } }));
  assert.equal(session.node.id, 'web-1');
});
