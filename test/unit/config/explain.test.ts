import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeValue, formatMistake, parseConfig } from '../../../src/config/index.ts';

test('a mistake shows no credentials of an address', () => {
  assert.equal(describeValue('https://ann:p@ss@logs.test/x'), '"https://…@logs.test/x"');
  assert.equal(describeValue('spiffe://a.test/b@c'), '"spiffe://a.test/b@c"');
  const text = 'trust_domain: prod.acme.test\ndecision_log: { opa: { url: "https://ann:secret@logs.test/logs" } }\n';
  const mistakes = parseConfig(text, '/etc/svidgate.yaml').mistakes ?? [];
  assert.ok(mistakes.length > 0);
  for (const mistake of mistakes) assert.doesNotMatch(formatMistake(mistake), /secret/);
});
