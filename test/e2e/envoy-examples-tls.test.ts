import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { pemEncode } from '../../src/pki/index.ts';
import { formatSpiffeBundle, parseSpiffeId } from '../../src/spiffe/index.ts';
import { missingPrograms } from '../docs/shell.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { cliOf } from '../support/run-cli.ts';
import { startExample, startVariant, type RunningExample } from '../support/run-example.ts';
import { createTestTrustDomain, type TestTrustDomain } from '../support/test-trust-domain.ts';
import { callOnce, peerSeen, writtenSvid, type CallerIdentity, type TlsTarget } from '../support/tls-caller.ts';
import { waitUntil } from '../support/wait-until.ts';

const missing = missingPrograms('curl', 'openssl');

for (const envoy of envoyVersions()) {
  describe(`examples of mTLS on ${envoy.name}`, { skip: envoy.skip || missing }, () => {
    test('one-way-tls serves clients without a certificate, and checks those that have one', async () => {
      await using example = await startExample('one-way-tls', envoy);
      await example.followPage();
      const caller = await writtenSvid(join(example.folder, 'certs'));
      const edge = targetOf(example, 8443, { ca: caller.ca, serverName: 'edge.mesh.test' });
      assert.equal(await peerSeen(edge), 'nobody');
      assert.equal(await peerSeen(edge, caller), 'spiffe://mesh.test/caller');
      const impostor = await createTestTrustDomain('mesh.test');
      assert.equal(await peerSeen(edge, await svidOf(impostor, 'spiffe://mesh.test/caller')), 'refused');

      await using strict = await startVariant(example, {
        file: 'edge.yaml',
        executable: 'envoy-edge',
        edit: (text) => text.replace(/^ +metadata:.*\n/m, ''),
      });
      const strictEdge = { ...edge, port: strict.port(8443) };
      assert.equal(await peerSeen(strictEdge), 'refused');
      assert.equal(await peerSeen(strictEdge, caller), 'spiffe://mesh.test/caller');
    });

    test('federated-all takes peers of the domains it federates with, each by its own CAs, until they are removed', async () => {
      await using example = await startExample('federated-all', envoy);
      await example.followPage();
      const caller = await writtenSvid(join(example.folder, 'certs'));
      const partner = await writtenSvid(join(example.folder, 'partner'));
      const third = await createTestTrustDomain('third.test');
      const ofThird = await svidOf(third, 'spiffe://third.test/caller');
      const forged = await svidOf(third, 'spiffe://partner.test/caller');
      const api = targetOf(example, 8443, { ca: caller.ca, serverName: 'api.prod.test' });
      // The page has removed the partner. A domain that no entry federates with stays out, bundle or not.
      await writeFile(join(example.folder, 'third.json'), formatSpiffeBundle(third.bundle.value));
      const svidgate = cliOf(example);
      await svidgate.text('bundle', 'set', 'third.test', join(example.folder, 'third.json'));
      await svidgate.text('bundle', 'set', 'partner.test', join(example.folder, 'run/partner.json'));
      await waitUntil('the partner to be let in', 10_000, async () => {
        return (await peerSeen(api, partner)) === 'spiffe://partner.test/caller';
      });
      assert.equal(await peerSeen(api, caller), 'spiffe://prod.test/caller');
      for (const stranger of [ofThird, forged, {}]) assert.equal(await peerSeen(api, stranger), 'refused');
    });

    test('delta-sds is sent what has changed, and nothing else', async () => {
      await using example = await startExample('delta-sds', envoy);
      await example.followPage();
      const caller = await writtenSvid(join(example.folder, 'certs'));
      const api = targetOf(example, 8443, { ca: caller.ca, serverName: 'api.mesh.test' });
      const updates = async (): Promise<Updates> => ({
        svid: await statOf(example, 9901, 'sds.default.update_success'),
        bundle: await statOf(example, 9901, 'sds.ROOTCA.update_success'),
      });
      const before = await updates();
      assert.ok(before.svid > 0 && before.bundle > 0, JSON.stringify(before));
      const entries = join(example.folder, 'entries.yaml');
      const text = await readFile(entries, 'utf8');
      await writeFile(entries, text.replace('[api.mesh.test]', '[api.mesh.test, second.mesh.test]'));
      const renamed = { ...api, serverName: 'second.mesh.test' };
      await waitUntil('an SVID with the second name', 10_000, async () => {
        return (await peerSeen(renamed, caller)) === 'spiffe://mesh.test/caller';
      });
      assert.deepEqual(await updates(), { svid: before.svid + 1, bundle: before.bundle });
    });

    test('ads brings all secrets of an Envoy over one stream, whole or incremental', async () => {
      await using example = await startExample('ads', envoy);
      await example.followPage();
      const caller = await writtenSvid(join(example.folder, 'certs'));
      const web = targetOf(example, 8443, { ca: caller.ca, serverName: 'web.mesh.test' });
      const orders = targetOf(example, 8444, { ca: caller.ca, serverName: 'orders.mesh.test' });
      for (const [target, admin] of [
        [web, 9901],
        [orders, 9902],
      ] as const) {
        assert.equal(await statOf(example, admin, 'cluster.svidgate.upstream_rq_active'), 1);
        await renewSvid(example, target, caller);
        assert.equal(await peerSeen(target, caller), 'spiffe://mesh.test/caller');
        assert.equal(await peerSeen(target), 'refused');
      }
    });

    test('peer-matchers lets in those on the list, and the others fail before HTTP', async () => {
      await using example = await startExample('peer-matchers', envoy);
      await example.followPage();
      const [caller, batch, stranger] = await Promise.all(
        [0, 1, 2].map(async (index) => writtenSvid(join(example.folder, 'certs'), index)),
      );
      const orders = targetOf(example, 8443, { ca: caller?.ca ?? '', serverName: 'orders.mesh.test' });
      assert.equal(await peerSeen(orders, caller), 'spiffe://mesh.test/caller');
      assert.equal(await peerSeen(orders, batch), 'spiffe://mesh.test/batch/nightly');
      const requests = await statOf(example, 9901, 'http.orders.downstream_rq_total');
      assert.equal(await peerSeen(orders, stranger), 'refused');
      assert.equal(await statOf(example, 9901, 'http.orders.downstream_rq_total'), requests);

      await using closed = await startVariant(example, {
        file: 'orders.yaml',
        executable: 'envoy-orders',
        edit: (text) => text.replace('peers=orders-callers', 'peers=nobody-knows-it'),
      });
      assert.equal(await peerSeen({ ...orders, port: closed.port(8443) }, caller), 'refused');
    });
  });
}

interface Updates {
  readonly svid: number;
  readonly bundle: number;
}

function targetOf(example: RunningExample, port: number, server: Pick<TlsTarget, 'ca' | 'serverName'>): TlsTarget {
  return { address: example.address, port: example.port(port), ...server };
}

async function statOf(example: RunningExample, adminPort: number, name: string): Promise<number> {
  const [, value] = new RegExp(`^${name}: (\\d+)$`, 'm').exec(await example.admin(adminPort, '/stats')) ?? [];
  assert.ok(value !== undefined, `there is no ${name}`);
  return Number(value);
}

/** Revokes the SVID that an Envoy shows, and waits until it shows another. */
async function renewSvid(example: RunningExample, target: TlsTarget, caller: CallerIdentity): Promise<void> {
  const serial = async (): Promise<string> => {
    const answer = await callOnce(target, caller);
    return answer.status === 'refused' ? assert.fail(answer.reason) : answer.serial;
  };
  const old = await serial();
  await cliOf(example).text('svid', 'revoke', '--serial', old);
  await waitUntil('another SVID', 10_000, async () => (await serial()) !== old);
}

async function svidOf(domain: TestTrustDomain, id: string): Promise<CallerIdentity> {
  const svid = await domain.issueX509Svid({ spiffeId: parseSpiffeId(id), entryId: id });
  return {
    cert: svid.certificateChain.map((der) => pemEncode('CERTIFICATE', der)).join(''),
    key: pemEncode('PRIVATE KEY', svid.privateKey),
  };
}
