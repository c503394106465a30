import assert from 'node:assert/strict';
import { afterEach, before, describe, test } from 'node:test';
import { SvidgateError, silentLogger, systemClock } from '../../../src/core/index.ts';
import type { Evaluation } from '../../../src/policy/evaluation.ts';
import { Evaluator, type EvaluatorOptions } from '../../../src/policy/evaluator.ts';
import { startEvaluationThread } from '../../../src/policy/evaluation-thread.ts';
import type { LoadedModule } from '../../../src/policy/evaluator-protocol.ts';
import { json, load, never } from './support.ts';

/** The slow branch takes seconds: nine million steps. */
const REGO = `package test
default allow := false
allow if input.user in data.users
allow if {
  input.slow
  count([1 | some x in numbers.range(1, 3000); some y in numbers.range(1, 3000); x * y == 7]) == 2
}
allow := input.value if "value" in object.keys(input)
allow := count(input.list) if input.list
allow := 1 if input.conflict
allow := 2 if input.conflict
`;
const LONG_MS = 20_000;

let loaded: LoadedModule;
before(async () => {
  loaded = await load(REGO, '{"users":["ann"]}');
});

const open: Evaluator[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((evaluator) => evaluator.close()));
});

async function start(options: Partial<EvaluatorOptions> = {}, module = loaded): Promise<Evaluator> {
  const all = { clock: systemClock, logger: silentLogger, queueLimit: 100, ...options };
  const evaluator = await Evaluator.start(module, all, never);
  open.push(evaluator);
  return evaluator;
}

function evaluate(evaluator: Evaluator, input: unknown, ms = LONG_MS): Promise<Evaluation> {
  return evaluator.evaluate(json(input), { deadline: Date.now() + ms });
}

const VALUE_TRUE: Evaluation = { kind: 'value', value: true };

describe('an evaluator', () => {
  const cases: { readonly name: string; readonly input: unknown; readonly expected: Evaluation }[] = [
    { name: 'true', input: { user: 'ann' }, expected: VALUE_TRUE },
    { name: 'false', input: { user: 'bob' }, expected: { kind: 'value', value: false } },
    { name: 'a value of another type', input: { value: { a: [1] } }, expected: { kind: 'value', value: { a: [1] } } },
    { name: 'null', input: { value: null }, expected: { kind: 'value', value: null } },
    {
      name: 'a conflict, with its place',
      input: { conflict: true },
      expected: { kind: 'error', message: 'test.rego:11:1: var assignment conflict' },
    },
  ];
  for (const { name, input, expected } of cases) {
    test(`gives ${name}`, async () => {
      assert.deepEqual(await evaluate(await start(), input), expected);
    });
  }

  test('gives undefined where no rule has a value', async () => {
    const evaluator = await start({}, await load('package test\nallow if input.x'));
    assert.deepEqual(await evaluate(evaluator, {}), { kind: 'undefined' });
  });

  test('works on after an error, and after memory that grew', async () => {
    const evaluator = await start({ limits: { recycleBytes: 2 ** 20, maxBytes: 16 * 2 ** 20 } });
    assert.equal((await evaluate(evaluator, { conflict: true })).kind, 'error');
    assert.deepEqual(await evaluate(evaluator, { list: ['x'.repeat(1.5 * 2 ** 20)] }), { kind: 'value', value: 1 });
    assert.equal((await evaluate(evaluator, { list: ['x'.repeat(10 * 2 ** 20)] })).kind, 'error');
    assert.deepEqual(await evaluate(evaluator, { user: 'ann' }), VALUE_TRUE);
  });

  test('refuses to start on a module without the entrypoint', async () => {
    await assert.rejects(
      start({}, { ...loaded, entrypoint: 'test/other' }),
      (error) => error instanceof SvidgateError && error.code === 'policy_invalid' && /test\/other/.test(error.message),
    );
  });

  test('refuses to start on a policy whose first evaluation does not end', async () => {
    const stuck = await load(REGO.replace('input.slow', 'not input.fast'));
    await assert.rejects(
      start({ startLimitMs: 200 }, stuck),
      (error) => error instanceof SvidgateError && error.code === 'deadline_exceeded',
    );
  });
});

describe('an evaluation that takes too long', () => {
  test('is a time-out at its deadline, and costs the calls behind it nothing but the wait', async () => {
    const evaluator = await start();
    const startedAt = Date.now();
    const slow = evaluate(evaluator, { slow: true }, 150);
    const behind = [{ user: 'ann' }, { user: 'bob' }].map((input) => evaluate(evaluator, input));
    const hasty = evaluate(evaluator, { user: 'ann' }, 60);
    assert.deepEqual(await hasty, { kind: 'timeout' });
    assert.deepEqual(await slow, { kind: 'timeout' });
    assert.ok(Date.now() - startedAt >= 149, 'not before its deadline');
    assert.deepEqual(await Promise.all(behind), [VALUE_TRUE, { kind: 'value', value: false }]);
  });

  test('may come again and again', async () => {
    const evaluator = await start();
    for (let round = 0; round < 4; round += 1) {
      const slow = evaluate(evaluator, { slow: true }, 60);
      const good = evaluate(evaluator, { user: 'ann' });
      assert.deepEqual(await Promise.all([slow, good]), [{ kind: 'timeout' }, VALUE_TRUE]);
    }
  });

  test('ends the thread also where nobody waits for it any more', async () => {
    const evaluator = await start();
    const stop = new AbortController();
    const slow = evaluator.evaluate(json({ slow: true }), { deadline: Date.now() + 100, signal: stop.signal });
    stop.abort();
    assert.deepEqual(await slow, { kind: 'canceled' });
    assert.deepEqual(await evaluate(evaluator, { user: 'ann' }), VALUE_TRUE);
  });

  test('leaves calls whose own deadline is over without waiting for the thread', async () => {
    const evaluator = await start();
    const calls = Array.from({ length: 50 }, () => evaluate(evaluator, { slow: true }, 80));
    const startedAt = Date.now();
    for (const evaluation of await Promise.all(calls)) assert.deepEqual(evaluation, { kind: 'timeout' });
    assert.ok(Date.now() - startedAt < 2000, 'far less than one slow evaluation each');
    assert.deepEqual(await evaluate(evaluator, { user: 'ann' }), VALUE_TRUE);
  });
});

describe('a thread that dies', () => {
  test('is an error for the call that ran, and the others go on', async () => {
    // The real thread, with a death that cannot be provoked from outside.
    const deaths: (() => void)[] = [];
    const startThread: typeof startEvaluationThread = async (module, options) => {
      const thread = await startEvaluationThread(module, options);
      deaths.push(() => {
        void thread.end();
        options.onDeath('it died');
      });
      return thread;
    };
    const evaluator = await start({ startThread });
    const fatal = evaluate(evaluator, { slow: true });
    const good = evaluate(evaluator, { user: 'ann' });
    deaths[0]?.();
    assert.deepEqual(await fatal, { kind: 'error', message: 'it died' });
    assert.deepEqual(await good, VALUE_TRUE);
    assert.deepEqual(await evaluate(evaluator, { user: 'ann' }), VALUE_TRUE);
  });

  test('does not follow from an input or a result that is too large for its heap', async () => {
    const evaluator = await start({}, await load('package test\nallow := [x | some x in numbers.range(1, input.n)]'));
    const arrays = new TextEncoder().encode(`[${'[],'.repeat(6_000_000)}[]]`);
    const tooLarge = await evaluator.evaluate(arrays, { deadline: Date.now() + LONG_MS });
    assert.deepEqual(tooLarge, { kind: 'error', message: 'the input is larger than 16777216 bytes' });
    assert.deepEqual(await evaluate(evaluator, { n: 1_000_000 }), {
      kind: 'error',
      message: 'the result is larger than 4194304 bytes',
    });
    const objects = new TextEncoder().encode(`{"n":1,"x":[${'{},'.repeat(5_000_000)}{}]}`);
    await evaluator.evaluate(objects, { deadline: Date.now() + 3000 }); // just below the limit: any end but the process's
    assert.deepEqual(await evaluate(evaluator, { n: 2 }), { kind: 'value', value: [1, 2] });
  });
});

describe('the queue', () => {
  test('takes as many calls as its limit, and the next is overloaded at once', async () => {
    const evaluator = await start({ queueLimit: 20 });
    const slow = evaluate(evaluator, { slow: true }, 200);
    const waiting = Array.from({ length: 19 }, () => evaluate(evaluator, { user: 'ann' }));
    assert.deepEqual(await evaluate(evaluator, { user: 'ann' }), { kind: 'overloaded' });
    await slow;
    for (const evaluation of await Promise.all(waiting)) assert.deepEqual(evaluation, VALUE_TRUE);
    assert.deepEqual(await evaluate(evaluator, { user: 'ann' }), VALUE_TRUE);
  });

  test('does not take a call that is over or canceled before it begins', async () => {
    const evaluator = await start();
    const signal = AbortSignal.abort();
    const deadline = Date.now() + LONG_MS;
    assert.deepEqual(await evaluator.evaluate(json({}), { deadline, signal }), { kind: 'canceled' });
    assert.deepEqual(await evaluate(evaluator, {}, 0), { kind: 'timeout' });
  });

  test('gives each caller its own answer under load', async () => {
    const evaluator = await start({ queueLimit: 2000 });
    const answers = await Promise.all(Array.from({ length: 2000 }, (_, value) => evaluate(evaluator, { value })));
    answers.forEach((answer, value) => assert.deepEqual(answer, { kind: 'value', value }));
  });
});

describe('closing', () => {
  test('settles every open call, and later calls', async () => {
    const evaluator = await start();
    const calls = [evaluate(evaluator, { slow: true }), evaluate(evaluator, { user: 'ann' })];
    await evaluator.close();
    for (const evaluation of await Promise.all(calls)) assert.equal(evaluation.kind, 'error');
    assert.equal((await evaluate(evaluator, { user: 'ann' })).kind, 'error');
  });

  test('after draining loses no call', async () => {
    const evaluator = await start();
    const calls = Array.from({ length: 50 }, () => evaluate(evaluator, { user: 'ann' }));
    await evaluator.drain();
    for (const evaluation of await Promise.all(calls)) assert.deepEqual(evaluation, VALUE_TRUE);
  });
});
