import assert from 'node:assert/strict';
import { chmod, copyFile, mkdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { FolderWatches } from '../../../src/secrets/folder-watches.ts';
import { NamedFiles } from '../../../src/secrets/named-files.ts';
import { parseSpiffeId, parseSpiffeIdPattern } from '../../../src/spiffe/index.ts';
import { systemClock } from '../../../src/core/index.ts';
import { makeOutsideCa } from '../../support/outside-ca.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';
import { createTestClock } from '../../support/test-clock.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { ALLOW, Follower, GATEWAY, LIMIT_MS, listen, makeCertificate, openStore, STRANGER } from './support.ts';

const REFUSED = 'svidgate_secret_reload_failures_total';

let root: TempFolder;
let folder: string;
let dataDir: string;

beforeEach(async () => {
  root = await tempFolder();
  folder = join(root.path, 'certs');
  dataDir = join(root.path, 'data');
  await mkdir(folder);
  await mkdir(dataDir);
});
afterEach(() => root[Symbol.asyncDispose]());

/** As an editor or an agent replaces a file. */
async function replace(path: string, text: string, mode = 0o600): Promise<void> {
  await writeFile(`${path}.new`, text, { mode });
  await rename(`${path}.new`, path);
}

function warnings(lines: readonly { readonly level: string; readonly message: string }[]): readonly string[] {
  return lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
}

describe('a secret of the configuration', () => {
  test('is there from the start and follows its file, for those who may have it', async () => {
    const file = join(folder, 'token');
    await replace(file, 'one\n');
    await using open = await openStore({ secrets: { token: { kind: 'generic', file, allow: ALLOW } }, dataDir });
    using follower = new Follower(open.store, 'token');
    const first = follower.content;
    assert.deepEqual(first, { kind: 'generic', bytes: new Uint8Array(Buffer.from('one')) });
    assert.equal(follower.followed.allows([STRANGER]), false);
    assert.equal(follower.followed.allows([]), false);
    assert.equal(follower.followed.allows([STRANGER, GATEWAY]), true);
    await replace(file, 'two\n');
    await follower.until((content) => content !== first);
    assert.equal(follower.changes, 1);
    const second = follower.content;
    await replace(file, 'two\n');
    await replace(join(folder, 'other'), 'x');
    await replace(file, 'three');
    await follower.until((content) => content !== second);
    assert.equal(follower.changes, 2, 'what did not change was told');
    assert.deepEqual(warnings(open.lines), []);
    assert.equal(
      open.store.follow('none', () => undefined),
      undefined,
    );
    assert.equal(
      open.store.follow('constructor', () => undefined),
      undefined,
    );
  });

  test('is taken when its file comes, and kept when it goes', async () => {
    const file = join(folder, 'later/token');
    await using open = await openStore({ secrets: { token: { kind: 'generic', file, allow: ALLOW } }, dataDir });
    using follower = new Follower(open.store, 'token');
    assert.equal(follower.content, undefined);
    assert.deepEqual(warnings(open.lines), ['secret cannot be taken from its files, there is none yet']);
    await mkdir(join(folder, 'later'));
    await replace(file, 'here');
    const content = await follower.until(() => true);
    await unlink(file);
    await waitUntil('a warning', LIMIT_MS, () => open.counts.length === 2);
    assert.equal(follower.content, content);
    assert.match(open.lines.at(-1)?.message ?? '', /the last good one stays/);
    assert.equal(open.lines.at(-1)?.reason, `${file} cannot be read: ENOENT`);
    assert.deepEqual(open.counts, [REFUSED, REFUSED]);
  });

  test('that others may read draws one warning, which its certificate does not', async () => {
    await makeCertificate(folder, { name: 'host' });
    await chmod(join(folder, 'host.key'), 0o644);
    await chmod(join(folder, 'host.pem'), 0o644);
    const [certificateFile, privateKeyFile] = [join(folder, 'host.pem'), join(folder, 'host.key')];
    const host = { kind: 'tls_certificate', certificateFile, privateKeyFile, allow: ALLOW } as const;
    await using open = await openStore({ secrets: { host }, dataDir });
    const before = open.lines.length;
    assert.deepEqual(warnings(open.lines), ['others may read or change a secret file']);
    assert.equal(open.lines[0]?.file, privateKeyFile);
    using follower = new Follower(open.store, 'host');
    assert.equal(follower.content?.kind, 'tls_certificate');
    await makeCertificate(folder, { name: 'host' });
    await follower.until((content) => content !== follower.content || follower.changes > 0);
    assert.deepEqual(warnings(open.lines.slice(before)), []);
  });

  test('is told once when its certificate has ended, and served on', async () => {
    await makeCertificate(folder, { name: 'host', days: 1 });
    const [certificateFile, privateKeyFile] = [join(folder, 'host.pem'), join(folder, 'host.key')];
    const host = { kind: 'tls_certificate', certificateFile, privateKeyFile, allow: ALLOW } as const;
    const clock = createTestClock(Date.now());
    await using open = await openStore({ secrets: { host }, dataDir, clock });
    using follower = new Follower(open.store, 'host');
    const { content } = follower;
    assert.deepEqual(warnings(open.lines), []);
    clock.set(Date.now() + 25 * 3600_000);
    await waitUntil('two more looks', LIMIT_MS, async () => {
      await clock.advance(2000);
      return warnings(open.lines).length > 0;
    });
    for (let looks = 0; looks < 5; looks += 1) await clock.advance(2000);
    assert.deepEqual(warnings(open.lines), ['certificate has ended and is still served']);
    assert.equal(follower.content, content);
    assert.ok(content?.kind === 'tls_certificate');
    assert.equal(open.lines[0]?.expires_at, new Date(content.notAfter).toISOString());
  });
});

describe('a certificate and its key', () => {
  test('that are replaced one after the other change as a whole, without a warning', async () => {
    await makeCertificate(folder, { name: 'host' });
    await makeCertificate(root.path, { name: 'next' });
    const name = `file-cert:${folder}/host.pem~${folder}/host.key`;
    const marker = join(folder, 'marker');
    await replace(marker, 'a');
    const secrets = { marker: { kind: 'generic', file: marker, allow: ALLOW } } as const;
    await using open = await openStore({ secrets, folders: [{ folder, allow: ALLOW }], dataDir });
    using follower = new Follower(open.store, name);
    using looks = new Follower(open.store, 'marker');
    const first = await follower.until(() => true);
    await copyFile(join(root.path, 'next.pem'), join(folder, 'host.pem'));
    // Files of one folder are looked at in turn: after two looks at this one, the two that do not fit have been seen.
    for (const text of ['b', 'c']) {
      const before = looks.content;
      await replace(marker, text);
      await looks.until((content) => content !== before);
    }
    assert.equal(follower.content, first);
    await copyFile(join(root.path, 'next.key'), join(folder, 'host.key'));
    await follower.until((content) => content !== first);
    assert.equal(follower.changes, 2);
    assert.deepEqual(warnings(open.lines), []);
    assert.deepEqual(open.counts, []);
  });

  test('that stay wrong keep the last good ones, with one warning for each content', async () => {
    await makeCertificate(folder, { name: 'host' });
    await makeCertificate(root.path, { name: 'next' });
    const clock = createTestClock(Date.now());
    await using open = await openStore({ folders: [{ folder, allow: ALLOW }], dataDir, clock });
    using follower = new Follower(open.store, `file-cert:${folder}/host.pem~${folder}/host.key`);
    const first = await follower.until(() => true);
    await copyFile(join(root.path, 'next.pem'), join(folder, 'host.pem'));
    const looks = async (count: number): Promise<void> => {
      await waitUntil('a warning', LIMIT_MS, async () => {
        await clock.advance(2000);
        return open.counts.length >= count;
      });
      for (let more = 0; more < 5; more += 1) await clock.advance(2000);
      assert.equal(open.counts.length, count);
    };
    await looks(1);
    assert.match(open.lines.at(-1)?.reason ?? '', /not that of the first certificate/);
    await writeFile(join(folder, 'host.pem'), 'nothing');
    await looks(2);
    assert.equal(follower.content, first);
    assert.equal(warnings(open.lines).length, 2);
    await copyFile(join(root.path, 'next.pem'), join(folder, 'host.pem'));
    await copyFile(join(root.path, 'next.key'), join(folder, 'host.key'));
    await waitUntil('the next', LIMIT_MS, async () => {
      await clock.advance(2000);
      return follower.content !== first;
    });
  });
});

describe('files by name', () => {
  test('are given beneath listed folders alone, to those on the list of the innermost', async () => {
    const inner = join(folder, 'inner');
    await mkdir(inner);
    await makeOutsideCa(folder, { name: 'outer' });
    await makeOutsideCa(inner, { name: 'inner' });
    const folders = [
      { folder, allow: [parseSpiffeIdPattern('spiffe://example.test/**')] },
      { folder: inner, allow: ALLOW },
    ];
    await using open = await openStore({ folders, dataDir });
    const whoMay = (name: string): readonly boolean[] => {
      using followed = open.store.follow(name, () => undefined);
      assert.ok(followed !== undefined, name);
      return [followed.allows([GATEWAY]), followed.allows([STRANGER]), followed.allows([])];
    };
    assert.deepEqual(whoMay(`file-root:${folder}/outer.pem`), [true, true, false]);
    assert.deepEqual(whoMay(`file-root:${inner}/inner.pem`), [true, false, false]);
    assert.deepEqual(whoMay(`file-cert:${folder}/outer.pem~${inner}/inner.key`), [true, false, false]);
    assert.deepEqual(whoMay(`file-root:${folder}/none.pem`), [true, true, false]);
    for (const path of ['/etc/ssl/cert.pem', folder, `${folder}-other/a`, `${dataDir}/a`, `${inner}/../outer.pem`]) {
      assert.equal(
        open.store.follow(`file-root:${path}`, () => undefined),
        undefined,
        path,
      );
      const pair = `file-cert:${folder}/outer.pem~${path}`;
      assert.equal(
        open.store.follow(pair, () => undefined),
        undefined,
        pair,
      );
    }
    using follower = new Follower(open.store, `file-root:${inner}/inner.pem`);
    assert.equal((await follower.until(() => true)).kind, 'validation_context');
  });

  test('of two folders need one and the same ID on both lists', async () => {
    const other = join(root.path, 'other');
    const allow = [parseSpiffeIdPattern(STRANGER)];
    await using open = await openStore({
      folders: [
        { folder, allow: ALLOW },
        { folder: other, allow },
      ],
      dataDir,
    });
    using followed = open.store.follow(`file-cert:${folder}/a~${other}/b`, () => undefined);
    assert.equal(followed?.allows([GATEWAY, STRANGER]), false);
  });

  test('are never looked for on behalf of those who may not have them', async () => {
    await makeOutsideCa(folder, { name: 'ca' });
    const told = listen();
    const watches = new FolderWatches(systemClock);
    const named = new NamedFiles([{ folder, allow: ALLOW }], { ...told, watches, dataDir, clock: systemClock }, 0);
    using stranger = named.follow(`file-root:${folder}/ca.pem`, () => undefined);
    assert.equal(stranger?.allows([STRANGER]), false);
    assert.equal(watches.size, 0);
    using gateway = named.follow(`file-root:${folder}/ca.pem`, () => undefined);
    assert.equal(gateway?.allows([GATEWAY]), true);
    assert.equal(watches.size, 1);
    assert.equal(stranger?.content, undefined);
  });

  test('behind a link are not given, and a folder that becomes one leaves the last good content', async () => {
    const name = `file-root:${folder}/sub/ca.pem`;
    await mkdir(join(folder, 'sub'));
    await mkdir(join(root.path, 'away'));
    await makeOutsideCa(join(folder, 'sub'), { name: 'ca' });
    await makeOutsideCa(join(root.path, 'away'), { name: 'ca' });
    await using open = await openStore({ folders: [{ folder, allow: ALLOW }], dataDir });
    using follower = new Follower(open.store, name);
    const content = await follower.until(() => true);
    await rename(join(folder, 'sub'), join(folder, 'aside'));
    await symlink(join(root.path, 'away'), join(folder, 'sub'));
    await waitUntil('a warning', LIMIT_MS, () => open.counts.length > 0);
    assert.equal(open.lines.at(-1)?.reason, `${folder}/sub/ca.pem is not served: there is a link in its path`);
    assert.equal(follower.content, content);
    using late = new Follower(open.store, name);
    assert.equal(late.content, content);
  });

  test('in the data directory are not given, also when it is in a listed folder', async () => {
    await makeOutsideCa(dataDir, { name: 'ca' });
    await using open = await openStore({ folders: [{ folder: root.path, allow: ALLOW }], dataDir });
    using follower = new Follower(open.store, `file-root:${dataDir}/ca.pem`);
    await waitUntil('a warning', LIMIT_MS, () => open.counts.length > 0);
    assert.match(open.lines.at(-1)?.reason ?? '', /it is in the data directory$/);
    assert.equal(follower.content, undefined);
  });

  test('are watched once for a thousand followers, until the last is gone', async () => {
    await makeOutsideCa(folder, { name: 'ca' });
    const told = listen();
    const watches = new FolderWatches(systemClock);
    const named = new NamedFiles([{ folder, allow: ALLOW }], { ...told, watches, dataDir, clock: systemClock }, 0);
    const stop = new AbortController();
    const running = watches.run(stop.signal);
    try {
      const store = { follow: named.follow.bind(named), run: () => running };
      const followers = Array.from({ length: 1000 }, () => new Follower(store, `file-root:${folder}/ca.pem`));
      assert.equal(watches.size, 1);
      const first = await followers[0]!.until(() => true);
      assert.ok(followers.every(({ content }) => content === first));
      await makeOutsideCa(folder, { name: 'ca' });
      await followers[0]!.until((content) => content !== first);
      assert.ok(followers.every(({ changes, content }) => changes === 2 && content === followers[0]!.content));
      for (const follower of followers.splice(1)) follower[Symbol.dispose]();
      assert.equal(watches.size, 1);
      for (const follower of followers) follower[Symbol.dispose]();
      assert.equal(watches.size, 0);
      assert.equal(followers[0]!.followed.allows([parseSpiffeId(GATEWAY)]), true);
      assert.equal(watches.size, 0, 'who has let go follows nothing again');
    } finally {
      stop.abort();
      await running;
    }
  });

  test('are ten thousand at most, and further ones wait for room', () => {
    const told = listen();
    const watches = new FolderWatches(systemClock);
    const named = new NamedFiles([{ folder, allow: ALLOW }], { ...told, watches, dataDir, clock: systemClock }, 0);
    const store = { follow: named.follow.bind(named), run: () => Promise.resolve() };
    const followers = Array.from({ length: 10_002 }, (_, index) => new Follower(store, `file-root:${folder}/${index}`));
    assert.deepEqual(
      told.lines.map(({ message }) => message),
      ['too many files are asked for, further ones are not served'],
    );
    for (const follower of followers) follower[Symbol.dispose]();
    assert.equal(watches.size, 0);
  });

  test('a thousand in one folder share one watch, and each is served', async () => {
    await makeOutsideCa(folder, { name: 'ca' });
    const names = Array.from({ length: 1000 }, (_, index) => join(folder, `${index}.pem`));
    for (const name of names) await copyFile(join(folder, 'ca.pem'), name);
    await using open = await openStore({ folders: [{ folder, allow: ALLOW }], dataDir });
    const followers = names.map((name) => new Follower(open.store, `file-root:${name}`));
    for (const follower of followers) await follower.until(() => true);
    await rm(folder, { recursive: true });
    for (const follower of followers) follower[Symbol.dispose]();
  });
});
