import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { missingPrograms } from '../docs/shell.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { startExample } from '../support/run-example.ts';

const missing = missingPrograms('curl', 'openssl');

for (const envoy of envoyVersions()) {
  describe(`the example of the offload on ${envoy.name}`, { skip: envoy.skip || missing }, () => {
    test('Envoy answers by itself what the policy allows, also without svidgate for a while, and no longer who is revoked', async () => {
      await using example = await startExample('offload', envoy);
      await example.followPage();
      assert.doesNotMatch(example.log(), /rules refused by envoy/);
    });
  });
}
