import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FollowedJwtSvid, FollowedJwtSvidRequest } from '../../../src/identity/index.ts';
import { parseSpiffeId, type RegistrationEntry } from '../../../src/spiffe/index.ts';
import { entry, MINUTE, SELECTORS, watchCaller, type Stage } from '../../support/watched-caller.ts';

const X = parseSpiffeId('spiffe://example.test/x');

interface Following extends AsyncDisposable {
  readonly stage: Stage;
  readonly followed: FollowedJwtSvid;
  /** The kind of the state, or the token. */
  readonly told: string[];
  readonly shown: () => string;
  /** Has these entries match the caller from now on. */
  readonly give: (...entries: readonly RegistrationEntry[]) => Promise<void>;
  readonly stopFollowing: () => void;
}

const show = ({ state }: FollowedJwtSvid): string => (state.kind === 'ready' ? state.svid.token : state.kind);

/** A caller that follows a token for the audience `api`; tokens live for four minutes and are numbered. */
async function follow(
  first: readonly RegistrationEntry[],
  request: Partial<FollowedJwtSvidRequest> = { spiffeId: X },
): Promise<Following> {
  const stage = await watchCaller(first);
  const told: string[] = [];
  const followed = stage.source.followJwtSvid(SELECTORS, { audience: ['api'], ...request }, () =>
    told.push(show(followed)),
  );
  await stage.clock.advance(0);
  return {
    stage,
    followed,
    told,
    shown: () => show(followed),
    async give(...entries) {
      stage.entries.set({ match: () => entries, concerns: () => true });
      await stage.clock.advance(0);
    },
    stopFollowing: () => followed[Symbol.dispose](),
    async [Symbol.asyncDispose]() {
      followed[Symbol.dispose]();
      await stage.stop();
    },
  };
}

/** Half of a life and, by the random number of the stage, half of the longest delay. */
const RENEWAL = 2 * MINUTE * 1.05;

test('a token is pending until it is issued, and replaced soon after half of its life', async () => {
  await using following = await follow([entry('a', '/x')]);
  const { stage, told, shown } = following;
  assert.deepEqual(told, ['api 0']);
  await stage.clock.advance(RENEWAL - 1);
  assert.deepEqual([told, stage.tokens.length], [['api 0'], 1]);
  await stage.clock.advance(1);
  assert.deepEqual([told, shown()], [['api 0', 'api 1'], 'api 1']);
  await stage.clock.advance(60 * MINUTE);
  assert.equal(stage.tokens.length, 30);
});

test('a token that takes long to be signed is pending', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  using followed = stage.source.followJwtSvid(SELECTORS, { audience: ['api'] }, () => undefined);
  await stage.clock.advance(MINUTE);
  assert.equal(show(followed), 'pending');
  resolve();
  await stage.clock.advance(0);
  assert.equal(show(followed), 'api 0');
  await stage.stop();
});

test('without an ID it is the token of the default identity, also when that becomes another', async () => {
  await using following = await follow([entry('a', '/x'), entry('b', '/y')], {});
  assert.equal(following.stage.tokens.at(-1)?.spiffeId, 'spiffe://example.test/x');
  await following.give(entry('b', '/y'));
  assert.equal(following.shown(), 'api 1');
  assert.equal(following.stage.tokens.at(-1)?.spiffeId, 'spiffe://example.test/y');
});

test('an identity that the caller has not is unknown; its token comes with its entry, and goes with it at once', async () => {
  await using following = await follow([entry('b', '/y')]);
  const { stage, told, followed, give, shown } = following;
  assert.deepEqual([shown(), stage.tokens.length], ['unknown', 0]);
  await give(entry('a', '/x'), entry('b', '/y'));
  assert.equal(shown(), 'api 0');
  told.length = 0;
  stage.entries.set({ match: () => [entry('b', '/y')], concerns: () => true });
  assert.deepEqual([told, followed.state], [['unknown'], { kind: 'unknown' }], 'before anything else runs');
  await stage.clock.advance(60 * MINUTE);
  assert.equal(stage.tokens.length, 1, 'nothing is issued for an identity that is gone');
});

test('a change that does not concern the caller is not looked at', async () => {
  await using following = await follow([entry('a', '/x')]);
  const { stage, told } = following;
  told.length = 0;
  stage.entries.set({ match: () => [entry('a', '/x')], concerns: () => false });
  await stage.clock.advance(0);
  assert.deepEqual(told, []);
});

test('another entry for the same ID has a token of its own', async () => {
  await using following = await follow([entry('a', '/x')]);
  await following.give(entry('a2', '/x'));
  assert.equal(following.shown(), 'api 1');
});

test('an entry that gives another ID gives the token of the old one no more', async () => {
  await using following = await follow([entry('a', '/x')]);
  await following.give(entry('a', '/z'));
  assert.equal(following.shown(), 'unknown');
});

test('a revoked ID has no token from that moment on, and a new one when that is undone', async () => {
  await using following = await follow([entry('a', '/x')]);
  const { stage, told, shown } = following;
  told.length = 0;
  stage.revoke(X);
  assert.deepEqual([told, shown()], [['unknown'], 'unknown']);
  await stage.clock.advance(60 * MINUTE);
  assert.equal(stage.tokens.length, 1);
  stage.revoke();
  await stage.clock.advance(0);
  assert.equal(shown(), 'api 1');
});

test('what is revoked while its token is being signed is never shown', async () => {
  await using following = await follow([entry('a', '/x')]);
  const { stage, told } = following;
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  await stage.clock.advance(2 * MINUTE);
  told.length = 0;
  stage.revoke(X);
  resolve();
  await stage.clock.advance(0);
  assert.deepEqual(new Set(told), new Set(['unknown']));
});

test('a token whose key is tainted is gone at once, and another comes as soon as it can be signed', async () => {
  await using following = await follow([entry('a', '/x')]);
  const { stage, told, shown } = following;
  told.length = 0;
  stage.signer = 'bb';
  stage.tainted.set(new Set(['aa']));
  assert.deepEqual([told, shown()], [['pending'], 'pending']);
  await stage.clock.advance(0);
  assert.deepEqual(told, ['pending', 'api 1']);
});

test('a token whose key leaves the bundle is replaced', async () => {
  await using following = await follow([entry('a', '/x')]);
  const { stage, shown } = following;
  stage.signer = 'bb';
  const { jwtAuthorities } = stage.bundle.value;
  stage.bundle.set({ ...stage.bundle.value, jwtAuthorities: jwtAuthorities.filter(({ keyId }) => keyId !== 'aa') });
  assert.equal(shown(), 'pending');
  await stage.clock.advance(0);
  assert.equal(shown(), 'api 1');
});

test('tokens of a key that nobody knows yet are asked for ever more seldom, and taken when the key is published', async () => {
  await using following = await follow([entry('b', '/y')]);
  const { stage, give, shown } = following;
  stage.signer = 'new';
  await give(entry('a', '/x'));
  await stage.clock.advance(10_000);
  assert.equal(shown(), 'pending');
  assert.ok(stage.tokens.length >= 2 && stage.tokens.length <= 6, `${stage.tokens.length} tokens`);
  const { jwtAuthorities } = stage.bundle.value;
  const published = [...jwtAuthorities, { keyId: 'new', publicKey: new Uint8Array() }];
  const last = stage.tokens.at(-1)?.token;
  stage.bundle.set({ ...stage.bundle.value, jwtAuthorities: published });
  assert.equal(shown(), last);
  const count = stage.tokens.length;
  await stage.clock.advance(MINUTE);
  assert.equal(stage.tokens.length, count);
});

test('a rotation that fails is tried again ever more seldom; the old token serves until it ends, and no longer', async () => {
  await using following = await follow([entry('a', '/x')]);
  const { stage, shown } = following;
  stage.failing = true;
  const failures = (): number =>
    stage.audited.filter(({ event, result }) => event === 'svid_issued' && result === 'failure').length;
  await stage.clock.advance(RENEWAL + 5000);
  const early = failures();
  assert.ok(early >= 3 && early <= 6, `${early} tries in five seconds`);
  await stage.clock.advance(4 * MINUTE - RENEWAL - 5001);
  assert.equal(shown(), 'api 0');
  assert.ok(failures() - early <= 10, `${failures() - early} tries in two minutes`);
  await stage.clock.advance(1);
  assert.equal(shown(), 'pending');
  stage.failing = false;
  await stage.clock.advance(30_000);
  assert.equal(shown(), 'api 1');
  const count = failures();
  stage.failing = true;
  await stage.clock.advance(2 * MINUTE);
  assert.ok(failures() > count, 'after a success the first tries come quickly again');
});

test('a token with a jti is not issued anew whenever something changes', async () => {
  const withJti = { ...entry('a', '/x'), jwtSvidIncludeJti: true };
  await using following = await follow([withJti]);
  const { stage, give, shown } = following;
  for (let change = 0; change < 10; change += 1) await give(withJti, entry('b', `/y${change}`));
  stage.tainted.set(new Set(['other']));
  stage.revoke('spiffe://example.test/other');
  await stage.clock.advance(MINUTE);
  assert.deepEqual([stage.tokens.length, shown()], [1, 'api with jti 0']);
  await stage.clock.advance(RENEWAL - MINUTE);
  assert.equal(shown(), 'api with jti 1');
});

test('after a clock was set, ahead or back, the token is replaced within a minute', async () => {
  for (const jump of [3 * 60 * MINUTE, -3 * 60 * MINUTE]) {
    await using following = await follow([entry('a', '/x')]);
    const { stage, shown } = following;
    stage.clock.set(stage.clock.now() + jump);
    await stage.clock.advance(MINUTE);
    assert.equal(shown(), 'api 1');
  }
});

test('what is not followed any more is not issued, told of or waited for', async () => {
  const following = await follow([entry('a', '/x')]);
  const { stage, told, give } = following;
  following.stopFollowing();
  await stage.stop();
  assert.equal(stage.clock.sleeping, 0);
  told.length = 0;
  await give();
  stage.revoke(X);
  stage.tainted.set(new Set(['aa']));
  await stage.clock.advance(60 * MINUTE);
  assert.deepEqual([told, stage.tokens.length], [[], 1]);
});

test('a token that is signed after nobody follows it is told to nobody', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  const { promise, resolve } = Promise.withResolvers<void>();
  stage.signing = promise;
  const told: string[] = [];
  const followed = stage.source.followJwtSvid(SELECTORS, { audience: ['api'] }, () => told.push('change'));
  followed[Symbol.dispose]();
  resolve();
  await stage.stop();
  await stage.clock.advance(0);
  assert.deepEqual([told, stage.tokens.length, stage.clock.sleeping], [[], 1, 0]);
});
