import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AnsweredCheck } from '../../../src/evidence/index.ts';
import { recordDecision, type CheckTrace, type RecordedCheck } from '../../../src/gate/record-decision.ts';

const ANONYMOUS = { listener: 'gate', kind: 'anonymous' } as const;
const PROVEN = { listener: 'gate', kind: 'tls', spiffeIds: [] } as const;

function recorded(trace: CheckTrace, given: { readonly policy: string; readonly reason: string }): AnsweredCheck {
  const checks: AnsweredCheck[] = [];
  const outcome: RecordedCheck['outcome'] = { kind: 'deny', httpStatus: 403, ...given };
  const facts = { decisionId: 'd1' } as RecordedCheck['reply']['facts'];
  recordDecision(
    { outcome, reply: { kind: 'grpc_error', facts } as RecordedCheck['reply'], trace, startedAt: performance.now() },
    { recorder: { record: (check) => void checks.push(check) }, clock: { now: () => 0 }, access: { listener: 'gate' } },
  );
  assert.ok(checks[0] !== undefined && checks.length === 1);
  return checks[0];
}

test('a check that gets to no policy is told by its caller, who may have named any', () => {
  const no = { policy: '', reason: 'invalid_request' };
  const named = { policy: 'x', reason: 'policy_not_allowed' };
  const denied = { policy: 'default', reason: 'policy_denied' };
  assert.equal(recorded({}, no).refused, 'unknown');
  assert.equal(recorded({ caller: ANONYMOUS }, no).refused, 'anonymous');
  assert.equal(recorded({ caller: ANONYMOUS }, named).refused, 'anonymous');
  assert.equal(recorded({ caller: ANONYMOUS }, denied).refused, undefined);
  assert.equal(recorded({ caller: PROVEN }, no).refused, 'proven');
  assert.equal(recorded({ caller: PROVEN }, named).refused, undefined);
  assert.equal(recorded({ caller: PROVEN, policy: 'default' }, no).refused, undefined);
});

test('a text that is cut is no half of a character', () => {
  const request = { attributes: { request: { http: { headers: {}, host: `${'x'.repeat(1023)}\u{1F600}` } } } };
  const trace = { caller: PROVEN, request } as unknown as CheckTrace;
  assert.equal(recorded(trace, { policy: '', reason: 'x' }).facts().request?.host.isWellFormed(), true);
});
