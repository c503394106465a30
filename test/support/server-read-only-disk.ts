/** Run by runOnSmallDisk: a server whose data directory is on a disk that becomes read-only while it is stopped. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { restartableServer } from './restartable-server.ts';
import { cliOf } from './run-cli.ts';
import { OWN_SELECTOR } from './server.ts';

const disk = process.argv[2] ?? '';
const remount = (how: 'ro' | 'rw'): unknown => execFileSync('mount', ['-o', `remount,${how}`, disk]);

await using server = await restartableServer({ config: `data_dir: ${disk}/data\n` });
await server.start();
const run = cliOf(server);
const id = 'spiffe://example.test/kept';
assert.equal((await run('entry', 'create', '--spiffe-id', id, '--selector', OWN_SELECTOR)).code, 0);
const bundle = await run.text('bundle', 'show');
await server.stop();

remount('ro');
await assert.rejects(server.start(), { code: 'file_unreadable', message: /data/ });
remount('rw');
await server.start();
assert.equal(await run.text('bundle', 'show'), bundle);
const { entries } = (await run.json('entry', 'list')) as { readonly entries: readonly object[] };
assert.equal(entries.length, 1);
await server.stop();
process.exit(0); // the sockets of clients are not waited for
