import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parseCertificate, pemCertificates, type Certificate } from '../../src/pki/index.ts';
import { decodeMessage, Secret, type DiscoveryResponse } from '../../src/proto/index.ts';
import { createGoAgent, type GoAgent } from '../support/go-agent.ts';
import { connect, type SecretStream } from '../support/grpc-client.ts';
import { assertServedSvid } from '../support/served-svid.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';
import { connectWorkload, refusalOf } from '../support/workload-client.ts';

const run = promisify(execFile);
const LIMIT_MS = 40_000;
const ORDERS = 'spiffe://example.test/orders';

/** svidgate as a workload of the agent; its own entries give this process /orders, and its bundles are plain CAs. */
function startBehind(agent: GoAgent): Promise<TestServer> {
  return startTestServer({
    entries: entriesFor('/orders'),
    config: `identity_source: workload_api\nupstream_workload_socket: ${agent.socket}\nsds: { disable_spiffe_cert_validation: true }`,
  });
}

interface ServedSecrets {
  readonly leaf: Certificate;
  readonly chainPem: string;
  readonly keyPem: string;
  readonly rootsPem: string;
}

function readSecrets({ resources }: DiscoveryResponse): Partial<ServedSecrets> {
  let read: Partial<ServedSecrets> = {};
  for (const { value } of resources) {
    const { name, tlsCertificate, validationContext } = decodeMessage(Secret, value, 1 << 20);
    if (name === 'ROOTCA') read = { ...read, rootsPem: text(validationContext?.trustedCa?.inlineBytes) };
    if (name !== 'default') continue;
    const chainPem = text(tlsCertificate?.certificateChain?.inlineBytes);
    const keyPem = text(tlsCertificate?.privateKey?.inlineBytes);
    read = { ...read, chainPem, keyPem, leaf: parseCertificate(pemCertificates(chainPem)[0]!) };
  }
  return read;
}

const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString();

/** The SDS secrets at this moment; rejects while there are none. */
async function servedSecrets(server: TestServer): Promise<ServedSecrets> {
  using client = connect(server.socket);
  const secrets = readSecrets(await client.fetchSecrets(['default', 'ROOTCA']));
  assert.ok(secrets.leaf !== undefined && secrets.rootsPem !== undefined);
  return secrets as ServedSecrets;
}

/** openssl's opinion of a chain, with the agent's own CA file as the only root, and of the key that came with it. */
async function assertSignedBy(agent: GoAgent, { chainPem, keyPem }: Pick<ServedSecrets, 'chainPem' | 'keyPem'>) {
  await using folder = await tempFolder();
  const [chain, key] = [join(folder.path, 'chain'), join(folder.path, 'key')];
  await writeFile(chain, chainPem);
  await writeFile(key, keyPem, { mode: 0o600 });
  const trusted = ['-no-CApath', '-no-CAstore', '-CAfile', agent.caFile];
  await run('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', ...trusted, chain]);
  const { stdout: ofKey } = await run('openssl', ['pkey', '-in', key, '-pubout']);
  const { stdout: ofLeaf } = await run('openssl', ['x509', '-in', chain, '-noout', '-pubkey']);
  assert.equal(ofKey, ofLeaf, 'the key is that of the certificate');
}

/** The next push that carries an SVID, acknowledged. */
async function nextSvid(stream: SecretStream): Promise<ServedSecrets> {
  const response = await stream.next();
  stream.ack(response, ['default']);
  const secrets = readSecrets(response);
  assert.ok(secrets.leaf !== undefined, 'a push without an SVID');
  return secrets as ServedSecrets;
}

describe('behind an agent that is built on grpc-go', () => {
  it('SDS and the Workload API serve what the agent signed, and nothing that it does not give', async () => {
    await using agent = await createGoAgent('1h');
    await agent.start('/stock', '/orders');
    await using server = await startBehind(agent);
    const secrets = await waitUntil('the SVID', LIMIT_MS, () => servedSecrets(server));
    assert.deepEqual(secrets.leaf.uris, [ORDERS]);
    await assertSignedBy(agent, secrets);
    const [ca] = pemCertificates(await readFile(agent.caFile, 'utf8'));
    assert.deepEqual(pemCertificates(secrets.rootsPem), [ca], 'the bundle is that of the agent');
    const path = server.socket.slice('unix:'.length);
    assert.equal(await assertServedSvid(path, { intermediates: 0 }), secrets.leaf.serial);

    await server.write('entries.yaml', entriesFor('/unknown'));
    using client = connect(server.socket);
    await waitUntil('nothing to be served', LIMIT_MS, async () => {
      const [code] = await refusalOf(client.fetchSecrets(['default']));
      return code === 'INVALID_ARGUMENT';
    });
  });

  it('tokens of the agent are handed on and found valid, for their audience only', async () => {
    await using agent = await createGoAgent('1h');
    await agent.start('/orders');
    await using server = await startBehind(agent);
    using client = connectWorkload(server.socket);
    const valid = await waitUntil('a valid token', LIMIT_MS, async () => {
      const { svids } = await client.jwtSvids({ audience: ['stock'], spiffeId: ORDERS });
      const token = svids[0]?.svid ?? '';
      return { token, answer: await client.validate({ audience: 'stock', svid: token }) };
    });
    assert.equal(valid.answer.spiffeId, ORDERS);
    const header = JSON.parse(Buffer.from(valid.token.split('.')[0] ?? '', 'base64url').toString()) as object;
    assert.deepEqual(header, { alg: 'ES256', kid: 'agent-token-key', typ: 'JWT' });
    const refusal = await refusalOf(client.validate({ audience: 'other', svid: valid.token }));
    assert.equal(refusal[0], 'INVALID_ARGUMENT');
  });

  it('each rotation of the agent reaches an open stream while the SVID before is still valid', async () => {
    await using agent = await createGoAgent('4s');
    await agent.start('/orders');
    await using server = await startBehind(agent);
    await waitUntil('the SVID', LIMIT_MS, () => servedSecrets(server));
    using client = connect(server.socket);
    const stream = client.streamSecrets();
    stream.send({ resourceNames: ['default'] });
    let before = await nextSvid(stream);
    for (let rotation = 1; rotation <= 4; rotation += 1) {
      const after = await nextSvid(stream);
      assert.ok(Date.now() < before.leaf.notAfter, `a gap at rotation ${rotation}`);
      assert.notEqual(after.leaf.serial, before.leaf.serial);
      assert.notEqual(after.keyPem, before.keyPem);
      await assertSignedBy(agent, after);
      before = after;
    }
    stream.cancel();
    await stream.ended;
    const told = server.lines.filter(({ message }) => message === 'foreign bundle of the agent not taken');
    assert.equal(told.length, 2);
    assert.deepEqual(
      new Set(told.map(({ method }) => String(method).split('/').at(-1))),
      new Set(['FetchJWTBundles', 'FetchX509SVID']),
      'its federated bundle cannot be read: told once, whatever the number of answers',
    );
  });

  it('an agent that is killed leaves what it gave, is followed again when it is back, and can take it back', async () => {
    await using agent = await createGoAgent('1h');
    await agent.start('/orders');
    await using server = await startBehind(agent);
    const before = await waitUntil('the SVID', LIMIT_MS, () => servedSecrets(server));
    using client = connect(server.socket);
    const stream = client.streamSecrets();
    stream.send({ resourceNames: ['default'] });
    assert.equal((await nextSvid(stream)).leaf.serial, before.leaf.serial);

    await agent.kill();
    await waitUntil('the warning', LIMIT_MS, () =>
      server.lines.some(({ message }) => message === 'workload api not followed'),
    );
    assert.equal((await servedSecrets(server)).leaf.serial, before.leaf.serial, 'the last good one goes on');
    assert.equal(stream.waiting, 0, 'and nobody is told anything');

    await agent.start('/orders');
    const after = await nextSvid(stream);
    assert.notEqual(after.leaf.serial, before.leaf.serial, 'a new agent signs anew');
    await assertSignedBy(agent, after);

    await agent.give('/stock');
    const { code, details } = await stream.ended;
    assert.equal(code, 3, details);
    await assert.rejects(servedSecrets(server), { code: 3 });

    await agent.give();
    await waitUntil('the agent to refuse', LIMIT_MS, () =>
      server.lines.some(({ message }) => message === 'workload api took all identities back'),
    );
    await agent.give('/orders');
    const again = await waitUntil('it to be given again', LIMIT_MS, () => servedSecrets(server));
    await assertSignedBy(agent, again);
  });

  it('an agent that comes late, and without an entry for us at first, is waited for', async () => {
    await using agent = await createGoAgent('1h');
    await using server = await startBehind(agent);
    await assert.rejects(servedSecrets(server));
    await agent.start();
    await waitUntil('the refusal', LIMIT_MS, () =>
      server.lines.some(({ reason }) => String(reason).includes('no identity issued')),
    );
    await agent.give('/orders');
    await assertSignedBy(agent, await waitUntil('the SVID', LIMIT_MS, () => servedSecrets(server)));
  });
});
