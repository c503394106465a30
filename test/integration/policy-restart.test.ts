/** A restart finds the policies compiled, and anything that changed is compiled anew. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock, type LogFields, type Logger, noMetrics } from '../../src/core/index.ts';
import { createCompiledPolicies } from '../../src/datastore/index.ts';
import {
  compiledPolicyKey,
  decodeCompiledPolicy,
  encodeCompiledPolicy,
  type CompiledPolicy,
} from '../../src/policy/compiled-policy.ts';
import {
  createPolicyEngine,
  type CompiledPolicyCache,
  type PolicyEngine,
  type PolicySnapshot,
  type SnapshotSource,
} from '../../src/policy/index.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import { readSnapshot } from '../../src/policy/snapshot.ts';
import { connect } from '../support/grpc-client.ts';
import { startLoggedChild } from '../support/logged-child.ts';
import { policyMemory } from '../support/policy-memory.ts';
import { entriesFor } from '../support/server.ts';
import { tempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const ALLOW_ONE = 'package test\nallow if input.x == 1\nother if input.x == 2\n';
const ENTRYPOINT = 'test/allow';

interface Line extends LogFields {
  readonly message: string;
}

let folder: TempFolder;
let policyFile: string;
let kept: string;
let lines: Line[] = [];

beforeEach(async () => {
  folder = await tempFolder();
  policyFile = join(folder.path, 'test.rego');
  kept = join(folder.path, 'data/policies');
  await writeFile(policyFile, ALLOW_ONE);
});
afterEach(() => folder[Symbol.asyncDispose]());

function recordingLogger(base: LogFields = {}): Logger {
  const record = (fields: LogFields, message: string): void => void lines.push({ ...base, ...fields, message });
  return {
    debug: record,
    info: record,
    warn: record,
    error: record,
    child: (fields) => recordingLogger({ ...base, ...fields }),
  };
}

function dataCache(): CompiledPolicyCache {
  const directory = { path: join(folder.path, 'data'), close: () => Promise.resolve() };
  return createCompiledPolicies(directory, { policies: ['default'] });
}

interface Start {
  readonly entrypoint?: string;
  readonly cache?: CompiledPolicyCache;
}

/** One life of the engine: how its policy came into force, what it decides for `x`, and its log. */
async function live(x: number, { entrypoint = ENTRYPOINT, cache = dataCache() }: Start = {}): Promise<string> {
  lines = [];
  const stop = new AbortController();
  const engine: PolicyEngine = createPolicyEngine({
    policies: [{ name: 'default', path: policyFile, entrypoint }],
    evalTimeoutMs: 5000,
    cache,
    clock: systemClock,
    logger: recordingLogger(),
    metrics: noMetrics,
  });
  try {
    await engine.start(stop.signal);
    const input = new TextEncoder().encode(JSON.stringify({ x }));
    const { effect } = await engine.decide('default', input, { deadline: Date.now() + 5000 });
    return `${activation()?.reason ?? 'not active'}, ${effect}`;
  } finally {
    stop.abort();
    await engine.run(stop.signal);
  }
}

function activation(): Line | undefined {
  return lines.find(({ message }) => message === 'policy activated');
}

function messages(): readonly string[] {
  return lines.map(({ message }) => message);
}

async function keptFile(): Promise<string> {
  const [name = ''] = await readdir(kept);
  return join(kept, name);
}

describe('after a restart', () => {
  test('an unchanged policy is in force without the compiler, its warnings told again', async () => {
    await writeFile(policyFile, 'package test\nallow if { input.x == 1; unused := 2 }\n');
    assert.equal(await live(1), 'compiled, allow');
    const first = lines.filter(({ message }) => message === 'policy warning');
    const compileMs = activation()?.duration_ms ?? 0;
    assert.equal(await live(1), 'kept, allow');
    assert.deepEqual(
      lines.filter(({ message }) => message === 'policy warning'),
      first,
    );
    assert.ok((activation()?.duration_ms ?? Infinity) < compileMs);
    assert.equal(await live(2), 'kept, deny');
  });

  test('a changed policy is compiled, and one that was changed back is not', async () => {
    assert.equal(await live(2), 'compiled, deny');
    await writeFile(policyFile, ALLOW_ONE.replace('x == 1', 'x == 2'));
    assert.equal(await live(2), 'compiled, allow');
    await writeFile(policyFile, ALLOW_ONE);
    assert.equal(await live(2), 'kept, deny');
  });

  test('another entrypoint is compiled', async () => {
    assert.equal(await live(2), 'compiled, deny');
    assert.equal(await live(2, { entrypoint: 'test/other' }), 'compiled, allow');
    assert.equal(await live(2), 'kept, deny');
  });

  test('a policy that does not compile denies, whatever is kept', async () => {
    assert.equal(await live(1), 'compiled, allow');
    await writeFile(policyFile, `${ALLOW_ONE}}`);
    assert.equal(await live(1), 'not active, deny');
    assert.ok(messages().includes('policy refused, every request is denied'));
  });
});

test('what was in force before a restart waits for no source', async () => {
  const memory = policyMemory();
  const snapshot = await readSnapshot(policyFile);
  const engineOf = (read: () => Promise<PolicySnapshot>): PolicyEngine => {
    const path: SnapshotSource = { description: 'source', read, changes: async function* () {} };
    return createPolicyEngine({
      policies: ['first', 'second'].map((name) => ({ name, path, entrypoint: ENTRYPOINT })),
      evalTimeoutMs: 5000,
      memory,
      clock: systemClock,
      logger: recordingLogger(),
      metrics: noMetrics,
    });
  };
  const stop = new AbortController();
  const before = engineOf(() => Promise.resolve(snapshot));
  await before.start(stop.signal);
  stop.abort();
  await before.run(stop.signal);

  const waiting = Promise.withResolvers<PolicySnapshot>();
  const again = new AbortController();
  const engine = engineOf(() => waiting.promise);
  const started = engine.start(again.signal);
  try {
    await waitUntil('both to be in force', 20_000, () =>
      [...engine.status.value.values()].every(({ state }) => state === 'active'),
    );
  } finally {
    waiting.resolve(snapshot);
    await started;
    again.abort();
    await engine.run(again.signal);
  }
});

describe('a kept policy that is no good', () => {
  const damages: readonly [string, (bytes: Buffer) => Uint8Array][] = [
    ['cut off', (bytes) => bytes.subarray(0, bytes.byteLength / 2)],
    ['empty', () => new Uint8Array()],
    ['changed by a byte', (bytes) => bytes.fill(bytes.at(-1) === 1 ? 2 : 1, bytes.byteLength - 1)],
  ];
  for (const [what, damage] of damages) {
    test(`is compiled and written anew when it is ${what}`, async () => {
      await live(1);
      const file = await keptFile();
      const good = await readFile(file);
      await writeFile(file, damage(Buffer.from(good)));
      assert.equal(await live(1), 'compiled, allow');
      assert.ok(messages().includes('kept policy not used'));
      assert.deepEqual(await readFile(file), good);
      assert.equal(await live(1), 'kept, allow');
    });
  }

  test('goes through the checks of a fresh one: a module without the entrypoint is compiled anew', async () => {
    const snapshotDigest = (await readSnapshot(policyFile)).digest;
    const compilerDigest = await createRegoCompiler({ clock: systemClock }).digest();
    const keyOf = (entrypoint: string): string => compiledPolicyKey({ snapshotDigest, entrypoint, compilerDigest });
    const cache = dataCache();
    await live(2, { entrypoint: 'test/other' });
    const bytes = await cache.load('default', keyOf('test/other'));
    const other: CompiledPolicy | undefined = decodeCompiledPolicy(keyOf('test/other'), bytes ?? new Uint8Array());
    assert.ok(other !== undefined);
    await cache.save('default', keyOf(ENTRYPOINT), encodeCompiledPolicy(keyOf(ENTRYPOINT), other));
    assert.equal(await live(2), 'compiled, deny');
    const warning = lines.find(({ message }) => message === 'kept policy not used');
    assert.match(warning?.reason ?? '', /has no entrypoint test\/allow/);
    assert.equal(await live(2), 'kept, deny');
  });
});

describe('a folder that cannot be used', () => {
  test('costs a compilation and a warning, and nothing else', async () => {
    await mkdir(join(folder.path, 'data'));
    await writeFile(kept, 'not a folder');
    assert.equal(await live(1), 'compiled, allow');
    assert.deepEqual(messages(), ['kept policy not used', 'policy activated', 'compiled policy not kept']);
    await rm(kept);
    assert.equal(await live(1), 'compiled, allow');
    assert.equal(await live(1), 'kept, allow');
  });

  test('that throws anything costs no more', async () => {
    const fail = (): Promise<never> => Promise.reject(new Error('broken'));
    assert.equal(await live(1, { cache: { load: fail, save: fail } }), 'compiled, allow');
  });
});

const REQUEST = { attributes: { request: { http: { method: 'GET', path: '/' } } } };
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** From the start of the process, in milliseconds. */
interface StartTimes {
  readonly activated: number;
  readonly firstAllow: number;
  readonly origin: string;
}

async function timeServer(run: string): Promise<StartTimes> {
  const startedAt = Date.now();
  const server = startLoggedChild({
    name: 'svidgate',
    command: process.execPath,
    args: ['--disable-warning=ExperimentalWarning', MAIN, 'serve', '--config', join(folder.path, 'svidgate.yaml')],
    cwd: folder.path,
    logFile: join(folder.path, `${run}.log`),
  });
  try {
    await waitUntil('an allow', 30_000, async () => {
      // A new one each time: after a refused connection a client waits a second.
      using client = connect(`unix:${join(folder.path, 'authz.sock')}`);
      return (await client.check(REQUEST, { timeoutMs: 500 })).status?.code === 0;
    });
    const firstAllow = Date.now() - startedAt;
    const log = server.log().split('\n');
    const activated = JSON.parse(log.find((line) => line.includes('policy activated')) ?? '{}') as {
      readonly reason: string;
      readonly time: string | number;
    };
    return { activated: new Date(activated.time).getTime() - startedAt, firstAllow, origin: activated.reason };
  } finally {
    assert.equal((await server.stop()).code, 0);
  }
}

test('a server allows sooner after a restart than after its first start', async (context) => {
  await writeFile(policyFile, 'package test\nallow := true\n');
  await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/caller'));
  await writeFile(
    join(folder.path, 'svidgate.yaml'),
    [
      'trust_domain: example.test',
      'data_dir: ./data',
      'workload_socket: ./api.sock',
      'admin: { socket: ./admin.sock }',
      'entries: ./entries.yaml',
      'telemetry: { listen: 127.0.0.1:0 }',
      'authz:',
      '  listen: unix:./authz.sock',
      `  policies: { default: { path: ./test.rego, entrypoint: ${ENTRYPOINT} } }`,
      '',
    ].join('\n'),
  );
  const cold = await timeServer('cold');
  const warm = await timeServer('warm');
  for (const [name, times] of Object.entries({ cold, warm })) {
    context.diagnostic(
      `${name}: policy in force after ${times.activated} ms, first allow after ${times.firstAllow} ms`,
    );
  }
  assert.deepEqual([cold.origin, warm.origin], ['compiled', 'kept']);
  assert.ok(warm.firstAllow < cold.firstAllow);
});
