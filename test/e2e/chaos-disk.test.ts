/** The disk of the data directory: full, or not to be written. */
import assert from 'node:assert/strict';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { restartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor } from '../support/server.ts';
import { noSmallDisk, runOnSmallDisk } from '../support/small-disk.ts';
import { fetchIdentity } from '../support/tls-peer.ts';

const PROGRAM = fileURLToPath(new URL('../support/server-full-disk.ts', import.meta.url));
const WEB = 'spiffe://example.test/web';

test(
  'on a full disk issuing goes on, unless audit.required is set; no entry is lost, and no half of one is there',
  { skip: noSmallDisk },
  async () => {
    await runOnSmallDisk(PROGRAM, 8 * 1024 * 1024);
  },
);

test('a key folder that cannot be used: no new CA, and everything else goes on', async () => {
  await using server = await restartableServer({
    config: 'entries: ./entries.yaml\n',
    files: { 'entries.yaml': entriesFor('/web') },
  });
  await server.start();
  const run = cliOf(server);
  const [keys, away] = [join(server.folder, 'data/keys'), join(server.folder, 'keys')];
  await rename(keys, away);
  await writeFile(keys, 'no folder');
  const { serial } = await fetchIdentity(server.socket, WEB);
  const prepared = await run('authority', 'prepare', 'x509');
  assert.equal(prepared.code, 1);
  assert.match(prepared.err, /key_manager_failed/);
  assert.equal((await run('svid', 'revoke', '--serial', serial)).code, 0);
  assert.notEqual((await fetchIdentity(server.socket, WEB)).serial, serial);
  await rm(keys);
  await rename(away, keys);
  assert.equal((await run('authority', 'prepare', 'x509')).code, 0);
});

test(
  'a data directory on a disk that is read-only is told at the start; nothing is changed in it',
  { skip: noSmallDisk },
  async () => {
    await runOnSmallDisk(
      fileURLToPath(new URL('../support/server-read-only-disk.ts', import.meta.url)),
      8 * 1024 * 1024,
    );
  },
);
