/** Each gate with the real compiler and evaluator behind it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { silentLogger, SvidgateError, systemClock } from '../../../../src/core/index.ts';
import { passGates, type Gates, type GatesResult } from '../../../../src/policy/activation/pass-gates.ts';
import type { ActivationGate, Candidate, PolicySnapshot, PolicySource } from '../../../../src/policy/index.ts';
import { createPolicyLoader } from '../../../../src/policy/policy-loader.ts';
import { offeredBuiltins } from '../../../../src/policy/builtins/offered.ts';
import { createRegoCompiler } from '../../../../src/policy/rego-compiler.ts';
import type { PolicyNetwork } from '../../../../src/policy/suspended-calls.ts';
import { compiler, json, never } from '../support.ts';

const GOOD = 'allow if input.x == 1';
const GOOD_TEST = 'test_one if data.test.allow with input as {"x": 1}';

interface Given {
  readonly rego?: string;
  readonly tests?: string;
  readonly source?: Partial<PolicySource>;
  readonly gates?: Partial<Gates>;
  readonly signal?: AbortSignal;
  readonly skipsReplay?: boolean;
}

function snapshotOf({ rego = GOOD, tests }: Given): PolicySnapshot {
  return {
    files: { modules: { 'test.rego': `package test\n${rego}\n` }, data: {} },
    tests: tests === undefined ? {} : { 'test_test.rego': `package test_test\n${tests}\n` },
    digest: 'd1',
  };
}

function gatesOf(gates: Partial<Gates> = {}, network?: PolicyNetwork): Gates {
  const own = gates.compiler ?? compiler;
  const loader = createPolicyLoader({
    clock: systemClock,
    logger: silentLogger,
    compiler: own,
    queueLimit: 100,
    givesWay: false,
    ...(network === undefined ? {} : { network }),
  });
  return { clock: systemClock, compiler: own, loader, ...gates };
}

async function pass(given: Given): Promise<GatesResult> {
  const { source, gates, signal = never, skipsReplay = false } = given;
  const named: PolicySource = { name: 'default', path: '.', entrypoint: 'test/allow', ...source };
  const result = await passGates(snapshotOf(given), gatesOf(gates), { source: named, signal, skipsReplay });
  if (result.kind === 'passed') await result.loaded.evaluator.close();
  return result;
}

async function refusalOf(given: Given): Promise<Extract<GatesResult, { kind: 'refused' }>['refusal']> {
  const result = await pass(given);
  assert.ok(result.kind === 'refused', 'it passed');
  return result.refusal;
}

function replayGate(changed: number, seen: Candidate[] = []): ActivationGate {
  return {
    replay({ candidate }) {
      seen.push(candidate);
      return Promise.resolve({ replayed: 10, changed, notReplayable: 0, examples: ['3 of web: GET /a'] });
    },
  };
}

describe('a policy passes', () => {
  test('without tests and without recorded decisions', async () => {
    const result = await pass({});
    assert.ok(result.kind === 'passed');
    assert.equal(result.testsPassed, undefined);
  });

  test('with tests that pass, those that are not to be run left aside', async () => {
    const result = await pass({ tests: `${GOOD_TEST}\ntodo_test_later if false` });
    assert.ok(result.kind === 'passed');
    assert.match(result.testsPassed ?? '', /^[0-9a-f]{64}$/);
  });

  test('where files named as tests hold none', async () => {
    assert.equal((await pass({ tests: 'helper := 1' })).kind, 'passed');
  });

  test('with failing tests that nobody asks for', async () => {
    const result = await pass({ tests: 'test_no if false', source: { tests: 'off' } });
    assert.ok(result.kind === 'passed');
    assert.equal(result.testsPassed, undefined, 'they did not');
  });

  test('whatever an empty input lacks', async () => {
    for (const rego of [
      'allow := input.answer',
      'allow := x if { x := input.list[_] }',
      'allow if to_number(input.text) > 1',
      'allow := 1 if input.a\nallow := 2 if not input.a\nallow := true',
    ]) {
      assert.equal((await pass({ rego })).kind, 'passed', rego);
    }
  });

  test('when no more recorded decisions change than may', async () => {
    const source = { replay: { maxChanged: 3, records: 10 } };
    assert.equal((await pass({ source, gates: { activationGate: replayGate(3) } })).kind, 'passed');
    assert.equal((await pass({ source, gates: { activationGate: replayGate(4) }, skipsReplay: true })).kind, 'passed');
  });
});

describe('a policy is refused', () => {
  const cases: readonly (Given & {
    readonly name: string;
    readonly gate: string;
    readonly message: RegExp | string;
    readonly problem?: string;
    readonly isFinal?: boolean;
  })[] = [
    {
      name: 'that does not compile',
      rego: 'allow if {',
      gate: 'compiler',
      message: 'the policy does not compile',
      problem: 'rego_parse_error',
    },
    {
      name: 'that calls what is not offered',
      rego: 'allow if opa.runtime()',
      gate: 'compiler',
      message: 'the policy does not compile',
      problem: 'builtin_not_offered',
    },
    {
      name: 'without its entrypoint',
      source: { entrypoint: 'test/other' },
      gate: 'compiler',
      message: 'the policy does not compile',
      problem: 'entrypoint',
    },
    {
      name: 'that can give no decision',
      rego: 'allow := "yes"',
      gate: 'result_type',
      message: 'its entrypoint can give no decision',
      problem: 'result_type',
    },
    {
      name: 'whose answer to nothing is a text',
      rego: 'allow := object.get(input, "x", "no")',
      gate: 'trial',
      message: /^the answer to an empty input is neither/,
      isFinal: false,
    },
    {
      name: 'with a test that fails',
      tests: `${GOOD_TEST}\ntest_two if data.test.allow with input as {"x": 2}`,
      gate: 'tests',
      message: '1 of its 2 tests failed: data.test_test.test_two',
      problem: 'test_failed',
    },
    {
      name: 'with a test that ends with an error',
      tests:
        'test_two if { x := 1 / (1 - 1); x == count([y | y := 1; to_number("x")]) }\ntest_c if f(1) == 1\nf(_) := 1\nf(_) := 2',
      gate: 'tests',
      message: /tests? failed: /,
      problem: 'test_error',
    },
    {
      name: 'with tests that do not compile',
      tests: 'test_two if nothing_such',
      gate: 'tests',
      message: 'its tests do not compile',
      problem: 'rego_unsafe_var_error',
    },
    {
      name: 'without the tests that are required',
      source: { tests: 'required' },
      gate: 'tests',
      message: /^it has no tests/,
    },
    {
      name: 'with required files that hold no test',
      tests: 'x := 1',
      source: { tests: 'required' },
      gate: 'tests',
      message: /^it has no tests/,
    },
    {
      name: 'that changes too many recorded decisions',
      source: { replay: { maxChanged: 3, records: 10 } },
      gates: { activationGate: replayGate(4) },
      gate: 'replay',
      message: '4 of 10 recorded decisions would change, and 3 may',
      problem: 'decision_changed',
    },
    {
      name: 'when recorded decisions cannot be read',
      source: { replay: { maxChanged: 3, records: 10 } },
      gates: { activationGate: { replay: () => Promise.reject(new SvidgateError('file_unreadable', 'no such log')) } },
      gate: 'replay',
      message: 'recorded decisions cannot be tried: no such log',
      isFinal: false,
    },
    {
      name: 'when recorded decisions are asked for and there is nobody to try them',
      source: { replay: { maxChanged: 3, records: 10 } },
      gate: 'replay',
      message: 'recorded decisions cannot be tried: no decisions are recorded',
      isFinal: false,
    },
  ];
  for (const { name, gate, message, problem, isFinal = true, ...given } of cases) {
    test(`${name}, by ${gate}`, async () => {
      const refusal = await refusalOf(given);
      assert.deepEqual([refusal.gate, refusal.isFinal], [gate, isFinal]);
      if (typeof message === 'string') assert.equal(refusal.message, message);
      else assert.match(refusal.message, message);
      if (problem !== undefined)
        assert.ok(
          refusal.problems.some(({ code }) => code === problem),
          JSON.stringify(refusal),
        );
    });
  }

  test('by its tests when they take too long, and not for good', async () => {
    const slow = createRegoCompiler({ clock: systemClock, builtins: offeredBuiltins(false), timeLimitMs: 3000 });
    const { gate, message, isFinal } = await refusalOf({
      tests:
        'test_slow if count([1 | some x in numbers.range(1, 20000); some y in numbers.range(1, 20000); x == -y]) == 0',
      gates: { compiler: slow, loader: gatesOf().loader },
    });
    assert.deepEqual([gate, isFinal], ['tests', false]);
    assert.match(message, /^its tests could not be run: .*3000 ms|^its tests could not be run: .*3 s/);
  });

  test('by the first gate that it does not pass: the later ones are not asked', async () => {
    const seen: Candidate[] = [];
    const { gate } = await refusalOf({
      tests: 'test_no if false',
      source: { replay: { maxChanged: 0, records: 1 } },
      gates: { activationGate: replayGate(0, seen) },
    });
    assert.equal(gate, 'tests');
    assert.deepEqual(seen, []);
  });
});

test('a candidate decides as it will, asks nobody, and is closed when it is refused', async () => {
  const seen: Candidate[] = [];
  const asked: string[] = [];
  const network: PolicyNetwork = {
    responseCacheBytes: 0,
    exchange: () => Promise.resolve({ fault: String(asked.push('somebody')), reason: 'refused' }),
    close: () => undefined,
  };
  const asking = createRegoCompiler({ clock: systemClock, builtins: offeredBuiltins(true) });
  const rego = `${GOOD}\nallow if http.send({"method": "get", "url": input.url}).status_code == 200`;
  const decided: string[] = [];
  const ask = async (candidate: Candidate | undefined, input: object): Promise<void> => {
    const decision = await candidate?.decide(json(input));
    decided.push(decision?.effect === 'allow' ? 'allow' : (decision?.reason ?? 'nothing'));
  };
  const activationGate: ActivationGate = {
    async replay({ candidate }) {
      seen.push(candidate);
      await ask(candidate, { x: 1 });
      await ask(candidate, { x: 2 });
      await ask(candidate, { url: 'http://127.0.0.1:1/' });
      return { replayed: 2, changed: 1, notReplayable: 0, examples: [] };
    },
  };
  const gates = { ...gatesOf({ compiler: asking }, network), activationGate };
  await refusalOf({ rego, source: { replay: { maxChanged: 0, records: 1 } }, gates });
  await ask(seen[0], { x: 1 });
  assert.deepEqual(decided, ['allow', 'undefined_decision', 'evaluation_error', 'evaluation_error']);
  assert.deepEqual(asked, []);
});

test('the signal ends it at once, with nothing left open', async () => {
  const giveUp = new AbortController();
  const passing = pass({
    source: { replay: { maxChanged: 0, records: 1 } },
    signal: giveUp.signal,
    gates: {
      activationGate: {
        replay: ({ signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason as Error));
            giveUp.abort();
          }),
      },
    },
  });
  await assert.rejects(passing, { name: 'AbortError' });
});
