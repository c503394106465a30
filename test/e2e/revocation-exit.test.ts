/** `revocation.on_workload_exit`: an SVID ends with the last process that was given it, and with nothing less. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const PROGRAM = fileURLToPath(new URL('../support/holder-program.ts', import.meta.url));

interface Holder extends AsyncDisposable {
  /** The next line that it prints. */
  next(): Promise<string>;
  close(): void;
  kill(): Promise<void>;
}

function startHolder(server: RestartableServer): Holder {
  const child = spawn(process.execPath, [PROGRAM, join(server.folder, 'api.sock')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  return {
    next: async () => String((await lines.next()).value),
    close: () => void child.stdin.write('close\n'),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

interface Listed {
  readonly revocations: readonly { readonly serial: string; readonly reason: string }[];
}

test('only when no living process holds it; whoever comes next is given a fresh one', async () => {
  await using server = await restartableServer({
    config: 'entries: ./entries.yaml\nrevocation: { on_workload_exit: true }\n',
    files: { 'entries.yaml': entriesFor('/web') },
  });
  await server.start();
  const run = cliOf(server);
  const revoked = async (): Promise<Listed['revocations']> =>
    ((await run.json('svid', 'revocations')) as Listed).revocations;
  await using first = startHolder(server);
  await using second = startHolder(server);
  const serial = await first.next();
  assert.equal(await second.next(), serial, 'one entry, one SVID');
  await first.kill();
  second.close();
  assert.equal(await second.next(), 'closed');
  await using third = startHolder(server);
  assert.equal(await third.next(), serial, 'one process has closed its stream, and has the key still');
  await third.kill();
  await using fourth = startHolder(server);
  assert.equal(await fourth.next(), serial);
  assert.deepEqual(await revoked(), []);

  await second.kill();
  await fourth.kill();
  const [exit] = await waitUntil('the revocation', 5000, async () => {
    const all = await revoked();
    return all.length > 0 && all;
  });
  assert.partialDeepStrictEqual(exit, { serial, reason: 'cessation_of_operation' });
  await using fifth = startHolder(server);
  const fresh = await fifth.next();
  assert.notEqual(fresh, serial);
  const { bundles } = (await run.json('bundle', 'list')) as { readonly bundles: readonly object[] };
  assert.equal(bundles.length, 1);
  assert.doesNotMatch(
    JSON.stringify(server.lines),
    /revocation list signed/,
    'no new bundle for every process that ends',
  );

  await server.stop();
  await server.start();
  assert.deepEqual(await revoked(), [exit], 'a server that stops is no exit of its callers');
});
