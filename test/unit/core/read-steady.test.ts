import assert from 'node:assert/strict';
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readSteady } from '../../../src/core/index.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const LONG_AGO = new Date('2020-01-01');

describe('readSteady', () => {
  test('reads a quiet file once', async () => {
    await using folder = await tempFolder();
    const file = await fileWith(folder.path, 'all', LONG_AGO);
    const reader = readerOf(file);
    assert.equal(await readSteady(file, reader.read), 'all');
    assert.equal(reader.count(), 1);
  });

  test('reads again what changes while it is read', async () => {
    await using folder = await tempFolder();
    const file = await fileWith(folder.path, 'first half', LONG_AGO);
    const reader = readerOf(file, async (count) => {
      if (count <= 3) await writeFile(file, `part ${count}`);
      if (count === 3) await utimes(file, LONG_AGO, LONG_AGO);
    });
    assert.equal(await readSteady(file, reader.read), 'part 3');
    assert.equal(reader.count(), 4);
  });

  test('reads again what changed a moment ago, as by a writer that has not come to its end', async () => {
    await using folder = await tempFolder();
    const file = await fileWith(folder.path, 'first half', new Date());
    const reader = readerOf(file, async (count) => {
      if (count === 1) await writeFile(file, 'first half and the other');
    });
    assert.equal(await readSteady(file, reader.read), 'first half and the other');
  });

  test('a time ahead of the clock is waited for by nobody', async () => {
    await using folder = await tempFolder();
    const file = await fileWith(folder.path, 'all', new Date(Date.now() + 3_600_000));
    const reader = readerOf(file);
    await readSteady(file, reader.read);
    assert.equal(reader.count(), 1);
  });

  test('a file that is not there is for `read` to tell', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'none');
    await assert.rejects(
      readSteady(file, () => readFile(file, 'utf8')),
      { code: 'ENOENT' },
    );
  });
});

async function fileWith(folder: string, text: string, changedAt: Date): Promise<string> {
  const file = join(folder, 'file');
  await writeFile(file, text);
  await utimes(file, changedAt, changedAt);
  return file;
}

/** Reads the file, and then has something happen to it. */
function readerOf(file: string, then: (count: number) => Promise<void> = async () => undefined) {
  let count = 0;
  return {
    count: () => count,
    read: async (): Promise<string> => {
      count += 1;
      const text = await readFile(file, 'utf8');
      await then(count);
      return text;
    },
  };
}
