import assert from 'node:assert/strict';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock } from '../../../src/core/index.ts';
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
  const named = new NamedFiles([{ folder, allow }], { ...told, watches, dataDir, clock: systemClock });
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
