/** The machine's clock is set a day ahead or back under a whole server: within a minute and a half all that is served is valid again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCertificate, splitDer } from '../../src/pki/index.ts';
import type { X509SvidResponse } from '../../src/proto/index.ts';
import { restartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, OWN_SELECTOR } from '../support/server.ts';
import { createTestClock, type TestClock } from '../support/test-clock.ts';
import { waitUntil } from '../support/wait-until.ts';
import { connectWorkload, type AnswerStream } from '../support/workload-client.ts';

const DAY = 24 * 3600_000;
const IDS = ['spiffe://example.test/of-api', 'spiffe://example.test/of-file'];

/** Why a verifier with the same clock would refuse what is in the answer; undefined when it would not. */
function refusalOf({ svids }: X509SvidResponse, now: number): string | undefined {
  if (svids.length !== IDS.length) return `${svids.length} SVIDs`;
  for (const { spiffeId, x509Svid, bundle } of svids) {
    const [leaf] = splitDer(x509Svid).map(parseCertificate);
    if (leaf === undefined || leaf.uris.join() !== spiffeId || !IDS.includes(spiffeId)) return `wrong: ${spiffeId}`;
    if (now < leaf.notBefore || now >= leaf.notAfter) return `the SVID of ${spiffeId} is not valid at this time`;
    const root = splitDer(bundle)
      .map(parseCertificate)
      .find((one) => leaf.isSignedBy(one));
    if (root === undefined) return 'no root of its bundle has signed it';
    if (now < root.notBefore || now >= root.notAfter) return 'its root is not valid at this time';
  }
  return undefined;
}

/** Moves the clock on until an answer has come that holds. */
async function untilSound(clock: TestClock, answers: AnswerStream<X509SvidResponse>): Promise<void> {
  let last = 'no answer';
  let isSound = false;
  const setAt = clock.now();
  await waitUntil('an answer that holds', 30_000, async () => {
    while (answers.waiting > 0) {
      const refusal = refusalOf(await answers.next(), clock.now());
      isSound = refusal === undefined;
      last = refusal ?? 'sound';
    }
    if (isSound) return true;
    if (clock.now() < setAt + 90_000) await clock.advance(5000);
    return false;
  }).catch((error: unknown) => {
    throw new Error(`within a minute and a half: ${last}`, { cause: error });
  });
}

for (const { name, jumps } of [
  { name: 'ahead', jumps: [DAY] },
  { name: 'back', jumps: [-DAY] },
  { name: 'ahead and back again', jumps: [DAY, -DAY] },
  { name: 'back and ahead again', jumps: [-DAY, DAY] },
]) {
  test(`a day ${name}: what is served holds within a minute and a half, and no entry is lost, also after a restart`, async () => {
    const clock = createTestClock(Date.now());
    await using server = await restartableServer({
      clock,
      config: 'entries: ./entries.yaml\nauthority: { ack_timeout: 0s }\n',
      files: { 'entries.yaml': entriesFor('/of-file') },
    });
    await server.start();
    const run = cliOf(server);
    await run.text('entry', 'create', '--spiffe-id', IDS[0] ?? '', '--selector', OWN_SELECTOR);
    using client = connectWorkload(server.socket);
    const answers = client.x509Svids();
    assert.equal(refusalOf(await answers.next(), clock.now()), undefined);
    for (const jump of jumps) {
      clock.set(clock.now() + jump);
      await untilSound(clock, answers);
    }
    answers.cancel();
    await answers.ended;
    await server.stop();
    await server.start();
    using after = connectWorkload(server.socket);
    const again = after.x509Svids();
    assert.equal(refusalOf(await again.next(), clock.now()), undefined, 'after a restart');
    again.cancel();
    await again.ended;
    const { entries } = (await run.json('entry', 'list')) as { readonly entries: readonly object[] };
    assert.equal(entries.length, IDS.length);
  });
}
