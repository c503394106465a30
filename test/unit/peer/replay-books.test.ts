import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createReplayBooks } from '../../../src/peer/replay-cache.ts';
import { createTestClock } from '../../support/test-clock.ts';

const NOW = 1_700_000_000_000;

test('what was used in one book was not used in another, and a full one leaves room in the others', () => {
  const clock = createTestClock(NOW);
  const book = createReplayBooks({ clock, maxTokens: 1 });
  const token = (id: string) => ({ id, issuedAt: NOW, expiresAt: NOW + 60_000 });
  assert.equal(book('red').use(token('a')), 'first');
  assert.equal(book('red').use(token('a')), 'replayed');
  assert.equal(book('red').use(token('b')), 'full');
  assert.equal(book('blue').use(token('a')), 'first');
  assert.equal(book('blue').use(token('a')), 'replayed');
});

test('a book that is opened late knows since when uses are remembered', async () => {
  const clock = createTestClock(NOW);
  const book = createReplayBooks({ clock });
  await clock.advance(10_000);
  const late = { expiresAt: NOW + 60_000 };
  assert.equal(book('red').use({ id: 'a', issuedAt: NOW + 1000, ...late }), 'first');
  assert.equal(book('red').use({ id: 'b', issuedAt: NOW - 1, ...late }), 'too_old');
});
