import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { startOpaLogReceiver } from '../../../support/opa-log-receiver.ts';
import { recordLine } from '../../../support/record-line.ts';
import {
  ids,
  lines,
  LIMIT_MS,
  MIB,
  noise,
  opaOf,
  settled,
  startSinkWorld,
  untilAll,
  withFolder,
} from '../../../support/sink-world.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { createWebCa } from '../../../support/web-certificate.ts';

describe('the sink for the decision log API of OPA', () => {
  it('delivers all records once and in order, in uploads of at most the limit, and soon full ones', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      const expected = ids(0, 2000);
      world.log.append(expected.map((id) => recordLine(id, { input: { noise: noise(200) } })));
      world.log.lose({ reason: 'queue', count: 3 });
      await untilAll(receiver, expected);
      assert.deepEqual(receiver.ids, expected);
      assert.deepEqual(receiver.faultsFound, []);
      const sizes = receiver.taken.map(({ compressedBytes }) => compressedBytes);
      assert.ok(Math.max(...sizes) <= 32 * 1024, String(Math.max(...sizes)));
      const full = sizes.slice(-6, -1);
      assert.ok(Math.min(...full) > 0.6 * 32 * 1024, `they grow to the limit: ${sizes.join()}`);
      const status = await settled(world);
      assert.equal(status.delivered, 2000);
      assert.deepEqual([status.lagRecords, status.lagSeconds, status.lost], [0, 0, 0]);
      assert.ok(status.lastDeliveredAt !== undefined && status.failing === undefined);
      assert.equal(world.counted['sink_delivered_total opa'], 2000);
    }));

  it('goes on after a restart where it was', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      {
        await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
        world.log.append(lines(0, 50));
        await untilAll(receiver, ids(0, 50));
        await settled(world);
      }
      receiver.always = { kind: 'status', status: 503 };
      {
        await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
        world.log.append(lines(50, 100));
        await waitUntil('a failure', LIMIT_MS, () => world.sinks.status()[0]?.failing);
      }
      receiver.always = undefined;
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      world.log.append(lines(100, 120));
      await untilAll(receiver, ids(0, 120));
      assert.deepEqual(receiver.ids, ids(0, 120));
    }));

  it('delivers what is there when it is stopped, for as long as it may', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      await using world = await startSinkWorld(folder.path, {
        opa: opaOf(receiver, { minDelayMs: 60_000, maxDelayMs: 60_000 }),
      });
      world.log.append(lines(0, 1));
      await untilAll(receiver, ids(0, 1));
      world.log.append(lines(1, 500));
      await world.sinks.stop(LIMIT_MS);
      assert.deepEqual(receiver.ids, ids(0, 500));
    }));

  const transient = [
    { kind: 'status', status: 500 },
    { kind: 'status', status: 401 },
    { kind: 'status', status: 302, headers: { location: 'http://127.0.0.1:1/' } },
    { kind: 'status', status: 429, headers: { 'retry-after': '1' } },
    { kind: 'reset', when: 'at_once' },
    { kind: 'reset', when: 'after_body' },
  ] as const;
  for (const fault of transient) {
    it(`tries again after ${Object.values(fault).map(String).join(' ')}`, () =>
      withFolder(async (folder) => {
        await using receiver = await startOpaLogReceiver();
        await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
        receiver.next.push(fault, fault);
        const startedAt = performance.now();
        world.log.append(lines(0, 20));
        await untilAll(receiver, ids(0, 20));
        assert.deepEqual(receiver.ids, ids(0, 20));
        assert.ok((world.counted['sink_failures_total opa'] ?? 0) >= 1);
        if ('headers' in fault && 'retry-after' in fault.headers) assert.ok(performance.now() - startedAt >= 2000);
        assert.equal(world.told.filter((line) => line.startsWith('decision records cannot')).length, 1, 'told once');
        await settled(world);
      }));
  }

  it('gives up a receiver that does not answer, and ends while it waits for one', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) }, { timeoutMs: 1500 });
      receiver.next.push({ kind: 'hang' });
      world.log.append(lines(0, 20));
      await untilAll(receiver, ids(0, 20));
      assert.match(world.told[0] ?? '', /did not answer within 1500 ms/);
      await settled(world);
      receiver.always = { kind: 'hang' };
      world.log.append(lines(20, 30));
      await waitUntil('the next request', LIMIT_MS, () => receiver.requests === 3);
      const startedAt = performance.now();
      await world.sinks.stop(50);
      assert.ok(performance.now() - startedAt < 1000);
      assert.equal(world.sinks.status()[0]?.lagRecords, 10);
    }));

  it('delivers again what was taken and not answered in full', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      receiver.next.push({ kind: 'reset', when: 'in_answer' });
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      world.log.append(lines(0, 5));
      await waitUntil('the second delivery', LIMIT_MS, () => receiver.ids.length === 10);
      assert.deepEqual(receiver.ids, [...ids(0, 5), ...ids(0, 5)]);
      assert.equal((await settled(world)).delivered, 5);
    }));

  it('makes smaller uploads when the receiver takes less than the limit', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      receiver.refuse = (body) => (body.length > 6000 ? 413 : undefined);
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      const expected = ids(0, 300);
      world.log.append(expected.map((id) => recordLine(id, { input: { noise: noise(1000) } })));
      await untilAll(receiver, expected);
      assert.deepEqual(receiver.ids, expected);
      assert.equal((await settled(world)).lost, 0);
    }));

  it('sends a record that is too large without the answers of others, then without its input; beyond that it is lost', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver, { uploadBytes: 4096 }) });
      const nd = { 'http.send': { '[]': { body: noise(9000) } } };
      world.log.append([
        ...lines(0, 3),
        recordLine('nd', { nd_builtin_cache: nd, input: { big: 1 } }).replace('"big":1', '"big":12345678901234567890'),
        recordLine('input', { nd_builtin_cache: nd, input: { text: noise(9000) } }),
        recordLine('result', { result: noise(9000) }),
        ...lines(3, 6),
      ]);
      await untilAll(receiver, ['d5']);
      assert.deepEqual(receiver.ids, [...ids(0, 3), 'nd', 'input', ...ids(3, 6)]);
      const events = receiver.taken.flatMap(({ value }) => value as Record<string, Record<string, unknown>>[]);
      const [withoutNd, withoutInput] = ['nd', 'input'].map((id) =>
        events.find(({ decision_id: own }) => own === (id as unknown)),
      );
      assert.ok(withoutNd !== undefined && withoutInput !== undefined);
      assert.deepEqual(withoutNd['erased'], ['/nd_builtin_cache']);
      assert.ok(!('nd_builtin_cache' in withoutNd) && 'input' in withoutNd);
      assert.equal(withoutNd['svidgate']?.['replayable'], false);
      assert.deepEqual(withoutInput['erased'], ['/nd_builtin_cache', '/input']);
      assert.ok(!('input' in withoutInput));
      assert.equal((await settled(world)).lost, 1);
      assert.equal(world.counted['sink_lost_total opa too_large'], 1);
    }));

  it('leaves out a record that the receiver refuses, once it takes the next one', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      receiver.refuse = (_body, value) => (JSON.stringify(value).includes('"poison"') ? 400 : undefined);
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      world.log.append([recordLine('poison'), ...lines(0, 40)]);
      await untilAll(receiver, ids(0, 40));
      world.log.append([recordLine('poison')]);
      await waitUntil('the refusal', LIMIT_MS, () => world.sinks.status()[0]?.failing);
      assert.equal(world.sinks.status()[0]?.lost, 1, 'nothing follows: it may be us');
      world.log.append(lines(40, 50));
      await untilAll(receiver, ids(0, 50));
      assert.equal((await settled(world)).lost, 2);
      assert.equal(world.counted['sink_lost_total opa refused'], 2);
    }));

  it('leaves out records that are refused one after the other, and one that nothing follows', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      receiver.refuse = (_body, value) => (JSON.stringify(value).includes('"poison') ? 400 : undefined);
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      world.log.append([...['poison1', 'poison2', 'poison3'].map((id) => recordLine(id)), ...lines(0, 40)]);
      await untilAll(receiver, ids(0, 40));
      assert.equal((await settled(world)).lost, 3);
      world.log.append([recordLine('poison4')]);
      await waitUntil('it to be left out', LIMIT_MS, () => world.sinks.status()[0]?.lost === 4);
      world.log.append(lines(40, 45));
      await untilAll(receiver, ids(40, 45));
      assert.equal((await settled(world)).lost, 4);
    }));

  it('loses nothing while the receiver refuses everything', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      receiver.refuse = () => 400;
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      world.log.append(lines(0, 30));
      await waitUntil('some refusals', LIMIT_MS, () => receiver.requests > 8);
      assert.equal(world.sinks.status()[0]?.lost, 0);
      receiver.refuse = undefined;
      await untilAll(receiver, ids(0, 30));
      assert.equal((await settled(world)).lost, 0);
    }));

  it('counts what is removed from the disk while nobody takes it', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      receiver.always = { kind: 'status', status: 503 };
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) }, { maxBytes: MIB });
      for (let number = 0; number < 400; number += 1) world.log.append(lines(number, number + 1, { padding: 10_000 }));
      receiver.always = undefined;
      await untilAll(receiver, ['d399']);
      const there = new Set(receiver.ids);
      const status = await settled(world);
      assert.ok(there.size < 200);
      // What was in memory at the time was delivered although it was removed.
      assert.equal(there.size + status.lost, 400);
      assert.equal(world.counted['sink_lost_total opa overrun'], status.lost);
    }));

  it('sends no more in a second than it may', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver, { maxPerSecond: 50 }) });
      const startedAt = performance.now();
      world.log.append(lines(0, 120));
      await untilAll(receiver, ids(0, 120));
      assert.ok(performance.now() - startedAt >= 1900, '50 at once, 50 after a second, 20 after another');
    }));

  it('shows its token, read for each upload, over TLS to a server that its CA has signed', () =>
    withFolder(async (folder) => {
      const ca = await createWebCa();
      await using receiver = await startOpaLogReceiver({ tls: await ca.issue([{ type: 'ip', value: '127.0.0.1' }]) });
      const [tokenFile, caFile] = [join(folder.path, 'token'), join(folder.path, 'ca.pem')];
      await writeFile(caFile, (await createWebCa()).ca);
      const log = join(folder.path, 'log');
      await using world = await startSinkWorld(log, { opa: opaOf(receiver, { tokenFile, caFile }) });
      world.log.append(lines(0, 3));
      await waitUntil('the missing token', LIMIT_MS, () =>
        /token/.test(world.sinks.status()[0]?.failing?.reason ?? ''),
      );
      await writeFile(tokenFile, 'first-token\n');
      await waitUntil('the wrong CA', LIMIT_MS, () => /certif/i.test(world.sinks.status()[0]?.failing?.reason ?? ''));
      assert.equal(receiver.requests, 0);
      await writeFile(caFile, ca.ca);
      await untilAll(receiver, ids(0, 3));
      await writeFile(tokenFile, 'second-token');
      world.log.append(lines(3, 4));
      await untilAll(receiver, ids(0, 4));
      assert.deepEqual(
        receiver.taken.map(({ authorization }) => authorization),
        ['Bearer first-token', 'Bearer second-token'],
      );
      assert.ok(
        !JSON.stringify([world.told, world.sinks.status()]).includes('-token'),
        'nobody else is told the token',
      );
    }));

  it('passes over what is damaged on disk', () =>
    withFolder(async (folder) => {
      await using receiver = await startOpaLogReceiver();
      await using world = await startSinkWorld(folder.path, { opa: opaOf(receiver) });
      world.log.append([...lines(0, 2), '\0\0\0', '[1]', ...lines(2, 4)]);
      await untilAll(receiver, ids(0, 4));
      assert.deepEqual(receiver.ids, ids(0, 4));
      await settled(world);
      assert.equal(world.counted['sink_lost_total opa damaged'], 2);
    }));
});
