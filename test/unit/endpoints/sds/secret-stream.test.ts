import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { noMetrics, silentLogger, systemClock, Watchable } from '../../../../src/core/index.ts';
import { streamSecrets } from '../../../../src/endpoints/sds/secret-stream.ts';
import { StreamTable } from '../../../../src/endpoints/sds/stream-table.ts';
import type { CallerIdentity } from '../../../../src/identity/index.ts';
import {
  decodeMessage,
  DiscoveryRequest,
  DiscoveryResponse,
  encodeMessage,
  Secret,
  SECRET_TYPE_URL,
  unpackAny,
} from '../../../../src/proto/index.ts';
import { parseSpiffeId } from '../../../../src/spiffe/index.ts';
import { createTestTrustDomain } from '../../../support/test-trust-domain.ts';

const SETTINGS = {
  defaultSvidName: 'default',
  defaultBundleName: 'ROOTCA',
  defaultAllBundlesName: 'ALL',
  disableSpiffeCertValidation: false,
  unknownName: 'error',
} as const;

const namesOf = (bytes: Uint8Array | undefined): readonly string[] =>
  decodeMessage(DiscoveryResponse, bytes ?? new Uint8Array(), 2 ** 20).resources.map(
    (resource) => unpackAny(Secret, resource, 2 ** 20).name,
  );

/** Requests as they are sent, until the signal is aborted. */
async function* sent(requests: Watchable<Uint8Array | undefined>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const request of requests.watch(signal)) if (request !== undefined) yield request;
}

async function identityOf(...paths: readonly string[]): Promise<CallerIdentity> {
  const domain = await createTestTrustDomain('example.test');
  const svids = await Promise.all(
    paths.map(async (path) => {
      const spiffeId = parseSpiffeId(`spiffe://example.test${path}`);
      return { svid: await domain.issueX509Svid({ spiffeId, entryId: path }), entryId: path };
    }),
  );
  return { svids, pending: [], bundle: domain.bundle.value, foreignBundles: [] };
}

for (const next of ['a push', 'a request'] as const) {
  test(`an Envoy that was not reading is never sent what was taken away meanwhile: ${next}`, async () => {
    const [all, more, fewer] = await Promise.all([identityOf('/a'), identityOf('/a', '/b'), identityOf('/c')]);
    const stop = new AbortController();
    const identities = new Watchable(all);
    const requests = new Watchable<Uint8Array | undefined>(encodeMessage(DiscoveryRequest, {}));
    using record = new StreamTable(systemClock).open({ pid: 7, uid: 1 });
    const answers = streamSecrets(sent(requests, stop.signal), identities.watch(stop.signal), {
      settings: SETTINGS,
      logger: silentLogger,
      metrics: noMetrics,
      record,
      assertAlive: () => undefined,
    });
    try {
      const first = decodeMessage(DiscoveryResponse, (await answers.next()).value ?? new Uint8Array(), 2 ** 20);
      assert.equal(first.resources.length, 2);
      for (const identity of [more, fewer]) {
        identities.set(identity); // nobody reads
        for (let turn = 0; turn < 5; turn += 1) await nextTurn();
      }
      if (next === 'a request') {
        const resourceNames = ['spiffe://example.test/c'];
        const { nonce: responseNonce, versionInfo } = first;
        requests.set(
          encodeMessage(DiscoveryRequest, { resourceNames, responseNonce, versionInfo, typeUrl: SECRET_TYPE_URL }),
        );
      }
      const names = namesOf((await answers.next()).value ?? undefined);
      assert.ok(names.includes('spiffe://example.test/c') && !names.includes('spiffe://example.test/a'), names.join());
    } finally {
      stop.abort();
      await answers.return();
    }
  });
}
