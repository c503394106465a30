/** A mixed run through a real Envoy, recorded, asked again, and asked of a policy that is known to differ. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { readRecords, replay, type DecisionRecord, type ReplayReport } from '../../src/evidence/index.ts';
import { openPolicy } from '../../src/policy/index.ts';
import { Secret, unpackAny } from '../../src/proto/index.ts';
import { createRandom, type Random } from '../hunt/random.ts';
import { startGateEnvoy, type GateEnvoy } from '../support/gate-envoy.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

/** 20,000 by `npm run prove`. */
const REQUESTS = Number(process.env['SVIDGATE_RECORDED_REQUESTS'] ?? 2000);
const AT_ONCE = 16;
const LIMIT_MS = 120_000;
const { signal } = new AbortController();

interface Variant {
  /** What jobs may do with orders. */
  readonly jobs: string;
  /** The status of what is hidden. */
  readonly hidden: number;
  /** What web may do with items. */
  readonly items: string;
}

const BEFORE: Variant = { jobs: 'DELETE', hidden: 404, items: 'PUT' };
const AFTER: Variant = { jobs: 'BREW', hidden: 410, items: 'POST' };

/** Tables, clocks, chance, effects, failures, and headers that nobody may record. */
const policy = ({ jobs, hidden, items }: Variant): string => `package envoy.authz

http := input.attributes.request.http

rows := {
	"spiffe://example.test/web": {"methods": ["GET", "POST"], "prefix": "orders"},
	"spiffe://example.test/app": {"methods": ["GET"], "prefix": "items"},
	"spiffe://example.test/jobs": {"methods": ["${jobs}"], "prefix": "orders"},
}

numbered if input.parsed_path[1]

caller := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified == true

granted if {
	row := rows[caller]
	http.method in row.methods
	input.parsed_path[0] == row.prefix
}

decision := {"allowed": true, "headers": {"x-ticket": sprintf("%v", [rand.intn("lottery", 1000)]), "x-hour": sprintf("%v", [hour])}} if granted

else := true if {
	caller == "spiffe://example.test/web"
	http.method == "${items}"
	input.parsed_path[0] == "items"
}

else := {"allowed": false, "http_status": ${hidden}} if input.parsed_path[0] == "hidden"

else := {"allowed": false, "http_status": 401, "body": "who are you?"} if not caller

else := false if http.headers["x-mood"] != "odd"

hour := time.clock(time.now_ns())[0]
`;

const CONFIG = `authz:
  listen: unix:./authz.sock
  policies: { default: { path: ./policy, entrypoint: envoy/authz/decision } }
decision_log: { show: { headers: [x-mood] } }
`;

const NAMES = ['web', 'app', 'jobs'] as const;
type Name = (typeof NAMES)[number] | 'nobody';

interface Sent {
  readonly by: Name;
  readonly method: string;
  readonly path: string;
}

function next(random: Random, index: number): Sent & { readonly headers: Readonly<Record<string, string>> } {
  const section = random.pick(['orders', 'orders', 'items', 'hidden', 'other']);
  return {
    by: random.pick([...NAMES, 'nobody']),
    method: random.pick(['GET', 'GET', 'POST', 'DELETE', 'PUT']),
    path: `/${section}/${index}${random.oneIn(3) ? '?page=2' : ''}`,
    headers: {
      ...(random.oneIn(4) ? { 'x-mood': random.pick(['odd', 'even']) } : {}),
      ...(random.oneIn(5) ? { authorization: 'Bearer nobody-may-record-this' } : {}),
      ...(random.oneIn(5) ? { cookie: 'session=nobody-may-record-this' } : {}),
    },
  };
}

async function agentOf(server: TestServer, name: Name): Promise<Agent> {
  const options = { keepAlive: true, maxSockets: AT_ONCE, rejectUnauthorized: false };
  if (name === 'nobody') return new Agent(options);
  using client = connect(server.socket);
  const [any] = (await client.fetchSecrets([`spiffe://example.test/${name}`])).resources;
  assert.ok(any);
  const { tlsCertificate } = unpackAny(Secret, any, 1 << 20);
  const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString();
  const cert = text(tlsCertificate?.certificateChain?.inlineBytes);
  return new Agent({ ...options, cert, key: text(tlsCertificate?.privateKey?.inlineBytes) });
}

/** Gives the status. */
function send(envoy: GateEnvoy, agent: Agent, { method, path, headers }: ReturnType<typeof next>): Promise<number> {
  const options = { host: envoy.address, port: envoy.strictPort, method, path, headers, agent, timeout: LIMIT_MS };
  return new Promise((resolve, reject) => {
    const sent = request(options, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    });
    sent.on('error', reject).end();
  });
}

async function mixedRun(
  server: TestServer,
  envoy: GateEnvoy,
): Promise<readonly (Sent & { readonly status: number })[]> {
  const agents = new Map<Name, Agent>();
  for (const name of [...NAMES, 'nobody'] as const) agents.set(name, await agentOf(server, name));
  const random = createRandom(20);
  const answered: (Sent & { readonly status: number })[] = [];
  let index = 0;
  const worker = async (): Promise<void> => {
    while (index < REQUESTS) {
      const sent = next(random, index++);
      answered.push({ ...sent, status: await send(envoy, agents.get(sent.by)!, sent) });
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    for (const agent of agents.values()) agent.destroy();
  }
  return answered;
}

/** The records by decision id; resolves when there is one for each request. */
async function recordsOf(folder: string): Promise<ReadonlyMap<string, DecisionRecord>> {
  return await waitUntil('a record of every request', LIMIT_MS, async () => {
    const records = new Map<string, DecisionRecord>();
    for await (const record of readRecords(folder, { signal })) records.set(record.decision_id, record);
    return records.size >= REQUESTS ? records : undefined;
  });
}

async function replayWith(rego: string, log: string): Promise<ReplayReport> {
  await using folder = await tempFolder();
  await writeFile(join(folder.path, 'authz.rego'), rego);
  await using opened = await openPolicy({ path: folder.path, entrypoint: 'envoy/authz/decision', signal });
  return await replay(readRecords(log, { signal }), opened, { signal, policy: 'default', samples: REQUESTS });
}

test(`${REQUESTS} requests through Envoy replay to the same answers, and a changed policy changes the ones it should`, async () => {
  await using server = await startTestServer({
    entries: entriesFor('/envoy', ...NAMES.map((name) => `/${name}`)),
    config: CONFIG,
    files: { 'policy/authz.rego': policy(BEFORE) },
  });
  await using envoy = await startGateEnvoy(server);
  const answered = await mixedRun(server, envoy);
  const statuses = Map.groupBy(answered, ({ status }) => status);
  for (const status of [200, 401, 403, 404])
    assert.ok((statuses.get(status)?.length ?? 0) > REQUESTS / 100, `${status}`);
  const log = join(server.folder, 'data/decisions');
  const records = await recordsOf(log);
  assert.equal(records.size, REQUESTS);
  assert.ok(!JSON.stringify([...records.values()]).includes('nobody-may-record-this'));

  const same = await replayWith(policy(BEFORE), log);
  assert.deepEqual([same.read, same.changed], [REQUESTS, 0], JSON.stringify(same.changes[0]));
  assert.ok(same.shareReplayable >= 0.99, JSON.stringify(same.reasons));

  const changed = await replayWith(policy(AFTER), log);
  const expected = answered.filter(isTouched).map(({ by, method, path }) => `${by} ${method} ${path.split(/[/?]/)[2]}`);
  assert.equal(changed.notReplayable, same.notReplayable);
  assert.equal(changed.changed, expected.length);
  const named = changed.changes.flatMap(({ principal, method, samples }) =>
    samples.map((id) => `${nameOf(principal)} ${method} ${routeNumber(records.get(id))}`),
  );
  assert.deepEqual(named.toSorted(), expected.toSorted());
  const kinds = new Set(changed.changes.map(({ change }) => change));
  for (const kind of ['would_allow', 'other_effects'] as const) assert.ok(kinds.has(kind), kind);
  assert.ok(kinds.has('would_deny') || kinds.has('would_fail'));
});

/** Whether the two policies differ on it. */
function isTouched({ by, method, path }: Sent): boolean {
  if (path.startsWith('/orders/')) return by === 'jobs' && method === BEFORE.jobs;
  if (path.startsWith('/items/')) return by === 'web' && (method === BEFORE.items || method === AFTER.items);
  return path.startsWith('/hidden/');
}

function nameOf(principal: string): string {
  return principal === 'unverified' ? 'nobody' : principal.replace('spiffe://example.test/', '');
}

/** Of the request, as its path has it. */
function routeNumber(record: DecisionRecord | undefined): string {
  const segments = (record?.input as { readonly parsed_path?: readonly string[] } | undefined)?.parsed_path;
  return segments?.[1] ?? '';
}
