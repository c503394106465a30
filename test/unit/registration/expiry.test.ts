import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseSelector, parseSpiffeId } from '../../../src/spiffe/index.ts';
import { createScene, namesOf, type Scene } from './scene.ts';

const by = { uid: 0 };
const DAY_MS = 86_400_000;
const caller = new Set([parseSelector('unix:uid:1')]);

async function create({ registry, clock }: Scene, name: string, afterMs: number): Promise<void> {
  const expires_at = (clock.now() + afterMs) / 1000;
  await registry.create({ spiffe_id: `spiffe://td.test/${name}`, selectors: ['unix:uid:1'], expires_at }, by);
}

/** Runs the registry meanwhile. */
async function running(scene: Scene, during: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const run = scene.registry.run(stop.signal);
  try {
    await during();
  } finally {
    stop.abort();
    await run;
  }
}

describe('entries that expire', () => {
  test('an expired entry loads, matches nobody and registers nothing', async () => {
    const scene = createScene();
    await create(scene, 'past', -1000);
    await create(scene, 'now', 0);
    await create(scene, 'soon', 1000);
    const { registry } = scene;
    assert.equal(registry.list().length, 3);
    assert.deepEqual(namesOf(registry, 'unix:uid:1'), ['soon']);
    const isRegistered = (name: string): boolean =>
      registry.snapshot.value.hasSpiffeId(parseSpiffeId(`spiffe://td.test/${name}`));
    assert.deepEqual(['past', 'now', 'soon'].map(isRegistered), [false, false, true]);
    await assert.rejects(create(scene, 'past', 5000), { code: 'already_exists' });
  });

  test('matching ends to the millisecond, and those who wait hear of it', async () => {
    const scene = createScene();
    const { registry, clock, lines } = scene;
    await running(scene, async () => {
      await create(scene, 'b', 60_000);
      await create(scene, 'a', 30_000);
      await create(scene, 'never', 100 * 365 * DAY_MS);
      const heard: string[][] = [];
      const stop = registry.snapshot.subscribe((snapshot) => {
        assert.equal(snapshot.concerns(caller), true);
        assert.equal(snapshot.concerns(new Set()), false);
        heard.push(snapshot.match(caller).map(({ spiffeId }) => spiffeId.slice('spiffe://td.test/'.length)));
      });
      await clock.advance(29_999);
      assert.deepEqual([heard, namesOf(registry, 'unix:uid:1')], [[], ['a', 'b', 'never']]);
      await clock.advance(1);
      assert.deepEqual(
        heard.map((names) => names.sort()),
        [['b', 'never']],
      );
      await clock.advance(DAY_MS);
      assert.deepEqual(heard.at(-1), ['never']);
      stop();
    });
    assert.deepEqual(
      lines.filter(({ message }) => message === 'entry expired').map(({ fields }) => fields.spiffe_id),
      ['spiffe://td.test/a', 'spiffe://td.test/b'],
    );
  });

  test('an entry that is changed to end sooner ends then', async () => {
    const scene = createScene();
    const { registry, clock } = scene;
    await running(scene, async () => {
      await create(scene, 'a', DAY_MS);
      const [entry] = registry.list();
      const id = entry?.entry.entryId ?? '';
      await registry.update(id, { set: { expires_at: clock.now() / 1000 + 5 } }, by);
      let told = 0;
      registry.snapshot.subscribe(() => (told += 1));
      await clock.advance(5000);
      assert.deepEqual([told, namesOf(registry, 'unix:uid:1')], [1, []]);
      await registry.update(id, { set: { expires_at: 0 } }, by);
      assert.deepEqual(namesOf(registry, 'unix:uid:1'), ['a']);
    });
  });

  test('a clock that is set is followed within a minute, forth and back', async () => {
    const scene = createScene();
    const { registry, clock } = scene;
    await running(scene, async () => {
      await create(scene, 'a', DAY_MS / 2);
      const heard: number[] = [];
      registry.snapshot.subscribe((snapshot) => {
        if (snapshot.concerns(caller)) heard.push(snapshot.match(caller).length);
      });
      await clock.advance(0);
      clock.set(clock.now() + DAY_MS);
      assert.deepEqual(namesOf(registry, 'unix:uid:1'), []);
      await clock.advance(60_000);
      clock.set(clock.now() - DAY_MS);
      await clock.advance(60_000);
      assert.deepEqual(heard, [0, 1]);
    });
  });
});
