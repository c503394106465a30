/** Callers in numbers, and callers that misbehave: everybody gets its own identity, and nobody waits for another. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { copyFile, link, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { configFolder, serve } from '../support/cli.ts';
import { cliOf } from '../support/run-cli.ts';
import { connect } from '../support/grpc-client.ts';
import { OWN_SELECTOR } from '../support/server.ts';
import { connectWorkload } from '../support/workload-client.ts';

const PROGRAM = fileURLToPath(new URL('../support/many-callers-program.ts', import.meta.url));
const PROGRAMS = Number(process.env['SVIDGATE_CHAOS_PROGRAMS'] ?? 10);
/** As many calls as one process may have open. */
const CONNECTIONS = 100;

/** A Node of its own name, by which unix:path knows it. */
async function linkNode(folder: string, name: string): Promise<string> {
  const target = join(folder, name);
  try {
    await link(process.execPath, target);
  } catch {
    await copyFile(process.execPath, target, constants.COPYFILE_FICLONE);
  }
  return target;
}

test(`${PROGRAMS * CONNECTIONS} callers that connect at once are all given their own identity, and no other`, async (t) => {
  await using folder = await configFolder('entries: ./entries.yaml');
  await mkdir(join(folder.path, 'bin'));
  const names = Array.from({ length: PROGRAMS }, (_, index) => `caller-${index}`);
  const nodes = await Promise.all(names.map((name) => linkNode(join(folder.path, 'bin'), name)));
  const entries = names.map((name, index) => ({
    spiffe_id: `spiffe://example.test/${name}`,
    selectors: [OWN_SELECTOR, `unix:path:${nodes[index] ?? ''}`],
  }));
  await writeFile(join(folder.path, 'entries.yaml'), JSON.stringify({ entries }));
  const config = await readFile(join(folder.path, 'svidgate.yaml'), 'utf8');
  await writeFile(
    join(folder.path, 'svidgate.yaml'),
    `${config}attestation: { unix: { discover_workload_path: true } }\n`,
  );
  await using server = serve(folder.path);
  await server.started();
  const socket = join(folder.path, 'api.sock');
  const children: ChildProcess[] = [];
  try {
    const startedAt = performance.now();
    const outcomes = nodes.map(async (node) => {
      const child = spawn(node, [PROGRAM, socket, String(CONNECTIONS)], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
      return JSON.parse(output) as Readonly<Record<string, number>>;
    });
    const counts = await Promise.all(outcomes);
    t.diagnostic(`served ${PROGRAMS * CONNECTIONS} in ${Math.round(performance.now() - startedAt)} ms`);
    assert.deepEqual(
      counts,
      names.map((name) => ({ [`spiffe://example.test/${name}`]: CONNECTIONS })),
    );
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
  assert.equal(server.child.exitCode, null);
});

/** Resident memory of a process, in bytes. */
async function memoryOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

test('callers that never read hold up nobody, and their backlog does not grow', async (t) => {
  const IDENTITIES = 100;
  const CHANGES = Number(process.env['SVIDGATE_CHAOS_CHANGES'] ?? 60);
  await using folder = await configFolder('entries: ./entries.yaml');
  const paths = Array.from({ length: IDENTITIES }, (_, index) => `/held/${index}`);
  const write = (round: number): Promise<void> => {
    // The hint of one changes: an answer of some 150 kB for everybody.
    const entries = paths.map((path, index) => ({
      spiffe_id: `spiffe://example.test${path}`,
      selectors: [OWN_SELECTOR],
      ...(index === 0 ? { hint: `round-${round}` } : {}),
    }));
    return writeFile(join(folder.path, 'entries.yaml'), JSON.stringify({ entries }));
  };
  await write(0);
  await using server = serve(folder.path);
  await server.started();
  const address = `unix:${join(folder.path, 'api.sock')}`;
  using stuck = new DisposableStack();
  for (let number = 0; number < 10; number += 1) {
    const workload = stuck.use(connectWorkload(address));
    workload.x509Svids().pause();
    const sds = stuck.use(connect(address)).streamSecrets();
    sds.send({ resourceNames: [] });
    sds.pause();
  }
  using reader = connectWorkload(address);
  const answers = reader.x509Svids();
  assert.equal((await answers.next()).svids.length, IDENTITIES);
  const before = await memoryOf(server.child.pid ?? 0);
  let slowest = 0;
  for (let round = 1; round <= CHANGES; round += 1) {
    const changedAt = performance.now();
    await write(round);
    for (;;) {
      const { svids } = await answers.next();
      if (svids.some(({ hint }) => hint === `round-${round}`)) break;
    }
    slowest = Math.max(slowest, performance.now() - changedAt);
  }
  const grown = (await memoryOf(server.child.pid ?? 0)) - before;
  t.diagnostic(`${CHANGES} changes, the slowest told in ${Math.round(slowest)} ms; memory grew by ${grown >> 20} MiB`);
  assert.ok(slowest < 5000);
  assert.ok(grown < 150 * 2 ** 20, `memory grew by ${grown >> 20} MiB`);
  answers.cancel();
  await answers.ended;
  const { entries } = (await cliOf({ folder: folder.path }).json('entry', 'list')) as { readonly entries: object[] };
  assert.equal(entries.length, IDENTITIES);
});
