/** Policies that run for ever or eat memory, in a process of its own: who pays, and what is left afterwards. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { configFolder, serve, type ServeProcess } from '../support/cli.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { entriesFor } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const POLICY = `package envoy.authz

allow if input.attributes.request.http.method == "GET"

spin if {
	input.attributes.request.http.method
	xs := numbers.range(1, 9000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 1
}

grow if {
	input.attributes.request.http.method
	count([x | some a in numbers.range(1, 20000); x := numbers.range(a, 20000)]) == 1
}
`;

interface Gate extends AsyncDisposable {
  readonly program: ServeProcess;
  readonly client: RawClient;
}

async function startGate(): Promise<Gate> {
  await using open = new AsyncDisposableStack();
  const policy = (name: string, rule: string): string =>
    `    ${name}: { path: ./authz.rego, entrypoint: envoy/authz/${rule} }`;
  const config = open.use(
    await configFolder(
      [
        'entries: ./entries.yaml',
        'authz:',
        '  listen: unix:./authz.sock',
        '  eval_timeout: 1s',
        '  policies:',
        policy('default', 'allow'),
        policy('spin', 'spin'),
        policy('grow', 'grow'),
      ].join('\n'),
    ),
  );
  await writeFile(join(config.path, 'authz.rego'), POLICY);
  await writeFile(join(config.path, 'entries.yaml'), entriesFor('/caller'));
  const program = open.use(serve(config.path));
  await program.started();
  const client = open.use(connect(`unix:${config.path}/authz.sock`));
  const closing = open.move();
  return { program, client, [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

interface Answered {
  readonly code: number | undefined;
  readonly tookMs: number;
}

/** Each path is another request, so that no answer is one that was kept. */
let asked = 0;

async function ask(client: RawClient, policy: string): Promise<Answered> {
  asked += 1;
  const startedAt = performance.now();
  const http = { method: 'GET', path: `/${asked}` };
  const contextExtensions = { 'svidgate.policy': policy };
  const { status, httpResponse } = await client.check(
    { attributes: { request: { http }, contextExtensions } },
    { timeoutMs: 10_000 },
  );
  assert.equal(httpResponse, status?.code === 0 ? 'okResponse' : 'deniedResponse');
  return { code: status?.code, tookMs: performance.now() - startedAt };
}

async function memoryOf({ program }: Gate): Promise<number> {
  const text = await readFile(`/proc/${program.child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1]) / 1024;
}

/** The slowest but one of a hundred. */
async function p99(client: RawClient, count: number): Promise<number> {
  const times: number[] = [];
  for (let number = 0; number < count; number += 1) {
    const { code, tookMs } = await ask(client, 'default');
    assert.equal(code, 0, 'callers of other policies go on');
    times.push(tookMs);
  }
  return times.sort((one, other) => one - other)[Math.floor(count * 0.99) - 1] ?? Infinity;
}

/** Keeps some callers at it until the work is done. Each of them is denied. */
async function during<T>(client: RawClient, policy: string, work: () => Promise<T>): Promise<T> {
  const over = new AbortController();
  const callers = Array.from({ length: 4 }, async () => {
    while (!over.signal.aborted) assert.equal((await ask(client, policy)).code, 7);
  });
  try {
    return await work();
  } finally {
    over.abort();
    await Promise.all(callers);
  }
}

for (const policy of ['spin', 'grow']) {
  test(`the callers of a policy that would ${policy} for ever are denied in time, those of others go on`, async (t) => {
    await using gate = await startGate();
    const { client } = gate;
    const alone = await p99(client, 300);
    const before = await memoryOf(gate);
    const beside = await during(client, policy, () => p99(client, 300));
    t.diagnostic(`p99 of another policy: ${alone.toFixed(1)} ms alone, ${beside.toFixed(1)} ms beside it`);
    // The processors are shared: it may have to wait for its turn, but not for an evaluation of the other one.
    assert.ok(beside < Math.max(250, 10 * alone), `${beside} ms beside it, ${alone} ms alone`);
    await waitUntil('the memory to be given back', 20_000, async () => (await memoryOf(gate)) < before + 200);
  });
}
