import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  DeltaDiscoveryRequest,
  DiscoveryRequest,
  encodeMessage,
  SECRET_DISCOVERY_SERVICE,
  SECRET_TYPE_URL,
} from '../../../../src/proto/index.ts';
import { sdsStage, SETTINGS, type DrivenStream, type SdsStage } from '../../../support/sds-stage.ts';

const typeUrl = SECRET_TYPE_URL;
const { streamSecrets, deltaSecrets } = SECRET_DISCOVERY_SERVICE;
const namesOf = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `n${from + index}`);
const sotw = (resourceNames: readonly string[]) => encodeMessage(DiscoveryRequest, { typeUrl, resourceNames });
const delta = (resourceNamesSubscribe: readonly string[]) =>
  encodeMessage(DeltaDiscoveryRequest, { typeUrl, resourceNamesSubscribe });

/** A stream that has asked for this, and is not answered. */
function asking(stage: SdsStage, path: string, request: Uint8Array): { stream: DrivenStream; end: Promise<unknown> } {
  const stream = stage.stream(path);
  stream.send(request);
  const end = stream.next();
  end.catch(() => undefined);
  return { stream, end };
}

const answered = async (stage: SdsStage, names: readonly string[]): Promise<boolean> => {
  stage.stock.set(new Map(names.map((name) => [name, '1'])));
  const { stream, end } = asking(stage, streamSecrets.path, sotw(names));
  const isAnswered = await end.then(
    () => true,
    (error: { readonly code?: string }) => error.code !== 'overloaded' && Promise.reject(error as Error),
  );
  await stream.cancel();
  return isAnswered;
};

for (const [what, path, request] of [
  ['StreamSecrets', streamSecrets.path, sotw],
  ['DeltaSecrets', deltaSecrets.path, delta],
] as const) {
  test(`${what}: names are counted over all streams of a caller, also while none of them means anything`, async () => {
    const stage = sdsStage({ unknownName: 'wait', limits: { ...SETTINGS.limits, requestsPerSecond: 10_000 } });
    const open = namesOf(12).map((_, index) => asking(stage, path, request(namesOf(100, 100 * index))));
    const further = asking(stage, path, request(['x']));
    await assert.rejects(further.end, { code: 'overloaded' });
    await open.pop()?.stream.cancel();
    const next = asking(stage, path, request(namesOf(100)));
    await assert.rejects(asking(stage, path, request(['x'])).end, { code: 'overloaded' });
    for (const { stream } of [...open, next]) await stream.cancel();
    assert.deepEqual(stage.followed, []);
    assert.equal(await answered(stage, namesOf(100)), true);
  });
}

test('what an Envoy claims to hold counts, too', async () => {
  const stage = sdsStage({ unknownName: 'wait', limits: { ...SETTINGS.limits, requestsPerSecond: 10_000 } });
  stage.isRegistered.set(false);
  const initialResourceVersions = Object.fromEntries(namesOf(10_000).map((name) => [name, 'v']));
  const request = encodeMessage(DeltaDiscoveryRequest, { typeUrl, initialResourceVersions });
  const first = asking(stage, deltaSecrets.path, request);
  await assert.rejects(asking(stage, deltaSecrets.path, request).end, { code: 'overloaded' });
  await first.stream.cancel();
});

test('requests of many names take from the requests of a caller what they cost', async () => {
  const stage = sdsStage({ limits: { ...SETTINGS.limits, requestsPerSecond: 20 } });
  let count = 0;
  while (await answered(stage, namesOf(100))) count += 1;
  assert.equal(count < 6, true, `${count} were answered at once`);
  assert.equal(count > 1, true);
});
