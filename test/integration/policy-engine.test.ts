import assert from 'node:assert/strict';
import { mkdtemp, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { systemClock, type LogFields, type Logger, type Metrics } from '../../src/core/index.ts';
import {
  checkPolicyFolder,
  createPolicyEngine,
  type Decision,
  type PolicyEngine,
  type PolicySource,
  type PolicyStatus,
} from '../../src/policy/index.ts';

const ENTRYPOINT = 'test/allow';
const ALLOW_ONE = 'package test\nallow if input.x == 1\n';
const WAIT_MS = 60_000;
/** Takes a minute when the input has `slow`. */
const SLOW_RULE =
  'allow if { input.slow; count([1 | some x in numbers.range(1, 9000); some y in numbers.range(1, 9000); x == -y]) > 0 }';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

let folder: string;
let stop: AbortController;
let running: Promise<void> | undefined;
let lines: Line[];
let counts: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'svidgate-policy-'));
  stop = new AbortController();
  lines = [];
  counts = [];
});
afterEach(async () => {
  stop.abort();
  await running;
  running = undefined;
  await rm(folder, { recursive: true, force: true });
});

function createLogger(base: LogFields = {}): Logger {
  const at = (level: string) => (fields: LogFields, message: string) => {
    lines.push({ level, message, fields: { ...base, ...fields } });
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => createLogger({ ...base, ...fields }),
  };
}

const metrics: Metrics = {
  count: (name, labels) => counts.push(`${name} ${Object.values(labels).join(' ')}`),
  gauge: () => undefined,
  observe: () => undefined,
};

async function write(text: string, name = 'test.rego'): Promise<void> {
  await writeFile(join(folder, name), text);
}

async function startEngine(policies?: readonly PolicySource[], evalTimeoutMs = 2000): Promise<PolicyEngine> {
  const engine = createPolicyEngine({
    policies: policies ?? [{ name: 'default', path: folder, entrypoint: ENTRYPOINT }],
    evalTimeoutMs,
    clock: systemClock,
    logger: createLogger(),
    metrics,
  });
  await engine.start(stop.signal);
  running = engine.run(stop.signal);
  return engine;
}

function ask(engine: PolicyEngine, input: unknown, name = 'default'): Promise<Decision> {
  return engine.decide(name, new TextEncoder().encode(JSON.stringify(input)), { deadline: Date.now() + WAIT_MS });
}

async function outcome(engine: PolicyEngine, input: unknown, name = 'default'): Promise<string> {
  const decision = await ask(engine, input, name);
  return decision.effect === 'allow' ? 'allow' : decision.reason;
}

/** Waits for a status of the policy; the engine's own deadline is the test's. */
async function until(engine: PolicyEngine, holds: (status: PolicyStatus) => boolean): Promise<PolicyStatus> {
  const signal = AbortSignal.timeout(WAIT_MS);
  for await (const all of engine.status.watch(signal)) {
    const status = all.get('default');
    if (status !== undefined && holds(status)) return status;
  }
  throw new Error(`not within ${WAIT_MS} ms: ${JSON.stringify(engine.status.value.get('default'))}`);
}

describe('decide', () => {
  test('gives a reason for each way in which nothing is allowed', async () => {
    await write(
      [
        'package test',
        'allow := input.value if "value" in object.keys(input)',
        'allow := 1 if input.conflict',
        'allow := 2 if input.conflict',
        SLOW_RULE,
      ].join('\n'),
    );
    const missing: PolicySource = { name: 'missing', path: join(folder, 'none'), entrypoint: ENTRYPOINT };
    const engine = await startEngine([{ name: 'default', path: folder, entrypoint: ENTRYPOINT }, missing], 1000);
    assert.equal(await outcome(engine, { value: true }), 'allow');
    assert.equal(await outcome(engine, { value: false }), 'policy_denied');
    assert.equal(await outcome(engine, { value: { allowed: true } }), 'allow');
    assert.equal(await outcome(engine, { value: { allowed: false } }), 'policy_denied');
    for (const value of ['true', 1, null, [true], { allowed: 'true' }, {}]) {
      assert.equal(await outcome(engine, { value }), 'wrong_type');
    }
    assert.equal(await outcome(engine, {}), 'undefined_decision');
    assert.equal(await outcome(engine, { conflict: true }), 'evaluation_error');
    const bytes = new TextEncoder().encode('{"value": true');
    const decision = await engine.decide('default', bytes, { deadline: Date.now() + WAIT_MS });
    assert.equal(decision.effect === 'deny' && decision.detail, 'the input is not JSON');
    assert.equal(await outcome(engine, { slow: true }), 'evaluation_timeout');
    assert.equal(await outcome(engine, { value: true }, 'missing'), 'not_active');
    assert.equal(await outcome(engine, { value: true }, 'other'), 'no_policy');
    assert.equal(await outcome(engine, { value: true }, '__proto__'), 'no_policy');
  });

  test('never waits longer than the evaluation time limit, whatever the deadline', async () => {
    await write(`package test\n${SLOW_RULE}`);
    const engine = await startEngine(undefined, 150);
    const startedAt = Date.now();
    assert.equal(await outcome(engine, { slow: true }), 'evaluation_timeout');
    assert.ok(Date.now() - startedAt < 5000);
  });
});

describe('decisions made before', () => {
  const cached = (): number =>
    counts.filter((line) => line === 'svidgate_policy_cached_decisions_total default').length;

  /** Gives the engine the document in the way of the gate: all of it, whatever the policy needs. */
  async function decided(engine: PolicyEngine, input: unknown): Promise<string> {
    const document = new TextEncoder().encode(JSON.stringify(input));
    const decision = await engine.decide('default', () => document, { deadline: Date.now() + WAIT_MS });
    return decision.effect === 'allow' ? 'allow' : decision.reason;
  }

  test('are given again for the same values, and for no others', async () => {
    await write('package test\nallow if input.x == 1\nallow := false if input.x == 2\n');
    const engine = await startEngine();
    for (const [x, outcome] of [
      [1, 'allow'],
      [2, 'policy_denied'],
      [3, 'undefined_decision'],
    ]) {
      const before = cached();
      assert.equal(await decided(engine, { x }), outcome);
      assert.equal(cached(), before);
      assert.equal(await decided(engine, { x }), outcome);
      assert.equal(cached(), before + 1);
    }
  });

  test('end with the policy and with its data', async () => {
    await write('package test\nallow if input.x == data.x\n');
    await write('{"x": 1}', 'data.json');
    const engine = await startEngine();
    assert.equal(await decided(engine, { x: 1 }), 'allow');
    assert.equal(await decided(engine, { x: 1 }), 'allow');
    const { digest } = await until(engine, ({ state }) => state === 'active');
    await write('{"x": 2}', 'data.json');
    await until(engine, (status) => status.digest !== digest);
    assert.equal(await decided(engine, { x: 1 }), 'undefined_decision');
  });

  test('are not kept where the clock or chance takes part, nor where no decision could be made', async () => {
    await write('package test\nallow if { time.now_ns() > 0; input.x }\n');
    const engine = await startEngine();
    for (let round = 0; round < 3; round += 1) assert.equal(await decided(engine, { x: true }), 'allow');
    const { digest } = await until(engine, ({ state }) => state === 'active');
    await write('package test\nallow := input.x if input.x\nallow := 2 if input.conflict\n');
    await until(engine, (status) => status.digest !== digest);
    for (let round = 0; round < 3; round += 1) {
      assert.equal(await decided(engine, { x: true, conflict: true }), 'evaluation_error');
    }
    assert.equal(cached(), 0);
  });

  test('what makes the document fails as it fails', async () => {
    await write(ALLOW_ONE);
    const engine = await startEngine();
    const broken = (): never => {
      throw new RangeError('no document');
    };
    await assert.rejects(engine.decide('default', broken, { deadline: Date.now() + WAIT_MS }), RangeError);
  });
});

describe('start', () => {
  test('goes on with a policy that does not compile: it denies, and the log says why and where', async () => {
    await write('package test\nallow if {\n');
    const engine = await startEngine();
    assert.equal(await outcome(engine, { x: 1 }), 'not_active');
    const status = engine.status.value.get('default');
    assert.equal(status?.state, 'not_active');
    assert.equal(status?.lastError?.problems[0]?.file, 'test.rego');
    const mistake = lines.find(({ message }) => message === 'policy mistake');
    assert.equal(mistake?.level, 'warn');
    assert.equal(mistake?.fields.policy, 'default');
    assert.equal(mistake?.fields.file, join(folder, 'test.rego'));
    assert.equal(mistake?.fields.line, 3);
    assert.equal(mistake?.fields.error_code, 'rego_parse_error');
    assert.ok(counts.includes('svidgate_policy_activations_total default refused'));
    assert.ok(
      !counts.some((count) => count.startsWith('svidgate_reload_failures_total')),
      'there was no last good one',
    );

    await write(ALLOW_ONE);
    await until(engine, ({ state }) => state === 'active');
    assert.equal(await outcome(engine, { x: 1 }), 'allow');
  });

  test('goes on without the folder, and takes the policy when it comes', async () => {
    await rm(folder, { recursive: true });
    const engine = await startEngine();
    assert.match(engine.status.value.get('default')?.lastError?.message ?? '', /cannot be read: ENOENT/);
    await mkdir(folder);
    await write(ALLOW_ONE);
    await until(engine, ({ state }) => state === 'active');
    assert.equal(await outcome(engine, { x: 1 }), 'allow');
  });

  test('ends with the signal', async () => {
    await write(ALLOW_ONE);
    const aborted = AbortSignal.abort();
    const policies = [{ name: 'default', path: folder, entrypoint: ENTRYPOINT }];
    const engine = createPolicyEngine({
      policies,
      evalTimeoutMs: 100,
      clock: systemClock,
      logger: createLogger(),
      metrics,
    });
    await assert.rejects(engine.start(aborted), { name: 'AbortError' });
    assert.equal(await outcome(engine, { x: 1 }), 'not_active');
  });
});

describe('an edit', () => {
  test('is in force soon, and says so', async () => {
    await write(ALLOW_ONE);
    const engine = await startEngine();
    const first = engine.status.value.get('default')?.digest;
    await write('package test\nallow if input.x == 2\n');
    const { digest, activatedAt } = await until(engine, (status) => status.digest !== first);
    assert.ok(Math.abs(Date.now() - (activatedAt ?? 0)) < WAIT_MS);
    assert.equal(await outcome(engine, { x: 1 }), 'undefined_decision');
    const { evaluated, ...decision } = await ask(engine, { x: 2 });
    assert.deepEqual(decision, { effect: 'allow', policy: 'default', digest });
    assert.deepEqual([evaluated?.value, evaluated?.needs, evaluated?.cached], [true, 'all', false]);
    assert.equal(counts.filter((count) => count === 'svidgate_policy_activations_total default activated').length, 2);
    assert.ok(lines.some(({ message, fields }) => message === 'policy activated' && fields.digest === digest));
  });

  test('of data alone is in force too', async () => {
    await write('package test\nallow if input.x in data.list');
    await write('list: [1]', 'data.yaml');
    const engine = await startEngine();
    assert.equal(await outcome(engine, { x: 7 }), 'undefined_decision');
    const first = engine.status.value.get('default')?.digest;
    await write('list: [7]', 'data.yaml');
    await until(engine, ({ digest }) => digest !== first);
    assert.equal(await outcome(engine, { x: 7 }), 'allow');
  });

  test('that does not compile keeps the last good policy, and is told once', async () => {
    await write(ALLOW_ONE);
    const engine = await startEngine();
    const good = engine.status.value.get('default')?.digest;
    await write('package test\nallow if http.send({"method": "get", "url": input.url})\n');
    const status = await until(engine, ({ lastError }) => lastError !== undefined);
    assert.equal(status.state, 'active');
    assert.equal(status.digest, good);
    assert.notEqual(status.lastError?.digest, good);
    assert.deepEqual(
      status.lastError?.problems.map(({ code, file, line, column }) => ({ code, file, line, column })),
      [{ code: 'builtin_not_offered', file: 'test.rego', line: 2, column: 10 }],
    );
    assert.equal(await outcome(engine, { x: 1 }), 'allow');
    await delay(2500); // more than one poll of the unchanged files
    assert.equal(lines.filter(({ message }) => message === 'policy mistake').length, 1);
    assert.deepEqual(
      counts.filter((count) => count.startsWith('svidgate_reload_failures_total')),
      ['svidgate_reload_failures_total policy'],
    );
    await write(ALLOW_ONE);
    await until(engine, ({ lastError }) => lastError === undefined);
    assert.equal(engine.status.value.get('default')?.digest, good);
    assert.equal(
      lines.filter(({ message }) => message === 'policy activated').length,
      1,
      'the same bytes need no activation',
    );
  });

  test('that removes the folder keeps the last good policy', async () => {
    await write(ALLOW_ONE);
    const engine = await startEngine();
    await rm(folder, { recursive: true });
    await until(engine, ({ lastError }) => lastError !== undefined);
    assert.equal(await outcome(engine, { x: 1 }), 'allow');
  });

  test("by a swap of Kubernetes' ..data link is in force", async () => {
    for (const version of [1, 2]) {
      await mkdir(join(folder, `..v${version}`));
      await write(`package test\nallow if input.x == ${version}`, `..v${version}/test.rego`);
    }
    await symlink('..v1', join(folder, '..data'));
    await symlink('..data/test.rego', join(folder, 'test.rego'));
    const engine = await startEngine();
    assert.equal(await outcome(engine, { x: 1 }), 'allow');
    const first = engine.status.value.get('default')?.digest;
    await symlink('..v2', join(folder, '..new'));
    await rename(join(folder, '..new'), join(folder, '..data'));
    await until(engine, ({ digest }) => digest !== first);
    assert.equal(await outcome(engine, { x: 2 }), 'allow');
  });

  test('under load fails no decision: each is made by the old policy or the new one', async () => {
    await write('package test\nallow if input.always\nversion := 1');
    const engine = await startEngine();
    const digests = new Set<string | undefined>();
    const enough = new AbortController();
    const progress = { decisions: 0 };
    const client = async (): Promise<void> => {
      while (!enough.signal.aborted) {
        const decision = await ask(engine, { always: true });
        assert.equal(decision.effect, 'allow', JSON.stringify(decision));
        digests.add(decision.digest);
        progress.decisions += 1;
      }
    };
    const clients = Array.from({ length: 8 }, client);
    try {
      for (let version = 2; version <= 4; version += 1) {
        const before = engine.status.value.get('default')?.digest;
        await write(`package test\nallow if input.always\nversion := ${version}`);
        await until(engine, ({ digest }) => digest !== before);
        const target = progress.decisions + 20;
        while (progress.decisions < target) await delay(5);
      }
    } finally {
      enough.abort();
      await Promise.all(clients);
    }
    assert.equal(digests.size, 4);
  });
});

describe('the end of run', () => {
  test('ends every open call and thread', async () => {
    await write(`package test\n${SLOW_RULE}`);
    const engine = await startEngine(undefined, WAIT_MS);
    const open = outcome(engine, { slow: true });
    stop.abort();
    await running;
    assert.equal(await open, 'evaluation_error');
    assert.equal(await outcome(engine, {}), 'not_active');
  });
});

describe('checkPolicyFolder', () => {
  test('finds nothing in a good policy', async () => {
    await write(ALLOW_ONE);
    assert.deepEqual(await checkPolicyFolder({ path: folder, entrypoint: ENTRYPOINT }, stop.signal), []);
  });

  test('finds what the server would refuse', async () => {
    await write('package test\nother := http.send({})\n');
    const problems = await checkPolicyFolder({ path: folder, entrypoint: ENTRYPOINT }, stop.signal);
    assert.deepEqual(
      problems.map(({ code, line }) => ({ code, line })),
      [{ code: 'builtin_not_offered', line: 2 }],
    );
    assert.equal(
      (await checkPolicyFolder({ path: join(folder, 'none'), entrypoint: ENTRYPOINT }, stop.signal))[0]?.code,
      'file_unreadable',
    );
  });
});
