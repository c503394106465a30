/** The last good bundle on disk: kill -9 between and in the middle of its writes, and a disk that is full. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createKeptBundleFiles } from '../../src/datastore/index.ts';
import { decodeDownloadedBundle } from '../../src/policy/download/kept-bundle.ts';
import { numberedBundle, PLACE, POLICY } from '../support/kept-bundles-program.ts';
import { noSmallDisk, runOnSmallDisk } from '../support/small-disk.ts';
import { tempFolder } from '../support/temp-folder.ts';

const PROGRAM = fileURLToPath(new URL('../support/kept-bundles-program.ts', import.meta.url));
const KILLS = 8;

/** Runs the program until it has said this many lines and a moment more, and gives the last. */
async function runAndKill(folder: string, first: number, lines: number): Promise<number> {
  const child = spawn(process.execPath, [PROGRAM, folder, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: number[] = [];
  try {
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => {
      said.push(Number(line));
      if (said.length === lines) setTimeout(() => child.kill('SIGKILL'), Math.random() * 15);
    });
    await Promise.all([once(child, 'exit'), once(reader, 'close')]);
  } finally {
    child.kill('SIGKILL');
  }
  assert.equal(child.signalCode, 'SIGKILL', 'it ends only because we ended it');
  return said.at(-1) ?? first;
}

test(`after each of ${KILLS} kills the last bundle that was written is there and whole`, async () => {
  await using folder = await tempFolder();
  let last = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    last = await runAndKill(folder.path, last + 1, 1 + Math.floor(Math.random() * 10));
    const files = createKeptBundleFiles({ path: folder.path, close: () => Promise.resolve() }, { policies: [POLICY] });
    const found = await files.load(POLICY);
    const bundle = decodeDownloadedBundle(PLACE, found?.bytes ?? new Uint8Array());
    assert.ok(bundle !== undefined, 'it is whole');
    // The kill can have come between a write and its line.
    assert.ok(bundle.downloadedAt === last || bundle.downloadedAt === last + 1, `${bundle.downloadedAt} of ${last}`);
    const { parts } = numberedBundle(bundle.downloadedAt);
    assert.ok(bundle.parts.every((part, index) => Buffer.compare(part, parts[index] ?? new Uint8Array()) === 0));
    const names = await readdir(join(folder.path, 'bundles'));
    assert.ok(names.length <= 2, `${names.join()}: no more than it and what the kill left`);
  }
});

test('a full disk costs no decision, and the bundle is kept once there is room', { skip: noSmallDisk }, async () => {
  await runOnSmallDisk(fileURLToPath(import.meta.resolve('../support/bundle-full-disk.ts')), 8 * 1024 * 1024);
});
