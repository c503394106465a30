import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusedInAllow } from '../../../src/gate/reply-rules.ts';

const EFFECTS = {
  headers: [],
  requestHeadersToRemove: [],
  queryParametersToSet: [],
  queryParametersToRemove: [],
  responseHeadersToAdd: [],
};
const RULES = { allowedHeaders: [], allowsSuccessOnDeny: false };

test('metadata that is too large for a header is refused where replies are HTTP, and there alone', () => {
  const http = { ...RULES, http: { removesHeaders: true } };
  const small = { ...EFFECTS, dynamicMetadata: { a: 'x'.repeat(4000) } };
  const large = { ...EFFECTS, dynamicMetadata: { a: 'é'.repeat(1000) } };
  assert.equal(refusedInAllow(small, http), undefined);
  assert.equal(refusedInAllow(large, RULES), undefined);
  assert.equal(refusedInAllow(large, http), 'metadata that is too large for a header');
});
