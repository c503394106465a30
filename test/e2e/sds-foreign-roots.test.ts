/** A foreign root that Envoy refuses would keep all other changes of `ALL` from it: none is taken into a bundle. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseCertificate, pemEncode } from '../../src/pki/index.ts';
import { restartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { startSdsEnvoy } from '../support/sds-envoy.ts';
import { OWN_SELECTOR } from '../support/server.ts';
import { createTestTrustDomain } from '../support/test-trust-domain.ts';
import { waitUntil } from '../support/wait-until.ts';

const ORDERS = 'spiffe://example.test/orders';
const DOMAINS = 300;
const LIMIT_MS = 20_000;

/** Roots with one byte changed that svidgate takes all the same; others each time. */
async function changedRoots(): Promise<readonly Uint8Array[]> {
  const { bundle } = await createTestTrustDomain('changed.test');
  const root = bundle.value.x509Authorities[0] ?? assert.fail('no root');
  const taken: { readonly order: number; readonly der: Uint8Array }[] = [];
  for (const place of root.keys()) {
    for (const change of [0x01, 0x10, 0x80]) {
      const der = Uint8Array.from(root);
      der[place] = (der[place] ?? 0) ^ change;
      if (isTaken(der)) taken.push({ order: Math.random(), der });
    }
  }
  return taken
    .sort((a, b) => a.order - b.order)
    .slice(0, DOMAINS)
    .map(({ der }) => der);
}

function isTaken(der: Uint8Array): boolean {
  try {
    return parseCertificate(der).isCa;
  } catch {
    return false;
  }
}

test(`of ${DOMAINS} damaged roots that are taken none makes Envoy refuse the bundles that it is in`, async () => {
  const roots = await changedRoots();
  assert.equal(roots.length, DOMAINS);
  const names = roots.map((_, index) => `changed-${index}.test`);
  const entries = [{ spiffe_id: ORDERS, selectors: [OWN_SELECTOR], federates_with: names }];
  await using server = await restartableServer({
    config: 'entries: ./entries.yaml\nfederation: { bundles: ./bundles }\n',
    files: { 'entries.yaml': JSON.stringify({ entries }) },
  });
  await mkdir(join(server.folder, 'bundles'));
  for (const [index, root] of roots.entries()) {
    await server.write(`bundles/${names[index] ?? ''}.pem`, pemEncode('CERTIFICATE', root));
  }
  await server.start();
  const inward = [{ name: 'in', svid: ORDERS, context: 'ALL' }];
  await using envoy = await startSdsEnvoy({ name: 'orders', server, inward });
  const { resources } = await waitUntil('the bundles to be answered', LIMIT_MS, async () => {
    const { envoys } = (await cliOf(server).json('status')) as { readonly envoys: readonly Envoy[] };
    return envoys.find((one) => one.resources.some(({ name, ...held }) => name === 'ALL' && isSettled(held)));
  });
  assert.deepEqual(
    resources.map(({ last_nack: refusal }) => refusal),
    [undefined],
  );
  assert.equal(await envoy.sdsStat('ALL', 'update_rejected'), 0);
  const { bundles } = (await cliOf(server).json('bundle', 'list')) as { readonly bundles: readonly object[] };
  assert.equal(bundles.length, 1 + DOMAINS);
});

interface Envoy {
  readonly resources: readonly { readonly name: string; readonly acknowledged: boolean; readonly last_nack?: string }[];
}

function isSettled(held: { readonly acknowledged: boolean; readonly last_nack?: string }): boolean {
  return held.acknowledged || held.last_nack !== undefined;
}
