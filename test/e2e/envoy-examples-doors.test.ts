/** Examples of the gate's other doors: connections, and requests that leave. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { missingPrograms } from '../docs/shell.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { startExample, startVariant } from '../support/run-example.ts';

for (const envoy of envoyVersions()) {
  describe(`examples of other doors on ${envoy.name}`, { skip: envoy.skip || missingPrograms('curl') }, () => {
    test('tcp-gate lets those connect that the policy names, and nobody who is revoked', async () => {
      await using example = await startExample('tcp-gate', envoy);
      await example.followPage();
      assert.match(example.log(), /peer_revoked/);
    });

    test('tcp-gate: a service that speaks first is heard before the gate was asked, as its page says', async () => {
      await using example = await startExample('tcp-gate', envoy);
      await using speaking = await startVariant(example, {
        file: 'ledger.yaml',
        executable: 'envoy-ledger',
        edit: (text) =>
          text.replace(
            /- name: envoy\.filters\.network\.echo\n.*/,
            `- name: envoy.filters.network.direct_response
              typed_config:
                '@type': type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
                response: { inline_string: "welcome\\n" }`,
          ),
      });
      await example.shell('svidgate svid fetch --config svidgate.yaml --write certs');
      const port = speaking.port(8443);
      assert.equal(await example.shell(`node client.mjs ${example.address} ${port} 1 hello`), 'welcome\n');
    });

    test('egress-token puts a JWT-SVID of the caller into what the policy lets leave, which the other side verifies', async () => {
      await using example = await startExample('egress-token', envoy);
      await example.followPage();
    });
  });
}
