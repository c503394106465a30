import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CommonAnswers } from '../../../../src/endpoints/access-log/common-answers.ts';
import { PolicyRecordings } from '../../../../src/endpoints/access-log/policy-recordings.ts';
import type { OffloadOrigin } from '../../../../src/offload/index.ts';
import type { PolicyRecording } from '../../../../src/policy/index.ts';
import { parseSpiffeId } from '../../../../src/spiffe/index.ts';

const EDGE = parseSpiffeId('spiffe://example.test/edge');
const SHOP = parseSpiffeId('spiffe://example.test/shop');
const ALLOW = { policy: 'default', outcome: 'allow', rule: 'rule-a' } as const;
const DENY = { policy: 'default', outcome: 'deny' } as const;
const ORIGIN: OffloadOrigin = { policy: 'default', policyDigest: 'd1', origin: [], peer: 'peers', isFor: () => true };

function recording(digest: string): PolicyRecording {
  const logRules = { evaluate: async () => ({ kind: 'undefined' }) as const, close: async () => undefined };
  return { digest, needs: 'all', entrypoint: 'a/allow', logRules };
}

test('what records have in common is the same object until anything of it changes', () => {
  let inForce = recording('d1');
  const first = inForce;
  const answers = new CommonAnswers(new PolicyRecordings(() => inForce));
  const common = answers.of(ALLOW, [EDGE], ORIGIN);
  assert.deepEqual([common.digest, common.callerIds, common.evaluated.logRules], ['d1', [EDGE], first.logRules]);
  const others = [
    answers.of(ALLOW, [SHOP], ORIGIN),
    answers.of(ALLOW, [EDGE, SHOP], ORIGIN),
    answers.of({ ...ALLOW, rule: 'rule-b' }, [EDGE], ORIGIN),
    answers.of(ALLOW, [EDGE], { ...ORIGIN, peer: 'anyone' }),
  ];
  assert.deepEqual(
    others.map(({ callerIds, offloaded }) => [callerIds, offloaded.rule, offloaded.verifiesPeer]),
    [
      [[SHOP], 'rule-a', true],
      [[EDGE, SHOP], 'rule-a', true],
      [[EDGE], 'rule-b', true],
      [[EDGE], 'rule-a', false],
    ],
  );
  const again = answers.of({ ...ALLOW }, [EDGE], { ...ORIGIN });
  assert.deepEqual(again, common);
  assert.equal(answers.of(ALLOW, [EDGE], ORIGIN), again);
  const denied = answers.of(DENY, [EDGE], undefined);
  assert.equal(denied.evaluated.logRules, first.logRules);
  inForce = recording('d2');
  // By the snapshot that the rule was made from, while that is known; else by what is in force.
  assert.equal(answers.of(ALLOW, [EDGE], ORIGIN), again);
  assert.equal(answers.of(ALLOW, [EDGE], { ...ORIGIN, policyDigest: 'd2' }).digest, 'd2');
  assert.equal(answers.of(ALLOW, [EDGE], { ...ORIGIN, policyDigest: 'd3' }).offloaded.knowsPolicy, false);
  assert.equal(answers.of(DENY, [EDGE], undefined).evaluated.logRules, inForce.logRules);
});
