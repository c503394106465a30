import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, open, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { silentLogger, systemClock } from '../../../src/core/index.ts';
import { openSqliteDatastore, type Datastore } from '../../../src/datastore/index.ts';
import { datastoreContract } from '../../support/datastore-contract.ts';
import { FULL_ENTRY, storedEntry } from '../../support/datastore-fixtures.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { withoutPrivilege } from '../../support/unprivileged.ts';

function openIn(path: string): Promise<Datastore> {
  const directory = { path, close: () => Promise.resolve() };
  return openSqliteDatastore({ directory, clock: systemClock, logger: silentLogger });
}

/** The database file of a data directory. */
const fileIn = (path: string): string => join(path, 'datastore/svidgate.db');

async function makeStore(path: string): Promise<void> {
  const store = await openIn(path);
  try {
    await store.entries.apply([{ kind: 'put', stored: storedEntry(FULL_ENTRY) }]);
    await store.documents.write('journal', 'x'.repeat(100_000));
  } finally {
    await store.close();
  }
}

datastoreContract('the SQLite datastore', async () => {
  const folder = await tempFolder();
  return { open: () => openIn(folder.path), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
});

test('the file and what lies beside it are 0600 in a folder 0700, also when it was made otherwise', async () => {
  await using folder = await tempFolder();
  const parent = join(folder.path, 'datastore');
  await mkdir(parent, { mode: 0o755 });
  await writeFile(fileIn(folder.path), '', { mode: 0o644 });
  const store = await openIn(folder.path);
  try {
    await store.documents.write('a', 'b');
    assert.equal((await stat(parent)).mode & 0o777, 0o700);
    const names = await readdir(parent);
    assert.deepEqual(names.sort(), ['svidgate.db', 'svidgate.db-shm', 'svidgate.db-wal']);
    for (const name of names) assert.equal((await stat(join(parent, name))).mode & 0o777, 0o600, name);
  } finally {
    await store.close();
  }
});

test('a link in place of the file is refused, and what it leads to stays as it is', async () => {
  await using folder = await tempFolder();
  const elsewhere = join(folder.path, 'elsewhere');
  await writeFile(elsewhere, 'kept');
  await mkdir(join(folder.path, 'datastore'));
  await symlink(elsewhere, fileIn(folder.path));
  await assert.rejects(openIn(folder.path), { code: 'datastore_failed', message: /svidgate\.db cannot be opened/ });
  assert.equal(await readFile(elsewhere, 'utf8'), 'kept');
});

test('a database of a newer svidgate is refused by the name of its schema, and stays as it is', async () => {
  await using folder = await tempFolder();
  await makeStore(folder.path);
  const database = new DatabaseSync(fileIn(folder.path));
  database.exec(`INSERT INTO svidgate_migrations VALUES ('9999_far_future', '2040-01-01T00:00:00.000Z')`);
  database.close();
  const before = await readFile(fileIn(folder.path));
  await assert.rejects(openIn(folder.path), {
    code: 'datastore_failed',
    message: /svidgate\.db has the schema 9999_far_future of a newer svidgate: run that one/,
  });
  assert.deepEqual(await readFile(fileIn(folder.path)), before);
});

test('a migration that was interrupted has not happened, and is done at the next start', async () => {
  await using folder = await tempFolder();
  await mkdir(join(folder.path, 'datastore'), { mode: 0o700 });
  // The last statement of the migration fails: its name is taken.
  const database = new DatabaseSync(fileIn(folder.path));
  database.exec('CREATE TABLE issued_not_after (a)');
  await assert.rejects(openIn(folder.path), { code: 'datastore_failed' });
  const tables = database.prepare(`SELECT name FROM sqlite_master WHERE name IN ('entries', 'issued')`).all();
  assert.deepEqual(tables, []);
  database.exec('DROP TABLE issued_not_after');
  database.close();
  await makeStore(folder.path);
});

for (const { what, damage } of [
  { what: 'no database at all', damage: (path: string) => writeFile(path, 'something else entirely'.repeat(100)) },
  { what: 'overwritten in its middle', damage: (path: string) => overwrite(path, 4096, 60_000) },
  {
    what: 'cut short',
    damage: async (path: string) => await writeFile(path, (await readFile(path)).subarray(0, 9000)),
  },
]) {
  test(`a file that is ${what} is said to be damaged, with what to do, and stays as it is`, async () => {
    await using folder = await tempFolder();
    await makeStore(folder.path);
    await damage(fileIn(folder.path));
    const before = await readFile(fileIn(folder.path));
    const use = async (): Promise<void> => {
      const store = await openIn(folder.path);
      try {
        await store.dump();
      } finally {
        await store.close();
      }
    };
    await assert.rejects(use(), {
      code: 'datastore_failed',
      message: /svidgate\.db is damaged: .*restore a backup with `svidgate restore`/,
    });
    assert.deepEqual(await readFile(fileIn(folder.path)), before);
  });
}

async function overwrite(path: string, start: number, length: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(Buffer.alloc(length, 0xa5), 0, length, start);
}

for (const { what, sql } of [
  { what: 'an entry that is no JSON', sql: `UPDATE entries SET entry = '{'` },
  { what: 'an entry with an unknown field', sql: `UPDATE entries SET entry = json_set(entry, '$.narrower', 1)` },
  { what: 'an entry without selectors', sql: `UPDATE entries SET entry = json_remove(entry, '$.selectors')` },
]) {
  test(`${what} is refused by its id, rather than read in part`, async () => {
    await using folder = await tempFolder();
    await makeStore(folder.path);
    const database = new DatabaseSync(fileIn(folder.path));
    database.exec(sql);
    database.close();
    const store = await openIn(folder.path);
    try {
      const refused = { code: 'datastore_failed', message: /the entry web is damaged/ };
      await assert.rejects(store.entries.list(), refused);
      await assert.rejects(store.dump(), refused, 'and makes no backup that could not be restored');
    } finally {
      await store.close();
    }
  });
}

test('a file that may only be read is refused at the start', async () => {
  await using folder = await tempFolder();
  await chmod(folder.path, 0o777);
  await withoutPrivilege(async () => {
    await makeStore(folder.path);
    await chmod(fileIn(folder.path), 0o400);
    await assert.rejects(openIn(folder.path), {
      code: 'datastore_failed',
      message: /svidgate\.db cannot be opened for writing/,
    });
  });
});

test('while another program holds the file, writes wait and nothing else does', async () => {
  await using folder = await tempFolder();
  const store = await openIn(folder.path);
  const other = new DatabaseSync(fileIn(folder.path));
  try {
    other.exec('BEGIN IMMEDIATE');
    let isWritten = false;
    const written = store.documents.write('a', 'b').then(() => (isWritten = true));
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setTimeout(resolve, 1));
    assert.equal(isWritten, false);
    other.exec('ROLLBACK');
    await written;
    assert.equal(await store.documents.read('a'), 'b');
  } finally {
    other.close();
    await store.close();
  }
});

test('a statement that fails within a transaction leaves nothing open', async () => {
  await using folder = await tempFolder();
  await makeStore(folder.path);
  const database = new DatabaseSync(fileIn(folder.path));
  database.exec(`CREATE TRIGGER no BEFORE INSERT ON documents BEGIN SELECT RAISE(ROLLBACK, 'no'); END`);
  const store = await openIn(folder.path);
  try {
    await assert.rejects(store.documents.write('a', 'b'), { code: 'datastore_failed' });
    database.exec('DROP TRIGGER no');
    await store.documents.write('a', 'c');
    assert.equal(await store.documents.read('a'), 'c');
  } finally {
    database.close();
    await store.close();
  }
});

test('an open datastore that nobody asks anything does not hold its process', async () => {
  await using folder = await tempFolder();
  const module = JSON.stringify(import.meta.resolve('../../../src/datastore/index.ts'));
  const script = `const { openSqliteDatastore } = await import(${module});
    const clock = { now: Date.now, sleep: () => new Promise(() => {}) };
    const directory = { path: ${JSON.stringify(folder.path)}, close: () => Promise.resolve() };
    const store = await openSqliteDatastore({ directory, clock });
    void store.documents.write('a', 'b').then(() => console.log('written'));`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 30_000,
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  assert.equal(output, 'written\n', 'what was asked is waited for');
  assert.equal(code, 0);
});
