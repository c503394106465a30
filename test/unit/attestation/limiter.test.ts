import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLimiter } from '../../../src/attestation/limiter.ts';
import { never } from '../../support/own-peer.ts';

test('works wait in order, and one that fails or leaves gives its place free', async () => {
  const limited = createLimiter(1);
  const done: string[] = [];
  const first = Promise.withResolvers<void>();
  const leaving = new AbortController();
  const works = [
    limited(() => first.promise, never).then(() => done.push('first')),
    assert.rejects(
      limited(() => Promise.resolve(), leaving.signal),
      { message: 'left' },
    ),
    assert.rejects(
      limited(() => Promise.reject(new Error('broken')), never),
      { message: 'broken' },
    ),
    limited(() => Promise.resolve(done.push('last')), never),
  ];
  leaving.abort(new Error('left'));
  first.resolve();
  await Promise.all(works);
  assert.deepEqual(done, ['first', 'last']);
});

test('a work that leaves in the moment it is given its place hands it on', async () => {
  const limited = createLimiter(1);
  const first = Promise.withResolvers<void>();
  const leaving = new AbortController();
  const running = limited(() => first.promise, never);
  const left = assert.rejects(
    limited(() => Promise.resolve(), leaving.signal),
    { message: 'left' },
  );
  const last = limited(() => Promise.resolve('served'), never);
  first.resolve();
  await running.then(() => leaving.abort(new Error('left')));
  await Promise.allSettled([left]);
  assert.equal(await last, 'served');
});
