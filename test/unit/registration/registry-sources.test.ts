import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { systemClock } from '../../../src/core/index.ts';
import { contentKey } from '../../../src/registration/entry-draft.ts';
import { EntryTable } from '../../../src/registration/entry-table.ts';
import { stageFile } from '../../../src/registration/file-merge.ts';
import {
  parseSelector,
  parseSpiffeId,
  type RegisteredEntry,
  type RegistrationEntry,
} from '../../../src/spiffe/index.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { createScene, namesOf, type Scene } from './scene.ts';

const WAIT_MS = 10_000;
const by = { uid: 0 };

function line(id: string, name: string, more = ''): string {
  return `  - { entry_id: ${id}, spiffe_id: spiffe://td.test/${name}, selectors: ["unix:uid:1"]${more} }\n`;
}

interface FileScene extends Scene, AsyncDisposable {
  /** Renames a file with these lines over the entries file. */
  readonly write: (...lines: readonly string[]) => Promise<void>;
  /** Waits until these names are what a caller gets. */
  readonly until: (...names: readonly string[]) => Promise<void>;
}

async function fileScene(...lines: readonly string[]): Promise<FileScene> {
  const folder: TempFolder = await tempFolder();
  const file = join(folder.path, 'entries.yaml');
  await writeFile(file, `entries:\n${lines.join('')}`);
  const scene = createScene({ file, clock: systemClock });
  await scene.registry.load();
  const stop = new AbortController();
  const run = scene.registry.run(stop.signal);
  return {
    ...scene,
    async write(...next) {
      await writeFile(`${file}.new`, next.length === 0 ? 'entries: []\n' : `entries:\n${next.join('')}`);
      await rename(`${file}.new`, file);
    },
    async until(...names) {
      const wanted = names.toSorted().join(' ');
      await waitUntil(wanted, WAIT_MS, () => namesOf(scene.registry, 'unix:uid:1').join(' ') === wanted);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await run;
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('a file and the API side by side', { timeout: 60_000 }, () => {
  test('a file that empties takes its own entries only', async () => {
    await using scene = await fileScene(line('f', 'filed'));
    await scene.registry.create({ spiffe_id: 'spiffe://td.test/made', selectors: ['unix:uid:1'] }, by);
    await scene.write();
    await scene.until('made');
    assert.deepEqual(
      scene.registry.list().map(({ source }) => source),
      ['api'],
    );
  });

  test('each change of the file is audited, and the start is none', async () => {
    await using scene = await fileScene(line('a', 'a'), line('b', 'b'));
    assert.equal(scene.events.length, 0);
    await scene.write(line('a', 'a', ', hint: x'), line('c', 'c'));
    await scene.until('a', 'c');
    assert.deepEqual(
      scene.events
        .map((event) => ('change' in event ? `${event.change} ${event.entry_id} by ${event.method}` : ''))
        .toSorted(),
      ['created c by entries file', 'deleted b by entries file', 'updated a by entries file'],
    );
    assert.equal(scene.registry.find('a')?.revision, 1);
  });

  test('an entry of the file that stands in the way of one of the API is refused, until that one is gone', async () => {
    await using scene = await fileScene(line('f', 'filed'));
    const { registry, lines } = scene;
    await registry.create({ entry_id: 'x', spiffe_id: 'spiffe://td.test/x', selectors: ['unix:uid:1'] }, by);
    await registry.create({ entry_id: 'y', spiffe_id: 'spiffe://td.test/y', selectors: ['unix:uid:1'] }, by);
    await scene.write(line('f', 'filed'), line('x', 'z'), line('mine', 'y'), line('new', 'new'));
    await scene.until('filed', 'new', 'x', 'y');
    assert.deepEqual(
      lines
        .filter(({ message }) => message === 'entry of the file refused, it stands in the way of another one')
        .map(({ fields }) => `${fields.entry_id}: ${fields.reason}`)
        .toSorted(),
      [
        'mine: entry y of the API has the same SPIFFE ID, parent and selectors',
        'x: entry x of the API has the same id',
      ],
    );
    assert.equal(registry.status.value.refusedCount, 2);
    assert.equal(registry.status.value.state, 'current');
    await registry.update('y', { set: { selectors: ['unix:uid:2'] } }, by);
    assert.deepEqual(namesOf(registry, 'unix:uid:1'), ['filed', 'new', 'x', 'y']);
    assert.equal(registry.find('mine')?.source, 'file');
    await registry.delete('x', by);
    assert.deepEqual(namesOf(registry, 'unix:uid:1'), ['filed', 'new', 'y', 'z']);
    assert.equal(registry.status.value.refusedCount, 0);
  });

  test('parents that form a circle between file and API are refused on the side that comes later', async () => {
    await using scene = await fileScene(line('a', 'a', ', parent_id: spiffe://td.test/b'));
    const { registry } = scene;
    const b = { entry_id: 'b', spiffe_id: 'spiffe://td.test/b', selectors: ['unix:uid:1'] };
    const circle = { ...b, parent_id: 'spiffe://td.test/a' };
    await assert.rejects(registry.create(circle, by), { code: 'invalid_request' });
    await scene.write(line('c', 'c'));
    await scene.until('c');
    await registry.create(circle, by);
    await scene.write(line('a', 'a', ', parent_id: spiffe://td.test/b'), line('c', 'c'), line('d', 'd'));
    await scene.until('b', 'c', 'd');
    assert.equal(registry.status.value.refusedCount, 1);
    await registry.delete('b', by);
    await scene.until('a', 'c', 'd');
  });

  test('a file whose changes cannot be audited is not in force, and is tried again', async () => {
    await using scene = await fileScene(line('a', 'a'));
    scene.audit.failing = true;
    await scene.write(line('b', 'b'));
    await waitUntil('the refusal', WAIT_MS, () => scene.registry.status.value.state === 'stale');
    assert.deepEqual(namesOf(scene.registry, 'unix:uid:1'), ['a']);
    assert.deepEqual(
      scene.registry.status.value.mistakes.map(({ message }) => message),
      ['the changes of the file cannot be made: the audit log cannot be written'],
    );
    scene.audit.failing = false;
    await scene.until('b');
    assert.equal(scene.registry.status.value.state, 'current');
  });

  test('an entry of the file that federates with a domain without bundle draws a warning', async () => {
    await using scene = await fileScene(line('a', 'a', ', federates_with: [partner.test, other.test]'));
    assert.deepEqual(scene.lines.at(-1), {
      level: 'warn',
      message: 'entry federates with a trust domain that has no bundle yet',
      fields: { entry_id: 'a', spiffe_id: 'spiffe://td.test/a', trust_domain: 'other.test' },
    });
  });
});

const idArbitrary = fc.constantFrom('a', 'b', 'c', 'd');
const entryArbitrary: fc.Arbitrary<RegistrationEntry> = fc
  .record({ entryId: idArbitrary, name: idArbitrary, uid: fc.constantFrom('1', '2') })
  .map(({ entryId, name, uid }) => ({
    entryId,
    spiffeId: parseSpiffeId(`spiffe://td.test/${name}`),
    selectors: [parseSelector(`unix:uid:${uid}`)],
  }));
const fileArbitrary = fc
  .array(entryArbitrary, { maxLength: 5 })
  .map((entries) => [
    ...new Map(
      [...new Map(entries.map((entry) => [contentKey(entry), entry])).values()].map((entry) => [entry.entryId, entry]),
    ).values(),
  ]);
const stepArbitrary = fc.oneof(
  fc.record({ kind: fc.constant('file' as const), entries: fileArbitrary }),
  fc.record({ kind: fc.constant('put' as const), entry: entryArbitrary }),
  fc.record({ kind: fc.constant('delete' as const), entryId: idArbitrary }),
);

test('whatever both sources do, the API keeps all of its own and the file gets all that fits', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(stepArbitrary, { maxLength: 20 }), async (steps) => {
      const table = new EntryTable(() => 0);
      const api = new Map<string, RegistrationEntry>();
      let file: readonly RegistrationEntry[] = [];
      for (const step of steps) {
        const stage = table.stage();
        if (step.kind === 'file') file = step.entries;
        else if (step.kind === 'delete') {
          if (api.delete(step.entryId)) stage.remove(step.entryId);
        } else if (stage.find(step.entry.entryId)?.source !== 'file') {
          stage.remove(step.entry.entryId);
          if (stage.collisionOf(step.entry) !== undefined) continue;
          api.set(step.entry.entryId, step.entry);
          stage.add({ entry: step.entry, source: 'api', revision: 0, createdAt: 0 });
        }
        await table.commit(stage);
        const merge = table.stage();
        const refused = await stageFile(merge, file, { snapshot: table.snapshot, now: 0 });
        await table.commit(merge);
        assertModel(table.snapshot.registered, { api, file });
        assert.equal(table.snapshot.registered.length + refused.length, api.size + file.length);
      }
    }),
    { numRuns: 300 },
  );
});

/** All of the API's, and those of the file that share neither id nor content with one of them. */
function assertModel(
  registered: readonly RegisteredEntry[],
  { api, file }: { readonly api: ReadonlyMap<string, RegistrationEntry>; readonly file: readonly RegistrationEntry[] },
): void {
  const contents = new Set([...api.values()].map(contentKey));
  const fits = file.filter((entry) => !api.has(entry.entryId) && !contents.has(contentKey(entry)));
  const expected = [
    ...[...api.values()].map((entry) => ({ entry, source: 'api' })),
    ...fits.map((entry) => ({ entry, source: 'file' })),
  ].sort((a, b) => (a.entry.entryId < b.entry.entryId ? -1 : 1));
  assert.deepEqual(
    registered.map(({ entry, source }) => ({ entry, source })),
    expected,
  );
}
