import assert from 'node:assert/strict';
import { test } from 'node:test';
import { entry, MINUTE, SELECTORS, watchCaller } from '../../support/watched-caller.ts';

test('a JWT-SVID whose entry is deleted, or gives another ID, while it is being signed is not handed out', async () => {
  for (const later of [[], [{ ...entry('a', '/other') }]]) {
    const stage = await watchCaller([entry('a', '/x')]);
    const { promise, resolve } = Promise.withResolvers<void>();
    stage.signing = promise;
    const fetched = stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] });
    stage.entries.set({ match: () => later, concerns: () => true });
    resolve();
    await assert.rejects(fetched, { code: 'no_identity' });
    await stage.stop();
  }
});

test('a JWT-SVID for audiences of great length is not kept', async () => {
  const stage = await watchCaller([entry('a', '/x')]);
  for (const [length, signatures] of [
    [100, 1],
    [8192, 3],
  ] as const) {
    const audience = ['x'.repeat(length)];
    for (let call = 0; call < 2; call += 1) await stage.source.fetchJwtSvids(SELECTORS, { audience });
    assert.equal(stage.tokens.length, signatures);
  }
  await stage.stop();
});

test('a JWT-SVID is given again until half of its life is over; one with a jti never', async () => {
  const stage = await watchCaller([entry('a', '/x'), { ...entry('b', '/y'), jwtSvidIncludeJti: true, hint: 'b' }]);
  const fetch = async (): Promise<readonly string[]> =>
    (await stage.source.fetchJwtSvids(SELECTORS, { audience: ['x'] })).map(({ svid }) => svid.token);
  const [one, two] = await Promise.all([fetch(), fetch()]);
  assert.equal(one[0], two[0], 'asked for twice at once, it is signed once');
  assert.notEqual(one[1], two[1]);
  await stage.clock.advance(MINUTE);
  assert.equal((await fetch())[0], one[0]);
  await stage.clock.advance(MINUTE);
  assert.notEqual((await fetch())[0], one[0]);
  const [, withHint] = await stage.source.fetchJwtSvids(SELECTORS, { audience: ['y', 'z'] });
  assert.equal(withHint?.hint, 'b');
  await stage.stop();
});
