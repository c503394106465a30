/** A server that is killed under load, and what its receivers get of its decision log in the end. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import { readRecords } from '../../src/evidence/log/index.ts';
import { configFolder, serve, type SvidgateProcess } from '../support/cli.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import type { LogReceiver } from '../support/log-receiver.ts';
import { startOpaLogReceiver } from '../support/opa-log-receiver.ts';
import { startOtlpLogReceiver } from '../support/otlp-log-receiver.ts';
import { entriesFor } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const KILLS = 3;
const CALLERS = 4;
const POLICY = `package envoy.authz

allow if input.attributes.request.http.method == "GET"
`;

function configText(opa: LogReceiver, otlp: LogReceiver): string {
  return [
    'entries: ./entries.yaml',
    'authz:',
    '  listen: unix:./authz.sock',
    '  eval_timeout: 5s',
    '  policies:',
    '    default: { path: ./authz.rego, entrypoint: envoy/authz/allow }',
    'decision_log:',
    '  stdout: true',
    '  labels: { cluster: west }',
    `  opa: { url: '${opa.url}', min_delay: 50ms, max_delay: 200ms }`,
    `  otlp: { url: '${otlp.url}' }`,
  ].join('\n');
}

/** Asks until the connection ends, and counts what was answered. */
async function askUntilItEnds(client: RawClient, name: string, onAnswer: () => void): Promise<void> {
  for (let count = 0; ; count += 1) {
    const http = { method: count % 3 === 0 ? 'POST' : 'GET', path: `/${name}/${count}`, headers: { cookie: 'secret' } };
    try {
      const { status } = await client.check({ attributes: { request: { http } } }, { timeoutMs: 10_000 });
      assert.equal(status?.code, count % 3 === 0 ? 7 : 0);
      onAnswer();
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return;
    }
  }
}

async function loggedIds(folder: string): Promise<readonly string[]> {
  const reading = readRecords(join(folder, 'data/decisions'));
  const ids: string[] = [];
  for await (const record of reading) ids.push(record.decision_id);
  assert.equal(reading.counts.damaged, 0);
  return ids;
}

/** Collects the ids of records from what a program prints. */
function collectIds(program: SvidgateProcess, ids: Set<string>): void {
  if (program.child.stdout === null) throw new Error('its output is not read');
  createInterface({ input: program.child.stdout }).on('line', (line) => {
    const id = /^\{"labels":.*?"decision_id":"([^"]+)"/.exec(line)?.[1];
    if (id !== undefined) ids.add(id);
  });
}

test(`after ${KILLS} kills under load every record of the log has come to each receiver`, async () => {
  await using opa = await startOpaLogReceiver();
  await using otlp = await startOtlpLogReceiver();
  await using folder = await configFolder(configText(opa, otlp));
  await writeFile(join(folder.path, 'authz.rego'), POLICY);
  await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/caller'));
  const printed = new Set<string>();
  let answered = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    await using program = serve(folder.path);
    collectIds(program, printed);
    await program.started();
    opa.next.push({ kind: 'status', status: 503 }, { kind: 'reset', when: 'in_answer' });
    otlp.next.push({ kind: 'reset', when: 'after_body' });
    const clients = Array.from({ length: CALLERS }, () => connect(`unix:${folder.path}/authz.sock`));
    const before = answered;
    const asking = clients.map((client, index) => askUntilItEnds(client, `${kill}-${index}`, () => (answered += 1)));
    await waitUntil('some hundred answers', 30_000, () => answered >= before + 300);
    await pause(Math.random() * 200);
    program.child.kill('SIGKILL');
    await program.ended;
    await Promise.all(asking);
    for (const client of clients) client[Symbol.dispose]();
  }
  const logged = await loggedIds(folder.path);
  assert.equal(new Set(logged).size, logged.length, 'each is in the log once');
  // What is on its way to the disk is the work of some milliseconds.
  assert.ok(logged.length > answered * 0.5, `${answered} were answered and ${logged.length} are in the log`);
  await using program = serve(folder.path);
  collectIds(program, printed);
  await program.started();
  const missing = (there: ReadonlySet<string>): readonly string[] => logged.filter((id) => !there.has(id));
  for (const [name, receiver] of [['opa', opa] as const, ['otlp', otlp] as const]) {
    await waitUntil(`all records at ${name}`, 30_000, () => missing(new Set(receiver.ids)).length === 0);
    assert.deepEqual(receiver.faultsFound, []);
    const isKnown = new Set(logged);
    assert.deepEqual(receiver.ids.filter((id) => !isKnown.has(id)), [], 'nothing that is not in the log'); // prettier-ignore
  }
  await waitUntil('all records on standard output', 30_000, () => missing(printed).length === 0);
  program.child.kill('SIGTERM');
  assert.equal(await program.ended, 0);
  const reading = readRecords(join(folder.path, 'data/decisions'));
  for await (const record of reading) assert.ok(!JSON.stringify(record).includes('secret'));
  assert.equal(reading.counts.losses.get('unclean_end')?.lines, KILLS);
});
