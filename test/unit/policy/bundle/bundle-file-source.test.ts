import assert from 'node:assert/strict';
import { createHmac, hash } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import { QUIET_MS, SvidgateError, systemClock, type ErrorCode } from '../../../../src/core/index.ts';
import {
  bundleFileSource,
  createBundleReader,
  isBundlePath,
  type BundleReader,
  type VerifyRules,
} from '../../../../src/policy/bundle/index.ts';
import { createRegoProgram } from '../../../../src/policy/rego-program.ts';
import { gunzipSync, gzipSync } from 'node:zlib';
import { retarGz, tarGz } from '../../../support/tar-file.ts';
import { createTestClock } from '../../../support/test-clock.ts';
import { tempFolder, type TempFolder } from '../../../support/temp-folder.ts';
import { never } from '../support.ts';

const clock = systemClock;
const real = createBundleReader(createRegoProgram({ clock, timeLimitMs: 60_000 }));
const SECRET = 'a secret of at least thirty-two bytes';
const REGO = 'package a\n\nallow if input.user in data.users\n';
const FILES = {
  '.manifest': '{"revision":"one","roots":["a","users"]}',
  'a.rego': REGO,
  'data.json': '{"users":["ann"]}',
};

let folder: TempFolder;
let path: string;
let keyFile: string;
let reads = 0;
const reader: BundleReader = {
  ...real,
  read(bytes, options) {
    reads += 1;
    return real.read(bytes, options);
  },
};

before(async () => {
  folder = await tempFolder();
  path = join(folder.path, 'policy.tar.gz');
  keyFile = join(folder.path, 'key');
});

after(() => folder[Symbol.asyncDispose]());

beforeEach(() => {
  reads = 0;
});

/** As OPA signs. The documents are in their canonical form already. */
function signed(files: Readonly<Record<string, string>>, secret: string, header: object = { kid: 'any' }): Buffer {
  const listed = Object.entries(files).map(([name, content]) => {
    return { name, hash: hash('sha256', content), algorithm: 'SHA-256' };
  });
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'HS256', ...header })}.${encode({ files: listed })}`;
  const token = `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  return retarGz(new Map(Object.entries({ ...files, '.signatures.json': JSON.stringify({ signatures: [token] }) })));
}

function plain(files: Readonly<Record<string, string>>): Buffer {
  return retarGz(new Map(Object.entries(files)));
}

/** A moment later, so that it is not taken for one that is being written. */
async function write(file: string, content: string | Uint8Array): Promise<void> {
  await writeFile(`${file}.new`, content);
  await rename(`${file}.new`, file);
  await pause(2 * QUIET_MS);
}

function rules(): VerifyRules {
  return { keys: [{ name: 'ours', id: 'release', algorithm: 'HS256', file: keyFile }], scope: '', excludeFiles: [] };
}

async function assertFails(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof SvidgateError);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

test('a path names a bundle by its end', () => {
  assert.deepEqual(['a.tar.gz', 'a.tgz', 'a', 'a.rego', 'a.tar', 'a.gz'].map(isBundlePath), [
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});

describe('bundleFileSource', () => {
  test('gives Rego, data, tests and revision', async () => {
    const testText = 'package a_test\n\ntest_allow if true\n';
    await write(
      path,
      plain({ ...FILES, '.manifest': '{"revision":"one"}', 'a_test.rego': testText, 'README.md': 'text' }),
    );
    const {
      digest,
      manifest: _,
      ...snapshot
    } = { manifest: '', ...(await bundleFileSource(path, { clock, reader }).read(never)) };
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.deepEqual(snapshot, {
      files: { modules: { 'a.rego': REGO }, data: { 'data.json': '{"users":["ann"]}' } },
      tests: { 'a_test.rego': testText },
      revision: 'one',
    });
  });

  test('has another digest whenever something that decides, or the revision, is another', async () => {
    const source = bundleFileSource(path, { clock, reader });
    const digests: string[] = [];
    for (const files of [
      FILES,
      { ...FILES, '.manifest': '{"revision":"two","roots":["a","users"]}' },
      { ...FILES, 'data.json': '{"users":["ann", "bob"]}' },
      { ...FILES, 'a.rego': `${REGO}\n` },
      { ...FILES, 'b.rego': REGO },
      { 'b.rego': REGO, '.manifest': FILES['.manifest'], 'data.json': FILES['data.json'] },
    ]) {
      await write(path, plain(files));
      digests.push((await source.read(never)).digest);
    }
    assert.equal(new Set(digests).size, digests.length);
    await write(path, plain({ ...FILES, 'a_test.rego': 'package a.test\n', 'README.md': 'text' }));
    assert.equal((await source.read(never)).digest, digests[0]);
  });

  test('reads the same file once, also one that is refused', async () => {
    const source = bundleFileSource(path, { clock, reader });
    await write(path, plain(FILES));
    const first = await source.read(never);
    assert.equal(await source.read(never), first);
    await write(path, plain(FILES)); // the same bytes in another file
    assert.equal(await source.read(never), first);
    assert.equal(reads, 1);
    await write(path, plain(FILES).subarray(0, 100));
    for (let time = 0; time < 3; time += 1) await assertFails(source.read(never), 'policy_invalid', /cut off/);
    assert.equal(reads, 2);
  });

  test('does not try again at each look what failed otherwise', async () => {
    let tries = 0;
    const failing: BundleReader = {
      ...real,
      async read() {
        tries += 1;
        return await Promise.reject(new SvidgateError('deadline_exceeded', 'it took too long'));
      },
    };
    await write(path, plain(FILES));
    const still = createTestClock();
    const source = bundleFileSource(path, { clock: still, reader: failing });
    for (let time = 0; time < 3; time += 1) await assertFails(source.read(never), 'deadline_exceeded', /too long/);
    assert.equal(tries, 1);
    await still.advance(60_000);
    await assertFails(source.read(never), 'deadline_exceeded', /too long/);
    assert.equal(tries, 2);
    await write(path, plain({ 'a.rego': REGO }));
    await assertFails(source.read(never), 'deadline_exceeded', /too long/);
    assert.equal(tries, 3);
  });

  test('says what is wrong with the file', async () => {
    const at = (name: string): Promise<unknown> =>
      bundleFileSource(join(folder.path, name), { clock, reader }).read(never);
    await assertFails(at('nothing.tar.gz'), 'file_unreadable', /nothing\.tar\.gz cannot be read: ENOENT/);
    await assertFails(at('.'), 'file_unreadable', /is not a file/);
    await write(path, tarGz([{ path: 'patch.json', content: '{"data":[{"op":"upsert","path":"/a","value":1}]}' }]));
    await assertFails(bundleFileSource(path, { clock, reader }).read(never), 'policy_invalid', /is a delta/);
    await write(path, plain({ 'a.rego': 'package a\n\nallow if', 'b.rego': 'package' }));
    await assertFails(
      bundleFileSource(path, { clock, reader }).read(never),
      'policy_invalid',
      /refused: .*\.rego:\d+:\d+: rego_parse_error/,
    );
  });

  test('takes what is signed by the key, and names it; the key is read again', async () => {
    await write(keyFile, SECRET);
    await write(path, signed(FILES, SECRET));
    const source = bundleFileSource(path, { clock, reader, verify: rules() });
    const { signedBy, verifiedBy = '', revision } = await source.read(never);
    assert.deepEqual([signedBy, revision], ['ours', 'one']);
    assert.deepEqual(await source.signers?.(), [{ name: 'ours', verifiedBy }]);
    const narrow = bundleFileSource(path, { clock, reader, verify: { ...rules(), scope: 'write' } });
    assert.notEqual((await narrow.signers?.())?.[0]?.verifiedBy, verifiedBy);
    await assertFails(
      bundleFileSource(path, { clock, reader }).read(never),
      'policy_invalid',
      /verification key not provided/,
    );
    await write(keyFile, `${SECRET}, another`);
    await assertFails(source.read(never), 'policy_invalid', /failed to verify JWT signature/);
    await write(path, signed(FILES, `${SECRET}, another`));
    assert.equal((await source.read(never)).signedBy, 'ours');
    await write(path, plain(FILES));
    await assertFails(source.read(never), 'policy_invalid', /missing \.signatures\.json/);
    await rm(keyFile);
    await assertFails(source.read(never), 'file_unreadable', /key cannot be read: ENOENT/);
    await write(keyFile, 'short');
    await assertFails(source.read(never), 'policy_invalid', /policy key in .*key is shorter than 32 bytes/);
  });

  test('names the key that counted, whatever else the signature calls itself', async () => {
    await write(keyFile, SECRET);
    await write(path, signed(FILES, SECRET, { kid: 'release', KID: 'other', Kid: 'other' }));
    const [ours] = rules().keys;
    assert.ok(ours !== undefined);
    const verify = { ...rules(), keys: [ours, { ...ours, name: 'theirs', id: 'other' }] };
    assert.equal((await bundleFileSource(path, { clock, reader, verify }).read(never)).signedBy, 'ours');
  });

  test('tells of changes of the bundle and of the key', async () => {
    await write(keyFile, SECRET);
    await write(path, signed(FILES, SECRET));
    const stop = new AbortController();
    const source = bundleFileSource(path, { clock, reader, verify: rules() });
    const changes = source.changes(stop.signal)[Symbol.asyncIterator]();
    await changes.next();
    await changes.next();
    const next = changes.next();
    await write(keyFile, `${SECRET}, another`);
    assert.equal((await next).done, false);
    stop.abort();
    while ((await changes.next()).done !== true);
  });
});

test('no change to a signed bundle is taken', { timeout: 120_000 }, async () => {
  const archive = gunzipSync(signed(FILES, SECRET));
  const verify = {
    ...rules(),
    keys: [{ name: 'ours', id: 'release', algorithm: 'HS256' as const, material: Buffer.from(SECRET) }],
  };
  const judge = async (bytes: Uint8Array): Promise<string> => {
    const read = await real.read(gzipSync(bytes), { verify, signal: never });
    return JSON.stringify(read);
  };
  const whole = await judge(archive);
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(archive.byteLength - 1), fc.integer({ min: 1, max: 255 }), async (at, difference) => {
      const changed = Buffer.from(archive);
      changed[at] = (changed[at] ?? 0) ^ difference;
      try {
        // What it still takes is the same to the last character: white space, or the time of a file.
        assert.equal(await judge(changed), whole, `byte ${at}`);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        assert.ok(error instanceof SvidgateError && error.code === 'policy_invalid', String(error));
        refused += 1;
      }
    }),
    { numRuns: 120 },
  );
  assert.ok(refused > 40, `${refused} refused`);
});
