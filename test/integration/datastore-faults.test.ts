import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { openDataDirectory, openSqliteDatastore, type Datastore } from '../../src/datastore/index.ts';
import { noSmallDisk, runOnSmallDisk } from '../support/small-disk.ts';
import { tempFolder } from '../support/temp-folder.ts';

const WRITER = fileURLToPath(import.meta.resolve('../support/datastore-writer.ts'));
const KILLS = 6;

/** Opens the datastore as the next process would, and says which write was the last of each kind. */
async function lastWrites(path: string): Promise<{ document: number; revocation: number; entries: number }> {
  const directory = await openDataDirectory(path);
  try {
    const store = await openSqliteDatastore({ directory, clock: systemClock, logger: silentLogger });
    try {
      return await readWrites(store);
    } finally {
      await store.close();
    }
  } finally {
    await directory.close();
  }
}

async function readWrites(store: Datastore): Promise<{ document: number; revocation: number; entries: number }> {
  const numberOf = (text: string | undefined): number => Number.parseInt(text ?? '-1', 10);
  const revocations = (await store.revocations.list()).map(({ revokedAt }) => revokedAt);
  assert.deepEqual(revocations, [...revocations.keys()], 'no revocation is missing');
  const entries = await store.entries.list();
  const hints = new Set(entries.map(({ entry }) => entry.hint));
  assert.ok(hints.size === 1 || entries.length === 0, 'all ten entries are of one write');
  assert.ok(entries.length === 10 || entries.length === 0);
  return {
    document: numberOf(await store.documents.read('last')),
    revocation: revocations.length - 1,
    entries: numberOf(entries[0]?.entry.hint),
  };
}

test('after kill -9 at any moment everything that was acknowledged is there, and no half of anything', async () => {
  for (let round = 0; round < KILLS; round += 1) {
    await using folder = await tempFolder();
    const child = spawn(process.execPath, [WRITER, folder.path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    let acknowledged = -1;
    try {
      // Not in the same phase of a write each time.
      const goal = 1 + round * 5;
      for await (const line of createInterface(child.stdout)) {
        acknowledged = Number(line);
        if (acknowledged >= goal && child.signalCode === null) setTimeout(() => child.kill('SIGKILL'), round * 0.7);
      }
      assert.deepEqual(await exited, [null, 'SIGKILL']);
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
    const { document, revocation, entries } = await lastWrites(folder.path);
    // What was under way may be there or not, in the order in which it was written.
    assert.ok(acknowledged <= entries && entries <= revocation && revocation <= document);
    assert.ok(document <= acknowledged + 1, `${document} was never begun`);
  }
});

test(
  'on a full disk a write fails as a whole, what was written stays and is read, and room heals it',
  { skip: noSmallDisk },
  async () => {
    await runOnSmallDisk(fileURLToPath(import.meta.resolve('../support/datastore-full-disk.ts')), 4_000_000);
  },
);
