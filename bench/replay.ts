import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { once } from 'node:events';
import { readRecords, recordedPaths, replay as replayRecords, type DecisionRecord } from '../src/evidence/index.ts';
import { openPolicy, snapshotSource, type OpenedPolicy } from '../src/policy/index.ts';
import { tempFolder } from '../test/support/temp-folder.ts';
import type { AimedAt, Benchmark, BenchmarkContext, Figure } from './benchmark.ts';

const SIZES = { full: { records: 100_000 }, quick: { records: 200 } };
const ROWS = 200;

const AIMS: readonly AimedAt[] = [{ name: 'distinct_seconds', bound: 'at most', aim: 30 }];

export const replay: Benchmark = {
  name: 'replay',
  summary: '100,000 recorded decisions asked of another policy',
  method:
    'A log of 100,000 records is read from disk, each is compared with what a policy with a table of ' +
    `${ROWS} callers, a prefix and a pattern answers, which differs in one row from the one that made it. \`distinct\`: no two ` +
    'requests are the same to the policy. `repeated`: 1,000 different requests that come again and again, so that each is ' +
    'evaluated once. Compiling the policy is included.',
  aims: AIMS,
  run,
};

async function run({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { records } = SIZES[size];
  await using folder = await tempFolder();
  await using before = await open(0);
  const figures: Figure[] = [];
  for (const [name, different] of [
    ['distinct', records],
    ['repeated', Math.min(records, 1000)],
  ] as const) {
    const log = join(folder.path, `${name}.jsonl`);
    progress(`writing ${records} records, ${different} of them different`);
    await writeLog(log, before, { records, different });
    progress('replaying them');
    const begin = performance.now();
    await using after = await open(1);
    const { signal } = new AbortController();
    const report = await replayRecords(readRecords(log), after, { signal });
    const seconds = (performance.now() - begin) / 1000;
    if (report.replayed !== records) throw new Error(`${report.replayed} of ${records} records were replayed`);
    if (report.changed === 0) throw new Error('no decision changed');
    figures.push(
      { name: `${name}_seconds`, value: seconds, meaning: `${records} records, ${different} of them different` },
      { name: `${name}_per_second`, value: records / seconds, meaning: 'records a second' },
      { name: `${name}_log_mib`, value: (await stat(log)).size / 2 ** 20, meaning: 'size of the log in MiB' },
    );
  }
  return figures;
}

/** Whose row 7 has another method for each version. */
async function open(version: number): Promise<OpenedPolicy> {
  const rows = Array.from({ length: ROWS }, (_, index) => [
    principal(index),
    { methods: ['GET', index === 7 && version === 1 ? 'PUT' : 'POST'], prefix: `/api/${index}/` },
  ]);
  const files = {
    modules: { 'authz.rego': RULES },
    data: { 'data.json': JSON.stringify({ callers: Object.fromEntries(rows) }) },
  };
  const path = snapshotSource('benchmark', { files, tests: {}, digest: `version ${version}` });
  return await openPolicy({ path, entrypoint: 'envoy/authz/allow', signal: new AbortController().signal });
}

const RULES = `package envoy.authz

default allow := false

http := input.attributes.request.http

allow if {
	input.svidgate.peer.verified == true
	row := data.callers[input.svidgate.peer.spiffe_id]
	http.method in row.methods
	startswith(http.path, row.prefix)
	regex.match("^/api/[0-9]+/orders/[0-9]+$", http.path)
}
`;

function principal(index: number): string {
  return `spiffe://prod.acme.test/ns/team-${index % 20}/sa/service-${index}`;
}

async function writeLog(
  path: string,
  policy: OpenedPolicy,
  { records, different }: { readonly records: number; readonly different: number },
): Promise<void> {
  const file = createWriteStream(path);
  const recorded = recordedPaths(policy.needs);
  for (let index = 0; index < records; index += 1) {
    const record = recordOf(index, { different, policy, recorded });
    if (!file.write(`${JSON.stringify(record)}\n`)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
}

function recordOf(
  index: number,
  {
    different,
    policy,
    recorded,
  }: { different: number; policy: OpenedPolicy; recorded: ReturnType<typeof recordedPaths> },
): DecisionRecord {
  const request = index % different;
  const caller = request % ROWS;
  const method = request % 3 === 0 ? 'POST' : 'GET';
  const input = {
    attributes: { request: { http: { method, path: `/api/${caller}/orders/${request}` } } },
    svidgate: { peer: { verified: true, spiffe_id: principal(caller) } },
  };
  return {
    labels: { cluster: 'west' },
    decision_id: `4b1fd45e-0000-4000-8000-${String(index).padStart(12, '0')}`,
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    span_id: '00f067aa0ba902b7',
    path: 'envoy/authz/allow',
    input,
    result: true,
    metrics: { timer_server_handler_ns: 241_000 },
    timestamp: '2026-11-22T10:00:00.000000000Z',
    req_id: index,
    svidgate: {
      policy: 'default',
      policy_digest: policy.digest,
      outcome: 'allow',
      reason: '',
      http_status: 0,
      input_hash: String(index).padStart(64, '0'),
      principal: principal(caller),
      peer: { spiffe_id: principal(caller), serial: '1234567890abcdef' },
      caller: 'attested',
      caller_ids: ['spiffe://prod.acme.test/ns/shop/sa/orders'],
      listener: 'gate',
      method,
      route: `orders.acme.test/api/${caller}/orders/*`,
      request_id: '4b1fd45e-0000-4000-8000-000000000000',
      cached: false,
      recorded,
      replayable: true,
    },
  };
}
