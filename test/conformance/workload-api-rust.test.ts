import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  askClient,
  BUILD_LIMIT_MS,
  buildRust,
  missingRust,
  startClient,
  type ClientProgram,
} from '../support/conformance-client.ts';
import { ADMIN_ID, startFederatedServer, WEB_ID } from '../support/federated-server.ts';
import { entriesFor } from '../support/server.ts';

describe('spiffe from crates.io', { skip: missingRust(), timeout: BUILD_LIMIT_MS }, () => {
  let rust: ClientProgram;
  before(
    async () => {
      rust = await buildRust();
    },
    { timeout: BUILD_LIMIT_MS },
  );

  it('takes the X.509 context with hints and foreign roots, and each change of it', async () => {
    await using stage = await startFederatedServer();
    await using client = startClient(rust, stage.server.socket, 'watch');
    const { svids, roots } = await client.next();
    const expected = [
      [ADMIN_ID, ''],
      [WEB_ID, 'internal'],
    ];
    assert.deepEqual(new Set(svids as readonly unknown[]), new Set(expected));
    assert.deepEqual(roots, { 'example.test': 1, 'other.test': 1 });
    await stage.server.write('entries.yaml', entriesFor('/new'));
    assert.deepEqual((await client.next())['svids'], [['spiffe://example.test/new', '']]);
    await stage.server.write('entries.yaml', '{"entries":[]}');
    assert.match(String((await client.next())['error']), /no identity issued/i);
  });

  it('takes a token that it checks itself and has checked', async () => {
    await using stage = await startFederatedServer();
    const { socket } = stage.server;
    assert.deepEqual(await askClient(rust, socket, 'jwt', 'api', WEB_ID), { here: WEB_ID, there: WEB_ID });
    const denied = await askClient(rust, socket, 'jwt', 'api', 'spiffe://example.test/nobody');
    assert.match(String(denied['error']), /no identity issued/i);
  });

  it('takes the bundles of both kinds, the foreign ones too', async () => {
    await using stage = await startFederatedServer();
    const both = { 'example.test': 1, 'other.test': 1 };
    assert.deepEqual(await askClient(rust, stage.server.socket, 'bundles'), { roots: both, keys: both });
  });
});
