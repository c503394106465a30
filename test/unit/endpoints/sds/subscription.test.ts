import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFlag, usesSpiffeValidator, UNKNOWN_NODE } from '../../../../src/endpoints/sds/envoy-node.ts';
import { Subscription, type SubscriptionRequest } from '../../../../src/endpoints/sds/subscription.ts';

const request = (names: readonly string[], fields: Partial<SubscriptionRequest> = {}): SubscriptionRequest => ({
  names: new Set(names),
  versionInfo: '',
  responseNonce: '',
  refusal: undefined,
  node: undefined,
  ...fields,
});

const ACK = { versionInfo: 'v1', responseNonce: 'n1' };

/** A subscription to `a` that was answered with v1 under nonce n1. */
function answered(): Subscription {
  const subscription = new Subscription();
  subscription.receive(request(['a']));
  subscription.sent({ version: 'v1' }, 'n1');
  return subscription;
}

const cases = [
  { name: 'an ACK is not answered', request: request(['a'], ACK), kind: 'ack' },
  { name: 'the same names twice or in another order are the same', request: request(['a', 'a'], ACK), kind: 'ack' },
  { name: 'a further name is answered', request: request(['a', 'b'], ACK), kind: 'answer' },
  { name: 'other names are answered', request: request(['b'], ACK), kind: 'answer' },
  { name: 'another nonce is stale', request: request(['b'], { ...ACK, responseNonce: 'n0' }), kind: 'stale' },
  { name: 'no nonce at all is stale', request: request(['b']), kind: 'stale' },
  {
    name: 'error_detail is a NACK',
    request: request(['a'], { ...ACK, versionInfo: '', refusal: 'bad' }),
    kind: 'nack',
  },
  { name: 'the version before is a NACK', request: request(['a'], { ...ACK, versionInfo: '' }), kind: 'nack' },
];

for (const { name, request: received, kind } of cases) {
  test(name, () => assert.equal(answered().receive(received).kind, kind));
}

test('the first request is answered whatever version and nonce it claims', () => {
  const outcome = new Subscription().receive(request(['a'], { versionInfo: 'old', responseNonce: 'old' }));
  assert.equal(outcome.kind, 'answer');
});

test('what was refused is not sent again until it changes', () => {
  const subscription = answered();
  subscription.receive(request(['a'], { responseNonce: 'n1', refusal: 'bad key' }));
  assert.equal(subscription.isNews({ version: 'v1' }), false);
  assert.equal(subscription.isNews({ version: 'v2' }), true);
});

test('the node is remembered from the message that carried it', () => {
  const subscription = new Subscription();
  subscription.receive(request(['a'], { node: { ...UNKNOWN_NODE, id: 'web-1' } }));
  subscription.receive(request(['a']));
  assert.equal(subscription.node.id, 'web-1');
});

test('an Envoy that follows the protocol ends with the newest content of its names, and nothing is sent twice', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('names' as const), names: fc.subarray(['a', 'b', 'c'], { minLength: 1 }) }),
    fc.record({ kind: fc.constant('content' as const), content: fc.nat(5) }),
    fc.record({ kind: fc.constant('ack' as const), refuse: fc.boolean() }),
    fc.record({ kind: fc.constant('stale' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const server = new Subscription();
      let content = 0;
      let nonce = 0;
      let wanted: readonly string[] | undefined;
      let held: { readonly version: string; readonly nonce: string } = { version: '', nonce: '' };
      let applied = '';
      const version = (): string => `${[...(server.names ?? [])].sort().join()}@${content}`;
      const push = (asked: boolean): void => {
        if (server.names === undefined) return;
        const news = server.isNews({ version: version() });
        if (!asked && !news) return;
        nonce += 1;
        held = { version: version(), nonce: `n${nonce}` };
        server.sent(held, held.nonce);
      };
      for (const one of steps) {
        if (one.kind === 'content') {
          ({ content } = one);
          push(false);
        } else if (one.kind === 'stale') {
          const outcome = server.receive(request(['z'], { responseNonce: 'never sent' }));
          if (held.nonce !== '') assert.equal(outcome.kind, 'stale');
          else {
            wanted = ['z'];
            push(true);
          }
        } else if (one.kind === 'names') {
          const known = held.nonce !== '';
          wanted = one.names;
          applied = held.version;
          const before = [...(server.names ?? [])].sort().join();
          const outcome = server.receive(request(wanted, { versionInfo: held.version, responseNonce: held.nonce }));
          if (known) assert.equal(outcome.kind, before === [...wanted].sort().join() ? 'ack' : 'answer');
          if (outcome.kind === 'answer') push(true);
        } else if (wanted !== undefined && held.nonce !== '') {
          if (!one.refuse) applied = held.version;
          const received = one.refuse
            ? { versionInfo: applied === held.version ? 'other' : applied, refusal: 'no' }
            : { versionInfo: applied, refusal: undefined };
          const outcome = server.receive(request(wanted, { ...received, responseNonce: held.nonce }));
          assert.equal(outcome.kind, one.refuse ? 'nack' : 'ack');
          push(false);
        }
      }
      if (wanted !== undefined) assert.equal(held.version, `${[...wanted].sort().join()}@${content}`);
    }),
    { numRuns: 500 },
  );
});

const flags = [
  { value: true, flag: true },
  { value: 'T', flag: true },
  { value: '0', flag: false },
  { value: 'FALSE', flag: false },
  { value: 'yes', flag: undefined },
  { value: 1, flag: undefined },
  { value: null, flag: undefined },
  { value: {}, flag: undefined },
];

for (const { value, flag } of flags) {
  test(`disable_spiffe_cert_validation ${JSON.stringify(value)} is ${flag}`, () =>
    assert.equal(parseFlag(value), flag));
}

const validators = [
  { version: undefined, own: undefined, config: false, spiffe: true },
  { version: { major: 1, minor: 40 }, own: undefined, config: false, spiffe: true },
  { version: { major: 1, minor: 18 }, own: undefined, config: false, spiffe: true },
  { version: { major: 1, minor: 17 }, own: undefined, config: false, spiffe: false },
  { version: { major: 2, minor: 0 }, own: undefined, config: false, spiffe: true },
  { version: { major: 0, minor: 0 }, own: undefined, config: false, spiffe: false },
  { version: undefined, own: undefined, config: true, spiffe: false },
  { version: undefined, own: false, config: true, spiffe: true },
  { version: undefined, own: true, config: false, spiffe: false },
];

for (const { version, own, config, spiffe } of validators) {
  test(`the SPIFFE validator is ${spiffe ? 'used' : 'not used'} for ${JSON.stringify({ version, own, config })}`, () => {
    const node = { id: '', cluster: '', version, disableSpiffeCertValidation: own };
    assert.equal(usesSpiffeValidator(node, config), spiffe);
  });
}
