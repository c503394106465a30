import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCertificate, pemCertificates } from '../../src/pki/index.ts';
import { Secret, decodeMessage } from '../../src/proto/index.ts';
import { connect } from '../support/grpc-client.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 20_000;

/** The serial in the secret `default`, or undefined when there is none. */
async function serialAt(socket: string): Promise<string | undefined> {
  using client = connect(socket);
  const stream = client.streamSecrets();
  stream.send({ resourceNames: ['default'] });
  const { resources } = await stream.next();
  const [any] = resources;
  if (any === undefined) return undefined;
  const { tlsCertificate } = decodeMessage(Secret, any.value, 1 << 20);
  const [leaf] = pemCertificates(Buffer.from(tlsCertificate?.certificateChain?.inlineBytes ?? []).toString());
  return leaf === undefined ? undefined : parseCertificate(leaf).serial;
}

test('a server behind an agent serves what the agent gives, follows it, and outlives it', async () => {
  await using upper = await startTestServer({ entries: entriesFor('/orders', '/stock') });
  await using lower = await startTestServer({
    entries: entriesFor('/orders'),
    config: `identity_source: workload_api\nupstream_workload_socket: ${upper.socket.slice('unix:'.length)}`,
  });
  const before = await waitUntil('the SVID of the agent', LIMIT_MS, () => serialAt(lower.socket));
  assert.equal(before, await serialAt(upper.socket), 'it is the very SVID that the agent signed');

  await upper.write('entries.yaml', entriesFor('/stock'));
  await waitUntil('the agent to take it back', LIMIT_MS, async () =>
    serialAt(lower.socket).then(
      () => false,
      () => true,
    ),
  );
  await upper.write('entries.yaml', entriesFor('/orders'));
  const again = await waitUntil('another SVID of the agent', LIMIT_MS, () => serialAt(lower.socket));

  await upper.running.stop('the agent goes away');
  assert.equal(await serialAt(lower.socket), again, 'what was given stays');
});
