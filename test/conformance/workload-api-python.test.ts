import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  askClient,
  BUILD_LIMIT_MS,
  buildPython,
  startClient,
  type ClientProgram,
} from '../support/conformance-client.ts';
import { ADMIN_ID, startFederatedServer, WEB_ID } from '../support/federated-server.ts';
import { entriesFor } from '../support/server.ts';

describe('spiffe from PyPI', { timeout: BUILD_LIMIT_MS }, () => {
  let python: ClientProgram;
  before(
    async () => {
      python = await buildPython();
    },
    { timeout: BUILD_LIMIT_MS },
  );

  it('takes the X.509 context with foreign roots, and each change of it', async () => {
    await using stage = await startFederatedServer();
    await using client = startClient(python, stage.server.socket, 'watch');
    const roots = { 'example.test': 1, 'other.test': 1 };
    assert.deepEqual(await client.next(), { svids: [ADMIN_ID, WEB_ID], roots });
    await stage.server.write('entries.yaml', entriesFor('/new'));
    const next = { svids: ['spiffe://example.test/new'], roots: { 'example.test': 1 } };
    assert.deepEqual(await client.next(), next);
    assert.deepEqual(await askClient(python, stage.server.socket, 'default'), { id: 'spiffe://example.test/new' });
  });

  it('takes a token that it checks itself and has checked', async () => {
    await using stage = await startFederatedServer();
    const { socket } = stage.server;
    assert.deepEqual(await askClient(python, socket, 'jwt', 'api', WEB_ID), { here: WEB_ID, there: WEB_ID });
    const denied = await askClient(python, socket, 'jwt', 'api', 'spiffe://example.test/nobody');
    assert.match(String(denied['error']), /no identity issued/);
  });

  it('takes the bundles of both kinds, the foreign ones too', async () => {
    await using stage = await startFederatedServer();
    const both = { 'example.test': 1, 'other.test': 1 };
    assert.deepEqual(await askClient(python, stage.server.socket, 'bundles'), { roots: both, keys: both });
  });
});
