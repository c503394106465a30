/** What was in force last is kept on disk, and read and verified anew at the start. */
import assert from 'node:assert/strict';
import { readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import type { KeptBundles } from '../../../../src/policy/download/kept-bundle.ts';
import { createTestClock } from '../../../support/test-clock.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { after, POLL_MS, readerOf, settled, stages, type StageOptions, type Step } from './follow-stage.ts';

const { follow, store, keptFile } = stages();

describe('over a restart', () => {
  async function oneLife(stageOptions: StageOptions): Promise<void> {
    const stage = follow(stageOptions);
    await settled(stage, 1);
    await stage[Symbol.asyncDispose]();
  }
  const FIRST = { text: 'one', etag: '1' } as const;

  test('what was in force is there while the source is away, and its age is known', async () => {
    await oneLife({ first: FIRST });
    const { mode } = await stat(keptFile());
    assert.equal(mode & 0o777, 0o600);
    const contactAt = new Date(Date.UTC(2026, 2, 1));
    await utimes(keptFile(), contactAt, contactAt);
    const stage = follow({ first: 'away', clock: createTestClock(Date.UTC(2026, 2, 2)) });
    await settled(stage, 1);
    assert.equal(stage.seen[0], 'one');
    assert.deepEqual(stage.source.status.value, {
      kind: 'http',
      description: 'https://bundles.test/b',
      lastContactAt: contactAt.getTime(),
      lastChangeAt: Date.UTC(2026, 0, 1),
      fromDisk: true,
      lastError: 'it is away',
    });
    assert.equal(stage.metrics.get('svidgate_policy_source_from_disk'), 1);
    assert.equal(stage.metrics.get('svidgate_policy_source_contact_seconds'), contactAt.getTime() / 1000);
    assert.ok(stage.lines.some(({ message }) => message.endsWith('its last good bundle is taken')));
    stage.place.next = { text: 'two', etag: '2' };
    await after(stage, 1000, 2);
    assert.equal(stage.place.asked[1]?.etag, '1');
    assert.equal(stage.seen.at(-1), 'two');
    assert.equal(stage.source.status.value.fromDisk, false);
    assert.equal(stage.metrics.get('svidgate_policy_source_from_disk'), 0);
  });

  test('a source that is there and has the same costs no download, and is told to be reached', async () => {
    await oneLife({ first: FIRST });
    const old = new Date(Date.UTC(2026, 0, 1));
    await utimes(keptFile(), old, old);
    const stage = follow({ first: 'unchanged' });
    await settled(stage, 1);
    assert.deepEqual([...new Set(stage.seen)], ['one']);
    assert.equal(stage.source.status.value.fromDisk, false);
    await stage[Symbol.asyncDispose]();
    assert.ok((await stat(keptFile())).mtimeMs > old.getTime());
  });

  test('a source that does not answer holds up the start for five seconds', async () => {
    await oneLife({ first: FIRST });
    const late = Promise.withResolvers<Step>();
    const stage = follow({ first: late.promise });
    await waitUntil('the question', 5000, () => stage.place.asked.length === 1);
    await stage.clock.advance(4999);
    assert.deepEqual(stage.seen, []);
    await stage.clock.advance(1);
    await waitUntil('what was kept', 5000, () => stage.seen[0] === 'one');
    late.resolve({ text: 'two', etag: '2' });
    await waitUntil('what came late', 5000, () => stage.seen.at(-1) === 'two');
    assert.equal(stage.place.asked.length, 1);
  });

  test('a source that gives something bad at the start does not take away what was kept', async () => {
    await oneLife({ first: FIRST });
    const stage = follow({ first: { text: 'bad two', etag: '2' } });
    await settled(stage, 2);
    assert.deepEqual([stage.seen[0], stage.seen.at(-1)], ['one', '! bad two is no bundle']);
  });

  test('what is not in force any more is not kept', async () => {
    await oneLife({ first: FIRST });
    await oneLife({ first: { text: 'does not compile', etag: '2' }, activates: false });
    const stage = follow({ first: 'away' });
    await settled(stage, 1);
    assert.equal(stage.seen[0], 'one');
  });

  test('what is not trusted any more does not count', async () => {
    await oneLife({ first: FIRST });
    const stage = follow({ first: 'away', reader: readerOf({ isTrusted: () => false }) });
    await settled(stage, 1);
    assert.deepEqual([...new Set(stage.seen)], ['! it is away']);
    assert.ok(
      stage.lines.some(({ message, reason }) => message === 'kept bundle not used' && reason === 'nobody signed it'),
    );
    assert.equal(stage.place.asked[0]?.etag, undefined);
  });

  const damages: readonly (readonly [name: string, damage: (bytes: Buffer) => Uint8Array])[] = [
    ['cut off', (bytes) => bytes.subarray(0, -1)],
    ['cut in its first line', (bytes) => bytes.subarray(0, 20)],
    ['longer than it was', (bytes) => Buffer.concat([bytes, Buffer.from('x')])],
    ['empty', () => new Uint8Array()],
    ['another tag', (bytes) => Buffer.from(bytes.toString('latin1').replace('"etag":"1"', '"etag":"2"'), 'latin1')],
    ['another last byte', (bytes) => bytes.fill('X', bytes.length - 1)],
  ];
  for (const [name, damage] of damages) {
    test(`a kept bundle that is damaged (${name}) does not count`, async () => {
      await oneLife({ first: FIRST });
      await writeFile(keptFile(), damage(await readFile(keptFile())));
      const stage = follow({ first: 'away' });
      await settled(stage, 1);
      assert.equal(stage.seen[0], '! it is away');
      assert.ok(stage.lines.some(({ message }) => message === 'kept bundle not used'));
    });
  }

  test('a disk that takes nothing is told once, tried again, and costs no decision', async () => {
    let isFull = true;
    const disk = store();
    const kept: KeptBundles = {
      ...disk,
      save: (policy, bytes) => (isFull ? Promise.reject(new Error('no space left')) : disk.save(policy, bytes)),
    };
    const stage = follow({ first: FIRST, kept });
    await settled(stage, 1);
    stage.place.next = 'unchanged';
    await after(stage, POLL_MS, 2);
    assert.equal(stage.seen.at(-1), 'one');
    assert.equal(stage.lines.filter(({ message }) => message === 'bundle not kept on disk').length, 1);
    assert.ok((stage.metrics.get('svidgate_policy_keep_failures_total default') ?? 0) >= 2);
    isFull = false;
    await after(stage, POLL_MS, 3);
    await waitUntil('the file', 5000, async () => (await stat(keptFile())).size > 0);
  });
});
