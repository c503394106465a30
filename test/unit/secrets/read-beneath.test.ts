import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFile,
  chmod,
  link,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { MAX_FILE_BYTES, readBeneath } from '../../../src/secrets/read-beneath.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';

let root: TempFolder;
let folder: string;
let dataDir: string;
let outside: string;

beforeEach(async () => {
  root = await tempFolder();
  folder = join(root.path, 'folder');
  dataDir = join(root.path, 'data');
  outside = join(root.path, 'outside');
  for (const path of [folder, dataDir, outside]) {
    await mkdir(join(path, 'sub'), { recursive: true });
    await writeFile(join(path, 'file'), path === folder ? 'inside' : 'SECRET');
    await writeFile(join(path, 'sub/file'), path === folder ? 'inside' : 'SECRET');
  }
});
afterEach(() => root[Symbol.asyncDispose]());

async function textOf(path: string, within = folder): Promise<string> {
  return (await readBeneath({ folder: within, path: join(within, path) }, dataDir)).bytes.toString();
}

async function reasonOf(path: string, within = folder): Promise<string> {
  try {
    return `read: ${await textOf(path, within)}`;
  } catch (error) {
    assert.ok(error instanceof SvidgateError && error.code === 'file_unreadable', String(error));
    assert.ok(error.message.startsWith(`${join(within, path)} `), error.message);
    return error.message.slice(join(within, path).length + 1);
  }
}

/** Files that this process has open. */
async function openFiles(): Promise<readonly string[]> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(root.path));
}

describe('a file is read', () => {
  test('beneath the folder, with its mode', async () => {
    await chmod(join(folder, 'sub/file'), 0o640);
    const { bytes, mode } = await readBeneath({ folder, path: join(folder, 'sub/file') }, dataDir);
    assert.equal(bytes.toString(), 'inside');
    assert.equal(mode, 0o640);
  });

  test('when links lead to the folder, as they do now', async () => {
    const alias = join(root.path, 'alias');
    await symlink(folder, alias);
    assert.equal(await textOf('sub/file', alias), 'inside');
    await mkdir(join(root.path, 'next'));
    await writeFile(join(root.path, 'next/file'), 'next');
    await unlink(alias);
    await symlink(join(root.path, 'next'), alias);
    assert.equal(await textOf('file', alias), 'next');
  });

  test('up to 1 MiB', async () => {
    await writeFile(join(folder, 'large'), Buffer.alloc(MAX_FILE_BYTES, 'x'));
    assert.equal((await textOf('large')).length, MAX_FILE_BYTES);
    await appendFile(join(folder, 'large'), 'x');
    assert.equal(await reasonOf('large'), `is not served: it has more than ${MAX_FILE_BYTES} bytes`);
    await truncate(join(folder, 'large'), 2 ** 40);
    assert.equal(await reasonOf('large'), `is not served: it has more than ${MAX_FILE_BYTES} bytes`);
  });

  test('and leaves nothing open, also when it is refused', async () => {
    await symlink(join(outside, 'file'), join(folder, 'link'));
    for (const path of ['file', 'link', 'none', 'sub']) await reasonOf(path);
    assert.deepEqual(await openFiles(), []);
  });
});

describe('a file is refused', () => {
  test('that is a link, to wherever', async () => {
    await symlink(join(outside, 'file'), join(folder, 'absolute'));
    await symlink('../outside/file', join(folder, 'relative'));
    await symlink('file', join(folder, 'harmless'));
    await symlink('loop', join(folder, 'loop'));
    for (const path of ['absolute', 'relative', 'harmless', 'loop']) {
      assert.equal(await reasonOf(path), 'is not served: it is a link', path);
    }
  });

  test('behind a link', async () => {
    await symlink(outside, join(folder, 'away'));
    await symlink('sub', join(folder, 'same'));
    await symlink('/proc/self/cwd', join(folder, 'magic'));
    for (const path of ['away/file', 'away/sub/file', 'same/file', 'magic/src/secrets/index.ts']) {
      assert.equal(await reasonOf(path), 'is not served: there is a link in its path', path);
    }
  });

  test('whose name is another one once it is decoded', async () => {
    const other = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff])]);
    await mkdir(other);
    await writeFile(Buffer.concat([other, Buffer.from('/file')]), 'inside, under a name that is no UTF-8');
    await symlink(other, join(folder, '\ufffd'));
    assert.equal(await reasonOf('\ufffd/file'), 'is not served: there is a link in its path');
  });

  test('that is no regular file, without waiting for it', async () => {
    execFileSync('mkfifo', [join(folder, 'fifo')]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
    try {
      for (const path of ['fifo', 'socket', 'sub']) {
        assert.equal(await reasonOf(path), 'is not served: it is not a regular file', path);
      }
      assert.equal(await reasonOf('null', '/dev'), 'is not served: it is not a regular file');
    } finally {
      server.close();
    }
  });

  test('in the data directory, whichever way it is named', async () => {
    const reason = 'is not served: it is in the data directory';
    assert.equal(await reasonOf('data/file', root.path), reason);
    assert.equal(await reasonOf('sub/file', dataDir), reason);
    await symlink(dataDir, join(root.path, 'alias'));
    assert.equal(await reasonOf('file', join(root.path, 'alias')), reason);
    const real = dataDir;
    dataDir = join(root.path, 'alias');
    assert.equal(await reasonOf('file', real), reason);
    await mkdir(join(root.path, 'data-other'));
    await writeFile(join(root.path, 'data-other/file'), 'other');
    assert.equal(await textOf('data-other/file', root.path), 'other');
  });

  test('when the data directory cannot be told from it', async () => {
    await rm(dataDir, { recursive: true });
    assert.equal(await reasonOf('file'), 'cannot be read: ENOENT');
  });

  test('that is not there, with the code of the system', async () => {
    assert.equal(await reasonOf('none'), 'cannot be read: ENOENT');
    assert.equal(await reasonOf('file/beneath'), 'cannot be read: ENOTDIR');
    assert.equal(await reasonOf('n'.repeat(300)), 'cannot be read: ENAMETOOLONG');
    assert.equal(await reasonOf('file', join(root.path, 'none')), 'cannot be read: ENOENT');
  });
});

/** So that the two of a race do not go in step. */
async function dawdle(): Promise<void> {
  for (let turns = Math.random() * 8; turns > 1; turns -= 1) await new Promise((resolve) => setImmediate(resolve));
}

interface Race {
  readonly change: () => Promise<void>;
  readonly read: () => Promise<void>;
  /** Whether reads have met every state. */
  readonly isEnough: () => boolean;
}

const MIN_READS = 200;
const MAX_READS = 20_000;

/** Does both side by side. */
async function race({ change, read, isEnough }: Race): Promise<void> {
  const over = new AbortController();
  const changing = (async () => {
    while (!over.signal.aborted) await change();
  })();
  try {
    for (let reads = 0; reads < MIN_READS || !isEnough(); reads += 1) {
      assert.ok(reads < MAX_READS, 'reads never met every state');
      await read();
      await dawdle();
    }
  } finally {
    over.abort();
    await changing;
  }
}

describe('while somebody changes the folder', () => {
  test('a folder that turns into a link and back never leads outside', async () => {
    const sub = join(folder, 'sub');
    const aside = join(root.path, 'aside');
    const seen = new Set<string>();
    await race({
      change: async () => {
        await rename(sub, aside);
        await symlink(outside, sub);
        await dawdle();
        await unlink(sub);
        await rename(aside, sub);
        await dawdle();
      },
      read: async () => {
        const reason = await reasonOf('sub/file');
        assert.ok(!reason.includes('SECRET'), reason);
        seen.add(reason);
      },
      isEnough: () => seen.has('read: inside') && seen.size > 1,
    });
  });

  test('a file that turns into a link and back never leads outside', async () => {
    const file = join(folder, 'file');
    await writeFile(join(folder, 'good'), 'inside');
    const seen = new Set<string>();
    await race({
      change: async () => {
        await symlink(join(outside, 'file'), join(folder, 'bad'));
        await rename(join(folder, 'bad'), file);
        await link(join(folder, 'good'), join(folder, 'copy'));
        await rename(join(folder, 'copy'), file);
      },
      read: async () => {
        const reason = await reasonOf('file');
        assert.ok(!reason.includes('SECRET'), reason);
        seen.add(reason);
      },
      isEnough: () => seen.has('read: inside') && seen.size > 1,
    });
  });

  test('a file that is replaced by renaming is always read as a whole', async () => {
    const texts = ['a', 'b'].map((one) => one.repeat(20_000));
    await writeFile(join(folder, 'file'), texts[0]!);
    const seen = new Set<string>();
    let turn = 0;
    await race({
      change: async () => {
        turn += 1;
        await writeFile(join(folder, 'new'), texts[turn % 2]!);
        await rename(join(folder, 'new'), join(folder, 'file'));
        await dawdle();
      },
      read: async () => {
        const text = await textOf('file');
        assert.ok(texts.includes(text), `${text.length} bytes`);
        seen.add(text);
      },
      isEnough: () => seen.size === 2,
    });
  });
});

test('whatever is in the folder, and whatever is asked for: nothing outside is given', async () => {
  const names = ['a', 'b', 'c'] as const;
  const step = fc.record({
    at: fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 }),
    make: fc.constantFrom('folder', 'file', 'link'),
    to: fc.constantFrom('.', '..', 'a', 'b', '../outside', '../../outside/file', '/proc/self/root', '../data'),
  });
  const asked = fc.array(fc.constantFrom(...names, 'file', 'sub'), { minLength: 1, maxLength: 4 });
  let reads = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 8 }), fc.array(asked, { maxLength: 8 }), async (steps, paths) => {
      await rm(folder, { recursive: true });
      await mkdir(folder);
      for (const { at, make, to } of steps) {
        const path = join(folder, ...at);
        // What is there already, or beneath what is no folder, is not made.
        if (make === 'folder') await mkdir(path).catch(() => undefined);
        else if (make === 'file') await writeFile(path, 'inside', { flag: 'wx' }).catch(() => undefined);
        else await symlink(to, path).catch(() => undefined);
      }
      for (const path of paths) {
        const reason = await reasonOf(join(...path));
        assert.ok(!reason.startsWith('read: ') || reason === 'read: inside', `${path.join('/')}: ${reason}`);
        if (reason === 'read: inside') reads += 1;
      }
    }),
    { numRuns: 150 },
  );
  assert.ok(reads > 0, 'nothing was ever read');
});
