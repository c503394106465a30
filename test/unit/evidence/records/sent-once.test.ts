import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommonFacts } from '../../../../src/evidence/records/answered-check.ts';
import { KnownOnce } from '../../../../src/evidence/records/known-once.ts';
import { MAX_COMMON } from '../../../../src/evidence/records/record-protocol.ts';
import { SentOnce } from '../../../../src/evidence/records/sent-once.ts';

function commonOf(rule: string): CommonFacts {
  return {
    policy: 'default',
    outcome: 'allow',
    durationNs: 0,
    reason: '',
    httpStatus: 0,
    caller: 'attested',
    listener: '',
    offloaded: { rule, origin: [], verifiesPeer: false, knowsPolicy: true },
    evaluated: { needs: new Map([['version', 'all']]), value: true, cached: false, entrypoint: 'a/allow' },
  };
}

test('what is in common is sent once, to a new thread again, and known for as long as its number is used', () => {
  const sent = new SentOnce();
  let known = new KnownOnce();
  const send = (common: CommonFacts): number => {
    const number = sent.commonOf(common);
    known.learn(sent.take());
    return number;
  };
  const first = commonOf('rule-0');
  const number = send(first);
  assert.equal(send(first), number);
  assert.deepEqual(known.common(number)?.facts.evaluated?.recorded, [['version']]);
  assert.deepEqual(sent.take(), { paths: [], common: [] });
  sent.clear();
  known = new KnownOnce();
  assert.equal(known.common(send(first))?.facts.offloaded.rule, 'rule-0');
  for (let count = 1; count < 3 * MAX_COMMON; count += 1) {
    const rule = `rule-${count}`;
    assert.equal(known.common(send(commonOf(rule)))?.facts.offloaded.rule, rule);
  }
  assert.equal(known.common(number), undefined);
  assert.equal(known.common(send(first))?.facts.offloaded.rule, 'rule-0');
});
