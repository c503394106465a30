import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Watchable } from '../../../../src/core/index.ts';
import { watchCallerIds } from '../../../../src/endpoints/ecds/caller-ids.ts';
import { parseSelector, parseSpiffeId, type RegistrationEntry } from '../../../../src/spiffe/index.ts';
import { settle } from '../../../support/sds-stage.ts';

const SELECTORS = new Set([parseSelector('unix:uid:1')]);

/** A snapshot that matches entries of these paths; `concerns`: whether the caller is told to look. */
function snapshotOf(paths: readonly string[], isConcerned = true) {
  const entries = paths.map(
    (path) => ({ spiffeId: parseSpiffeId(`spiffe://example.test${path}`) }) as RegistrationEntry,
  );
  let matches = 0;
  return {
    match: () => {
      matches += 1;
      return entries;
    },
    concerns: () => isConcerned,
    get matches() {
      return matches;
    },
  };
}

test('the IDs of all matching entries come sorted, each once, and anew only when they have changed', async () => {
  const entries = new Watchable(snapshotOf(['/b', '/a', '/b']));
  const stop = new AbortController();
  const ids = watchCallerIds(entries, SELECTORS, stop.signal);
  assert.deepEqual((await ids.next()).value, ['spiffe://example.test/a', 'spiffe://example.test/b']);
  const next = ids.next();
  await settle();
  const unrelated = snapshotOf(['/other'], false);
  entries.set(unrelated);
  await settle();
  assert.equal(unrelated.matches, 0, 'a change of others is not looked at');
  const same = snapshotOf(['/a', '/b']);
  entries.set(same);
  await settle();
  assert.equal(same.matches, 1);
  entries.set(snapshotOf([]));
  assert.deepEqual((await next).value, []);
  const last = ids.next();
  await settle();
  stop.abort();
  assert.deepEqual(await last, { value: undefined, done: true });
});

test('a change that is overtaken by one of others is not missed', async () => {
  const entries = new Watchable(snapshotOf(['/a']));
  const ids = watchCallerIds(entries, SELECTORS, new AbortController().signal);
  await ids.next();
  entries.set(snapshotOf(['/b']));
  entries.set(snapshotOf(['/b'], false));
  assert.deepEqual((await ids.next()).value, ['spiffe://example.test/b']);
  await ids.return();
});
