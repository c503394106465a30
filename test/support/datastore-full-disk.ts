/** Run by runOnSmallDisk with 4 MB: a datastore on a disk that fills up and is emptied again. Asserts, exits 0 or 1. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { openDataDirectory, openSqliteDatastore, type EntryChange } from '../../src/datastore/index.ts';
import { FULL_ENTRY, issuedOf, revocationOf, storedEntry } from './datastore-fixtures.ts';

const disk = process.argv[2] ?? '';
const ballast = join(disk, 'ballast');
const full = { code: 'datastore_failed', message: /svidgate\.db has no room to grow: free some on its disk/ };
const directory = await openDataDirectory(join(disk, 'data'));
const open = () => openSqliteDatastore({ directory, clock: systemClock, logger: silentLogger });

/** Ten entries at a time, so that a half of a write would show. */
function changesOf(number: number): readonly EntryChange[] {
  return Array.from({ length: 10 }, (_, index) => ({
    kind: 'put',
    stored: storedEntry({ ...FULL_ENTRY, entryId: `e${index}`, hint: `${number} ${'x'.repeat(5000)}` }),
  }));
}

/** Takes all room that is left, to the byte. */
function fill(): void {
  for (const size of [4096, 1]) {
    try {
      for (;;) writeFileSync(ballast, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
}

let store = await open();
await store.entries.apply(changesOf(0));
await store.documents.write('journal', 'kept');
fill();
let last = 0;
let failure: unknown;
while (failure === undefined && last < 1000) {
  try {
    await store.entries.apply(changesOf(last + 1));
    last += 1;
  } catch (error) {
    failure = error;
  }
}
assert.throws(() => {
  throw failure;
}, full);
await assert.rejects(store.documents.write('journal', 'y'.repeat(100_000)), full);
await assert.rejects(store.load(await store.dump()), full);
store.issued.record(issuedOf('1'));

const check = async (): Promise<void> => {
  const entries = await store.entries.list();
  assert.deepEqual(new Set(entries.map(({ entry }) => entry.hint?.split(' ')[0])), new Set([String(last)]));
  assert.equal(entries.length, 10);
  assert.equal(await store.documents.read('journal'), 'kept');
};
await check();
await store.close(); // the record of the SVID is lost, and closing does not fail for it
store = await open(); // also while the disk is full
await check();

rmSync(ballast);
last += 1;
await store.entries.apply(changesOf(last));
await store.revocations.put(revocationOf('r', 1));
await check();
await store.close();
await directory.close();
assert.ok(readFileSync(join(disk, 'data/datastore/svidgate.db')).length > 0);
