import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GOOD, tokenStage } from '../../support/token-stage.ts';

test('single use: the second use of a token is refused within its life, also of another signature', async () => {
  const on = tokenStage({ singleUse: true });
  const claims = { jti: 'one', iat: on.seconds() + 30 };
  const token = await on.token(claims);
  assert.equal(await on.outcome(token), GOOD);
  assert.equal(await on.outcome(token), 'replayed');
  assert.equal(await on.outcome(await on.token(claims)), 'replayed', 'ECDSA signatures of one token differ');
  assert.equal(await on.outcome(await on.token({ ...claims, jti: 'two' })), GOOD);
  const svid = await on.svid({ jti: 'one' });
  assert.equal(await on.outcome(svid), 'verified by jwt_svid', 'another issuer may use the same id');
  assert.equal(await on.outcome(svid), 'replayed');
  const without = await on.svid({ aud: ['orders', 'more'] });
  assert.equal(await on.outcome(without), 'verified by jwt_svid');
  assert.equal(await on.outcome(without), 'replayed', 'a token without an id is told by its content');
  await on.clock.advance(61_000);
  assert.equal(await on.outcome(svid), 'expired');
});

test('single use: of many uses at once one is verified', async () => {
  const on = tokenStage({ singleUse: true });
  const token = await on.token({ jti: 'one', iat: on.seconds() + 30 });
  const outcomes = await Promise.all(Array.from({ length: 20 }, () => on.outcome(token)));
  assert.equal(outcomes.filter((outcome) => outcome === GOOD).length, 1);
});

test('single use: a token that may have been used before the start is refused, and a full cache forgets nothing', async () => {
  const on = tokenStage({ singleUse: true, maxTokens: 2 });
  assert.equal(await on.outcome(await on.token({ jti: 'a' })), 'issued_before_start', 'within the clock skew');
  assert.equal(await on.outcome(await on.token({ jti: 'a', iat: undefined })), 'issued_before_start');
  const make = async (jti: string): Promise<string> =>
    on.token({ jti, iat: on.seconds() + 30, exp: on.seconds() + 60 });
  const [a, b, c] = [await make('a'), await make('b'), await make('c')];
  assert.equal(await on.outcome(a), GOOD);
  assert.equal(await on.outcome(b), GOOD);
  assert.equal(await on.outcome(c), 'replay_cache_full');
  assert.equal(await on.outcome(a), 'replayed');
  await on.clock.advance(91_000);
  assert.equal(await on.outcome(await make('a')), GOOD, 'the old ones have ended');
});
