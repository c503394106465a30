import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareAnswers, type Comparison, type ShadowAnswer } from '../../../src/evidence/shadow-answer.ts';
import type { AllowEffects } from '../../../src/policy/index.ts';

const NONE: AllowEffects = {
  headers: [],
  requestHeadersToRemove: [],
  queryParametersToSet: [],
  queryParametersToRemove: [],
  responseHeadersToAdd: [],
};
const allow = (effects?: Partial<AllowEffects>): ShadowAnswer => ({
  kind: 'allow',
  reason: '',
  ...(effects === undefined ? {} : { effects: { ...NONE, ...effects } }),
});
const deny = (effects?: object): ShadowAnswer => ({
  kind: 'deny',
  reason: 'policy_denied',
  ...(effects === undefined ? {} : { effects: { headers: [], ...effects } }),
});
const failure: ShadowAnswer = { kind: 'failure', reason: 'undefined_decision' };
const header = (name: string, value: string) => ({ headers: [{ name, value }] });

const CASES: readonly (readonly [name: string, live: ShadowAnswer, candidate: ShadowAnswer, is: Comparison])[] = [
  ['both allow', allow(), allow(), 'same'],
  ['an object without effects is as good as true', allow(), allow({}), 'same'],
  ['the case of a header', allow(header('X-A', 'b')), allow(header('x-a', 'b')), 'same'],
  ['another value', allow(header('x-a', 'b')), allow(header('x-a', 'c')), 'other_effects'],
  ['a header that was not there', allow(), allow(header('x-a', 'b')), 'other_effects'],
  ['a header that is removed', allow(), allow({ requestHeadersToRemove: ['x'] }), 'other_effects'],
  [
    'what is removed, in another order',
    allow({ requestHeadersToRemove: ['x', 'Y'] }),
    allow({ requestHeadersToRemove: ['y', 'x'] }),
    'same',
  ],
  ['a query parameter', allow(), allow({ queryParametersToSet: [{ name: 'a', value: 'b' }] }), 'other_effects'],
  ['a query parameter that is removed', allow(), allow({ queryParametersToRemove: ['a'] }), 'other_effects'],
  ['a header of the response', allow(), allow({ responseHeadersToAdd: [{ name: 'a', value: 'b' }] }), 'other_effects'],
  ['metadata', allow(), allow({ dynamicMetadata: { a: 1 } }), 'other_effects'],
  [
    'metadata in another order',
    allow({ dynamicMetadata: { a: 1, b: [{ c: 2 }] } }),
    allow({ dynamicMetadata: { b: [{ c: 2 }], a: 1 } }),
    'same',
  ],
  ['both deny', deny(), deny(), 'same'],
  ['403 is the usual status', deny(), deny({ httpStatus: 403 }), 'same'],
  ['another status', deny(), deny({ httpStatus: 401 }), 'other_effects'],
  ['another body', deny({ body: 'a' }), deny({ body: 'b' }), 'other_effects'],
  ['another header of a deny', deny(), deny(header('a', 'b')), 'other_effects'],
  ['a deny that would be an allow', deny(), allow(), 'would_allow'],
  ['a failure that would be an allow', failure, allow(), 'would_allow'],
  ['an allow that would be a deny', allow(), deny(), 'would_deny'],
  ['a failure that would be a deny', failure, deny(), 'live_failed'],
  ['the candidate fails where the live one allows', allow(), failure, 'candidate_failed'],
  ['the candidate fails where the live one denies', deny(), failure, 'candidate_failed'],
  ['both fail', failure, failure, 'candidate_failed'],
];

for (const [name, live, candidate, is] of CASES) {
  test(`${name}: ${is}`, () => assert.equal(compareAnswers(live, candidate), is));
}
