/**
 * Run as a program: `node datastore-writer.ts DATA_DIR [BYTES]`. Writes one thing after the other into the datastore of
 * that folder, for ever, and prints the number of each write that has returned; BYTES is how long the text of each is. Ends
 * with code 3 when one fails, after printing why.
 */
import { writeSync } from 'node:fs';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { openDataDirectory, openSqliteDatastore } from '../../src/datastore/index.ts';
import { FULL_ENTRY, revocationOf, storedEntry } from './datastore-fixtures.ts';

const [path = '', bytes = '100'] = process.argv.slice(2);
const directory = await openDataDirectory(path);
const store = await openSqliteDatastore({ directory, clock: systemClock, logger: silentLogger });
const text = 'x'.repeat(Number(bytes));
try {
  for (let number = 0; ; number += 1) {
    await store.documents.write('last', `${number} ${text}`);
    await store.revocations.put(revocationOf(`r${number}`, number));
    // Each time all ten, so that a half of them would show.
    const entries = Array.from({ length: 10 }, (_, index) =>
      storedEntry({ ...FULL_ENTRY, entryId: `e${index}`, hint: `${number} ${text}` }),
    );
    await store.entries.apply(entries.map((stored) => ({ kind: 'put', stored })));
    writeSync(1, `${number}\n`);
  }
} catch (error) {
  writeSync(1, `${JSON.stringify({ code: (error as { code?: string }).code, message: (error as Error).message })}\n`);
  await store.close();
  await directory.close();
  process.exitCode = 3;
}
