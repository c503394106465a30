import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { missingPrograms } from '../docs/shell.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { startExample } from '../support/run-example.ts';

const missing = missingPrograms('curl', 'openssl');

for (const envoy of envoyVersions()) {
  describe(`examples of the gate on ${envoy.name}`, { skip: envoy.skip || missing }, () => {
    test("opa-migration decides as OPA's plugin did, by its configuration and its Rego", async () => {
      await using example = await startExample('opa-migration', envoy);
      await example.followPage();
    });

    test('policy-per-route asks the policy that the route names, and denies where there is none', async () => {
      await using example = await startExample('policy-per-route', envoy);
      await example.followPage();
    });

    test('jwt-gateway knows clients by tokens of an outside issuer, and believes no header of theirs', async () => {
      await using example = await startExample('jwt-gateway', envoy);
      await example.followPage();
      assert.match(example.log(), /token of login claim_mismatch/);
    });
  });
}
