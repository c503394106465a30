import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { decide, isFailure, type DenyReason } from '../../../src/policy/decision.ts';
import type { Evaluation } from '../../../src/policy/evaluation.ts';

const SOURCE = { policy: 'default', digest: 'd1' };

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

describe('decide', () => {
  test('allows on the boolean true, and on an object that says so', () => {
    assert.deepEqual(decide(SOURCE, { kind: 'value', value: true }), { effect: 'allow', ...SOURCE });
    assert.equal(decide(SOURCE, { kind: 'value', value: { allowed: true } }).effect, 'allow');
  });

  const denied: { readonly name: string; readonly evaluation: Evaluation; readonly reason: DenyReason }[] = [
    { name: 'false', evaluation: { kind: 'value', value: false }, reason: 'policy_denied' },
    { name: 'the text true', evaluation: { kind: 'value', value: 'true' }, reason: 'wrong_type' },
    { name: 'the number 1', evaluation: { kind: 'value', value: 1 }, reason: 'wrong_type' },
    { name: 'null', evaluation: { kind: 'value', value: null }, reason: 'wrong_type' },
    { name: 'an array with true', evaluation: { kind: 'value', value: [true] }, reason: 'wrong_type' },
    { name: 'an object without allowed', evaluation: { kind: 'value', value: { allow: true } }, reason: 'wrong_type' },
    {
      name: 'an object that says no',
      evaluation: { kind: 'value', value: { allowed: false } },
      reason: 'policy_denied',
    },
    { name: 'a Boolean object', evaluation: { kind: 'value', value: Object(true) as unknown }, reason: 'wrong_type' },
    { name: 'no value', evaluation: { kind: 'value', value: undefined }, reason: 'wrong_type' },
    { name: 'an undefined decision', evaluation: { kind: 'undefined' }, reason: 'undefined_decision' },
    { name: 'an error', evaluation: { kind: 'error', message: 'conflict' }, reason: 'evaluation_error' },
    { name: 'a time-out', evaluation: { kind: 'timeout' }, reason: 'evaluation_timeout' },
    { name: 'a full queue', evaluation: { kind: 'overloaded' }, reason: 'overloaded' },
    { name: 'a canceled call', evaluation: { kind: 'canceled' }, reason: 'canceled' },
    { name: 'an unknown kind', evaluation: { kind: 'allow' } as unknown as Evaluation, reason: 'evaluation_error' },
  ];
  for (const { name, evaluation, reason } of denied) {
    test(`denies ${name} as ${reason}`, () => {
      const decision = decide(SOURCE, evaluation);
      assert.equal(decision.effect, 'deny');
      assert.equal(decision.effect === 'deny' && decision.reason, reason);
      assert.equal(decision.digest, 'd1');
    });
  }

  test('never allows on any other value', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        fc.pre(value !== true && !(isRecord(value) && value['allowed'] === true));
        assert.equal(decide(SOURCE, { kind: 'value', value }).effect, 'deny');
      }),
    );
  });

  test('keeps what Rego said for the log', () => {
    const decision = decide(SOURCE, { kind: 'error', message: 'authz.rego:5:1: var assignment conflict' });
    assert.equal(decision.effect === 'deny' && decision.detail, 'authz.rego:5:1: var assignment conflict');
  });
});

test('only a policy that said no is not a failure', () => {
  assert.equal(isFailure('policy_denied'), false);
  for (const reason of ['undefined_decision', 'wrong_type', 'evaluation_timeout', 'not_active'] as const) {
    assert.equal(isFailure(reason), true);
  }
});
