/** Session ticket keys on the disk, and kill -9 between and in the middle of their writes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { silentLogger } from '../../src/core/index.ts';
import { ticketKeyFile } from '../../src/secrets/ticket-key-file.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { FAST_TICKETS, type TicketKeysLine } from '../support/ticket-keys-program.ts';

const PROGRAM = fileURLToPath(new URL('../support/ticket-keys-program.ts', import.meta.url));
const KILLS = 6;

/** Runs the program until it has said this many lines and a moment more, and gives what it said. */
async function runAndKill(folder: string, lines: number): Promise<readonly TicketKeysLine[]> {
  const child = spawn(process.execPath, [PROGRAM, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: TicketKeysLine[] = [];
  try {
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => {
      said.push(JSON.parse(line) as TicketKeysLine);
      if (said.length === lines) setTimeout(() => child.kill('SIGKILL'), Math.random() * 20);
    });
    await Promise.all([once(child, 'exit'), once(reader, 'close')]);
  } finally {
    child.kill('SIGKILL');
  }
  assert.equal(child.signalCode, 'SIGKILL', 'it ends only because we ended it');
  return said;
}

test(`after each of ${KILLS} kills every key that was handed out and is not past its use is there`, async () => {
  await using folder = await tempFolder();
  let handedOut = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const said = await runAndKill(folder.path, 2 + Math.floor(Math.random() * 30));
    const kept = await ticketKeyFile(folder.path, FAST_TICKETS, silentLogger).load();
    const inFile = new Set([...kept.values()].map((key) => Buffer.from(key).toString('hex')));
    assert.ok(inFile.size > 0, 'the file is there and whole');
    const newest = said.at(-1)?.keys ?? [];
    // The kill can have come between a write and its line. The file is then ahead, and only the oldest keys can be gone.
    const there = newest.findLastIndex((key) => inFile.has(key)) + 1;
    assert.ok(there >= 2, 'the present key and the next are there');
    assert.ok(
      newest.slice(0, there).every((key) => inFile.has(key)),
      'a key is gone before its time',
    );
    handedOut += said.length;
    const names = await readdir(folder.path);
    assert.equal(names.filter((name) => name.endsWith('.json')).length, 1, names.join());
  }
  assert.ok(handedOut > KILLS * 2);
});
