/** Candidates that take what they can get, and a process that is killed. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import type { CheckRequestInit } from '../../src/proto/index.ts';
import { configFolder, serve } from '../support/cli.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const POLICY = `package envoy.authz

default allow := false

allow if input.attributes.request.http.method == "GET"

stuck if {
	input.attributes.request.http.method
	xs := numbers.range(1, 100000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 0
}

hungry if {
	input.attributes.request.http.method
	xs := numbers.range(1, 5000)
	count([[a, b] | some a in xs; some b in xs]) > 0
}
`;
/** The longest that a candidate may take, and far more than an answer may. */
const EVAL_TIMEOUT_MS = 8000;

interface Summary {
  readonly policy: string;
  readonly same: number;
  readonly candidate_failed: number;
  readonly dropped: number;
}

async function summariesOf(folder: string): Promise<ReadonlyMap<string, Summary>> {
  const report = await cliOf({ folder }).json('policy', 'shadow-report');
  const { policies } = report as { readonly policies: readonly Summary[] };
  return new Map(policies.map((summary) => [summary.policy, summary]));
}

const REQUEST: CheckRequestInit = { attributes: { request: { http: { method: 'GET', path: '/a', host: 'a' } } } };

/** Milliseconds that each answer took, sorted; eight requests are under way at once. */
async function latencies(gate: RawClient, count: number): Promise<readonly number[]> {
  const times: number[] = [];
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const startedAt = performance.now();
      const { status } = await gate.check(REQUEST, { timeoutMs: 10_000 });
      times.push(performance.now() - startedAt);
      assert.equal(status?.code, 0);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  return times.sort((one, other) => one - other);
}

test('candidates that hang or eat memory delay no answer, and what they are not shown is counted', async (t) => {
  const shadow = (rule: string): string =>
    `{ path: ./authz.rego, entrypoint: envoy/authz/${rule}, shadow_of: default }`;
  await using server = await startTestServer({
    entries: entriesFor('/caller'),
    config: `authz:
  listen: unix:./authz.sock
  listeners: { quiet: { listen: unix:./quiet.sock, default_policy: quiet } }
  eval_timeout: ${EVAL_TIMEOUT_MS}ms
  policies:
    default: { path: ./authz.rego }
    quiet: { path: ./authz.rego }
    stuck: ${shadow('stuck')}
    hungry: ${shadow('hungry')}
`,
    files: { 'authz.rego': POLICY },
  });
  using gate = connect(server.gate);
  using quiet = connect(`unix:${join(server.folder, 'quiet.sock')}`);
  await latencies(quiet, 50);
  const count = 400;
  const alone = await latencies(quiet, count);
  const beside = await latencies(gate, count);
  const at = (times: readonly number[], share: number): number => times[Math.floor(times.length * share)] ?? 0;
  for (const [name, times] of Object.entries({ alone, beside })) {
    t.diagnostic(`${name}: p50 ${at(times, 0.5).toFixed(1)} ms, p99 ${at(times, 0.99).toFixed(1)} ms`);
  }
  assert.ok(at(beside, 0.99) < EVAL_TIMEOUT_MS / 2, `p99 is ${at(beside, 0.99)} ms`);
  const ended = await waitUntil('all to be counted', 120_000, async () => {
    const summaries = await summariesOf(server.folder);
    const isDone = ({ same, candidate_failed, dropped }: Summary): boolean =>
      same + candidate_failed + dropped === count;
    return [...summaries.values()].every(isDone) && summaries;
  });
  const stuck = ended.get('stuck');
  assert.ok(stuck !== undefined && stuck.dropped >= count - 200, JSON.stringify(stuck));
  assert.ok(stuck.candidate_failed > 0, JSON.stringify(stuck));
  assert.ok((ended.get('hungry')?.candidate_failed ?? 0) > 0, JSON.stringify([...ended]));
});

test('kill -9 keeps what was counted up to a second before, and counting goes on from there', async () => {
  await using folder = await configFolder(`entries: ./entries.yaml
authz:
  listen: unix:./authz.sock
  eval_timeout: 30s
  policies:
    default: { path: ./authz.rego }
    next: { path: ./authz.rego, shadow_of: default }
`);
  await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/caller'));
  await writeFile(join(folder.path, 'authz.rego'), POLICY);
  const agreed = async (): Promise<number | undefined> => (await summariesOf(folder.path)).get('next')?.same;
  const ask = async (count: number): Promise<void> => {
    using gate = connect(`unix:${join(folder.path, 'authz.sock')}`);
    for (let left = count; left > 0; left -= 1) await gate.check(REQUEST, { timeoutMs: 10_000 });
  };
  {
    await using first = serve(folder.path);
    await first.started();
    await ask(25);
    await waitUntil('the requests to be counted', 60_000, async () => (await agreed()) === 25);
    await waitUntil('the counts to be written', 60_000, () => countOnDisk(folder.path) === 25);
    first.child.kill('SIGKILL');
    assert.equal(await first.ended, 'SIGKILL');
  }
  await using second = serve(folder.path);
  await second.started();
  assert.equal(await agreed(), 25);
  await ask(5);
  await waitUntil('the requests to be counted', 60_000, async () => (await agreed()) === 30);
  second.child.kill('SIGTERM');
  assert.equal(await second.ended, 0);
  assert.equal(countOnDisk(folder.path), 30, 'all is written at a stop');
});

function countOnDisk(folder: string): number {
  const database = new DatabaseSync(join(folder, 'data/datastore/svidgate.db'), { readOnly: true });
  try {
    const rows = database.prepare('SELECT record FROM shadow_counts').all() as { record: string }[];
    return rows.reduce((sum, { record }) => sum + (JSON.parse(record) as { count: number }).count, 0);
  } finally {
    database.close();
  }
}
