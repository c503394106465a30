import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  askClient,
  BUILD_LIMIT_MS,
  buildJava,
  missingJava,
  startClient,
  type ClientProgram,
} from '../support/conformance-client.ts';
import { ADMIN_ID, startFederatedServer, WEB_ID } from '../support/federated-server.ts';
import { entriesFor } from '../support/server.ts';

// grpc-java sends the path of the Unix socket as :authority, which Node's HTTP/2 would refuse.
describe('java-spiffe over the Unix socket', { skip: missingJava(), timeout: BUILD_LIMIT_MS }, () => {
  let java: ClientProgram;
  before(
    async () => {
      java = await buildJava();
    },
    { timeout: BUILD_LIMIT_MS },
  );

  it('takes the X.509 context with hints and foreign roots, and each change of it', async () => {
    await using stage = await startFederatedServer();
    await using client = startClient(java, stage.server.socket, 'watch');
    const { svids, roots } = await client.next();
    assert.deepEqual(
      new Set(svids as readonly unknown[]),
      new Set([
        [ADMIN_ID, ''],
        [WEB_ID, 'internal'],
      ]),
    );
    assert.deepEqual(roots, { 'example.test': 1, 'other.test': 1 });
    await stage.server.write('entries.yaml', entriesFor('/new'));
    assert.deepEqual((await client.next())['svids'], [['spiffe://example.test/new', '']]);
  });

  it('takes a token that it checks itself and has checked', async () => {
    await using stage = await startFederatedServer();
    assert.deepEqual(await askClient(java, stage.server.socket, 'jwt', 'api', WEB_ID), { here: WEB_ID, there: WEB_ID });
  });

  it('takes the bundles of both kinds, the foreign ones too', async () => {
    await using stage = await startFederatedServer();
    const both = { 'example.test': 1, 'other.test': 1 };
    assert.deepEqual(await askClient(java, stage.server.socket, 'bundles'), { roots: both, keys: both });
  });
});
