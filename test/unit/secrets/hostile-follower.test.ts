import assert from 'node:assert/strict';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { SvidgateError, systemClock } from '../../../src/core/index.ts';
import { toTlsCertificate } from '../../../src/secrets/file-content.ts';
import { FileSecret, type FileSecretOptions } from '../../../src/secrets/file-secret.ts';
import { FolderWatches } from '../../../src/secrets/folder-watches.ts';
import { NamedFiles } from '../../../src/secrets/named-files.ts';
import type { FollowedSecret } from '../../../src/secrets/index.ts';
import { parseSpiffeIdPattern, type SpiffeId } from '../../../src/spiffe/index.ts';
import { makeOutsideCa } from '../../support/outside-ca.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { ALLOW, Follower, GATEWAY, LIMIT_MS, listen, openStore, STRANGER } from './support.ts';

const TO_STRANGER = [parseSpiffeIdPattern(STRANGER)];

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

test('one SPIFFE ID cannot take the places of all others, and who waits is told of room', async () => {
  const told = listen();
  const watches = new FolderWatches(systemClock);
  const allow = [...ALLOW, ...TO_STRANGER];
  const named = new NamedFiles([{ folder, allow }], { ...told, watches, dataDir, clock: systemClock }, 0);
  let rung = 0;
  const follow = (id: SpiffeId, index: number): FollowedSecret => {
    const followed = named.follow(`file-root:${folder}/${id.length}/${index}/ca`, () => (rung += 1));
    assert.equal(followed?.allows([id]), true);
    return followed;
  };
  const greedy = Array.from({ length: 3000 }, (_, index) => follow(STRANGER, index));
  assert.equal(watches.size, 2000);
  using other = follow(GATEWAY, 0);
  assert.equal(watches.size, 2001);
  assert.deepEqual(
    told.lines.map(({ message, spiffe_id, limit }) => [message, spiffe_id, limit]),
    [['too many files are asked for, further ones are not served', STRANGER, 2000]],
  );
  greedy.shift()?.[Symbol.dispose]();
  await waitUntil('those that wait', LIMIT_MS, () => rung > 0);
  assert.equal(rung, 1000);
  for (const followed of greedy.toReversed()) assert.equal(followed.allows([STRANGER]), true);
  assert.equal(watches.size, 2001, 'one more has found its place');
  for (const followed of greedy) followed[Symbol.dispose]();
  assert.equal(watches.size, 1);
  other[Symbol.dispose]();
  assert.equal(watches.size, 0);
});

test('what is asked for by turns is read once', async () => {
  await makeOutsideCa(folder, { name: 'ca' });
  const told = listen();
  const watches = new FolderWatches(systemClock);
  const named = new NamedFiles([{ folder, allow: ALLOW }], { ...told, watches, dataDir, clock: systemClock }, 200);
  const stop = new AbortController();
  const running = watches.run(stop.signal);
  try {
    const store = { follow: named.follow.bind(named), run: () => running };
    const name = `file-root:${folder}/ca.pem`;
    const first = new Follower(store, name);
    const content = await first.until(() => true);
    first[Symbol.dispose]();
    for (let turn = 0; turn < 100; turn += 1) {
      using next = new Follower(store, name);
      assert.equal(next.content, content);
    }
    await waitUntil('the end of the watch', LIMIT_MS, () => watches.size === 0);
    using later = new Follower(store, name);
    assert.notEqual(await later.until(() => true), content);
  } finally {
    stop.abort();
    await running;
  }
});

test('a file that is wrong is parsed once, and CAs of the whole web are no chain, at once', async () => {
  await makeOutsideCa(folder, { name: 'ca' });
  const many = Buffer.from((await readFile(join(folder, 'ca.pem'), 'utf8')).repeat(1000));
  const startedAt = performance.now();
  assert.throws(() => toTlsCertificate(many, many), { message: 'more than 16 certificates' });
  assert.ok(performance.now() - startedAt < 500);

  const path = join(folder, 'wrong');
  await writeFile(path, 'wrong');
  let parsed = 0;
  const told = listen();
  const options: FileSecretOptions<string> = {
    files: [{ folder, path, isPrivate: false }],
    parse([bytes = many]) {
      parsed += 1;
      if (bytes.toString() === 'wrong') throw new SvidgateError('config_invalid', 'it is wrong');
      return bytes.toString();
    },
  };
  using secret = new FileSecret(options, {
    ...told,
    watches: new FolderWatches(systemClock),
    dataDir,
    clock: systemClock,
  });
  for (let look = 0; look < 5; look += 1) await secret.look(true);
  assert.equal(parsed, 1);
  await writeFile(path, 'right');
  await secret.look();
  assert.deepEqual([secret.value.value, parsed], ['right', 2]);
});

test('a link to a folder is no way around the list of a folder within it', async () => {
  const secret = join(folder, 'secret');
  await mkdir(secret);
  await makeOutsideCa(secret, { name: 'ca' });
  await makeOutsideCa(folder, { name: 'ca' });
  const byLink = join(root.path, 'link');
  await symlink('certs', byLink);
  const folders = [
    { folder: byLink, allow: ALLOW },
    { folder: secret, allow: TO_STRANGER },
  ];
  await using open = await openStore({ folders, dataDir });
  using outer = new Follower(open.store, `file-root:${byLink}/ca.pem`);
  using inner = new Follower(open.store, `file-root:${byLink}/secret/ca.pem`);
  await outer.until(() => true);
  await waitUntil('a warning', LIMIT_MS, () => open.counts.length > 0);
  assert.match(open.lines.at(-1)?.reason ?? '', /it is in .*\/certs\/secret, which has rules of its own$/);
  assert.equal(inner.content, undefined);
});
