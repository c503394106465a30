/** Run by runOnSmallDisk with 8 MB: a whole server whose data directory fills up and is emptied again. Asserts, exits 0 or 1. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { restartableServer } from './restartable-server.ts';
import { cliOf } from './run-cli.ts';
import { OWN_SELECTOR } from './server.ts';
import { waitUntil } from './wait-until.ts';
import { connectWorkload, refusalOf } from './workload-client.ts';

const disk = process.argv[2] ?? '';
const ballast = join(disk, 'ballast');

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

for (const required of [false, true]) {
  await using server = await restartableServer({
    config: `data_dir: ${disk}/data-${required}
audit: { required: ${required} }
authority: { ca_ttl: 60s, x509_svid_ttl: 4s }
`,
  });
  await server.start();
  const run = cliOf(server);
  const create = (name: string): ReturnType<typeof run> =>
    run('entry', 'create', '--spiffe-id', `spiffe://example.test/${name}`, '--selector', OWN_SELECTOR);
  const listed = async (): Promise<number> =>
    ((await run.json('entry', 'list')) as { readonly entries: readonly object[] }).entries.length;
  assert.equal((await create('first')).code, 0);
  using client = connectWorkload(server.socket);
  const answers = client.x509Svids();
  await answers.next();

  fill();
  let kept = 1;
  for (let number = 0; number < 2000; number += 1) {
    const { code, err } = await create(`n${number}`);
    if (code === 0) kept += 1;
    else {
      assert.match(err, /datastore_failed|audit_failed/);
      break;
    }
    if (number === 1999) throw new Error('the disk is not full');
  }
  assert.equal(await listed(), kept, 'what was refused is not there, what was acknowledged is');
  if (required) {
    await waitUntil('issuing to stop', 20_000, async () => {
      using other = connectWorkload(server.socket);
      return (await refusalOf(other.x509Svids().next()).catch(() => ['']))[0] === 'UNAVAILABLE';
    });
  } else {
    const { svids } = await waitUntil('a rotated answer', 20_000, async () => {
      const answer = await answers.next();
      return answer.svids.length === kept && answer;
    });
    assert.equal(svids.length, kept);
  }
  answers.cancel();
  await answers.ended;

  rmSync(ballast);
  assert.equal((await create('later')).code, 0);
  await waitUntil('issuing again', 30_000, async () => {
    using other = connectWorkload(server.socket);
    return (await other.x509Svids().next()).svids.length === kept + 1;
  });
  await server.stop();
  await server.start();
  assert.equal(await listed(), kept + 1, 'after a restart');
}
process.exit(0); // the sockets of clients are not waited for
