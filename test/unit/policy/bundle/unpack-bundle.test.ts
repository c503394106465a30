import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { SvidgateError } from '../../../../src/core/index.ts';
import type { ArchivedFile } from '../../../../src/policy/bundle/read-tar.ts';
import { BUNDLE_LIMITS, unpackBundle, type BundleLimits } from '../../../../src/policy/bundle/unpack-bundle.ts';
import { tar, tarEntry, tarGz, type TarEntry } from '../../../support/tar-file.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const FILE: TarEntry = { path: 'a.rego', content: 'package a\n' };

function texts(files: readonly ArchivedFile[]): Readonly<Record<string, string>> {
  return Object.fromEntries(files.map(({ name, content }) => [name, Buffer.from(content).toString()]));
}

async function assertRefused(bundle: Uint8Array, reason: RegExp, limits?: BundleLimits): Promise<void> {
  await assert.rejects(unpackBundle(bundle, limits), (error) => {
    assert.ok(error instanceof SvidgateError && error.code === 'policy_invalid', String(error));
    assert.match(error.message, reason);
    return true;
  });
}

describe('unpackBundle', () => {
  test('takes what tar writes, in each of its formats', async () => {
    await using folder = await tempFolder();
    const long = `${'folder-with-a-long-name/'.repeat(8)}policy.rego`;
    const files = { 'data.json': '{"é": 1}', [long]: 'package long\n', 'empty.rego': '', 'naïve/data.yaml': 'x: 1' };
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder.path, 'in', name)), { recursive: true });
      await writeFile(join(folder.path, 'in', name), text);
    }
    for (const format of ['gnu', 'pax', 'ustar']) {
      const bundle = execFileSync('tar', [`--format=${format}`, '-czf', '-', '-C', join(folder.path, 'in'), '.']);
      assert.deepEqual(texts(await unpackBundle(bundle)), files, format);
    }
  });

  test('keeps the names as they are beside those below the root', async () => {
    const found = await unpackBundle(
      tarGz([FILE, { path: '/b.rego' }, { path: './c.rego' }, { path: 'd/', type: '5' }]),
    );
    assert.deepEqual(
      found.map(({ path, name }) => [path, name]),
      [
        ['a.rego', 'a.rego'],
        ['/b.rego', 'b.rego'],
        ['./c.rego', 'c.rego'],
      ],
    );
  });

  test('names what is wrong', async () => {
    const whole = tarGz([FILE]);
    const damaged = tarEntry(FILE);
    damaged[3] = 1;
    const extended = (content: string, type = 'x'): Buffer => tarGz([{ path: 'h', type, content }, FILE]);
    const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
      ['text', Buffer.from('package a'), /no gzip file/],
      ['half', whole.subarray(0, whole.byteLength / 2), /cut off/],
      ['the end of gzip', whole.subarray(0, -4), /cut off/],
      ['text behind', Buffer.concat([whole, Buffer.from('x')]), /behind the end|no gzip/],
      ['zeros behind', Buffer.concat([whole, Buffer.alloc(3)]), /behind the end|no gzip/],
      ['no end', gzipSync(tarEntry(FILE)), /cut off/],
      ['half an end', gzipSync(tar([FILE]).subarray(0, -512)), /its end is missing/],
      ['a file behind the end', gzipSync(Buffer.concat([tar([FILE]), tarEntry(FILE)])), /behind its end/],
      ['no end at a header', gzipSync(tar([FILE]).subarray(0, 300)), /cut off/],
      ['a damaged header', gzipSync(Buffer.concat([damaged, Buffer.alloc(1024)])), /header is damaged/],
      ['a size that is no number', gzipSync(Buffer.alloc(1024, 'x')), /checksum is not a number/],
      ['a size beyond the end', tarGz([{ ...FILE, size: 4096 }]), /cut off/],
      ['twice', tarGz([FILE, { ...FILE, path: './a.rego' }]), /"a.rego" is there twice/],
      ['above', tarGz([{ ...FILE, path: '../a.rego' }]), /path "\.\.\/a\.rego"/],
      ['a dot within', tarGz([{ ...FILE, path: 'x/./a.rego' }]), /is not one/],
      ['an empty name', tarGz([{ ...FILE, path: '' }]), /path "" is not one/],
      ['a backslash', tarGz([{ ...FILE, path: 'x\\a.rego' }]), /is not one/],
      ['a line break', tarGz([{ ...FILE, path: 'x\na.rego' }]), /is not one/],
      ['a symbolic link', tarGz([{ path: 'x', type: '2', linkName: '/etc/passwd' }]), /"x" is a symbolic link/],
      ['a hard link', tarGz([{ path: 'x', type: '1', linkName: 'a.rego' }]), /"x" is a hard link/],
      ['a device', tarGz([{ path: 'x', type: '3' }]), /not a plain file/],
      ['a sparse file', tarGz([{ path: 'x', type: 'S' }]), /not a plain file/],
      ['a sparse file of POSIX', extended('22 GNU.sparse.major=1\n'), /sparse/],
      ['a folder with a content', tarGz([{ path: 'x/', type: '5', content: 'x' }]), /has a content/],
      ['a record without an end', extended('15 path=x.rego'), /extended header is damaged/],
      ['a record that is too short', extended('99 path=x.rego\n'), /extended header is damaged/],
      ['a record without a length', extended('path=x.rego\n'), /extended header is damaged/],
      ['too many records', extended('6 a=b\n'.repeat(65)), /more than 64 records/],
      [
        'two extended headers',
        tarGz([{ path: 'h', type: 'x', content: '6 a=b\n' }, { path: 'h', type: 'L', content: 'b' }, FILE]),
        /two extended headers/,
      ],
      ['a path for all', extended('15 path=x.rego\n', 'g'), /header for all files sets "path"/],
      ['a size that is no number, of POSIX', extended('12 size=1x2\n'), /size is not a number/],
      ['a long path', extended('x'.repeat(1200), 'L'), /longer than 1024 bytes/],
    ];
    for (const [name, bundle, reason] of cases) {
      await assertRefused(bundle, reason).catch((error: unknown) => assert.fail(`${name}: ${String(error)}`));
    }
    const notText = { path: 'x', type: 'x', content: Buffer.from('10 path=\xFF\n', 'latin1') };
    await assertRefused(tarGz([notText]), /not UTF-8/);
  });

  test('holds its limits', async () => {
    await assertRefused(tarGz([FILE]), /larger than 50 bytes$/, { ...BUNDLE_LIMITS, maxBytes: 50 });
    await assertRefused(tarGz([FILE]), /larger than 1000 bytes unpacked/, { ...BUNDLE_LIMITS, maxUnpackedBytes: 1000 });
    const two = tarGz([FILE, { ...FILE, path: 'b.rego' }]);
    await assertRefused(two, /more than 1 files/, { ...BUNDLE_LIMITS, maxFiles: 1 });
    assert.equal((await unpackBundle(two, { ...BUNDLE_LIMITS, maxFiles: 2 })).length, 2);
    const folders = Array.from({ length: 20 }, (): TarEntry => ({ path: 'd/', type: '5' }));
    await assertRefused(tarGz([...folders, FILE]), /more than 20 headers/, { ...BUNDLE_LIMITS, maxFiles: 2 });
    assert.equal((await unpackBundle(tarGz(folders), { ...BUNDLE_LIMITS, maxFiles: 2 })).length, 0);
  });

  test('a bomb costs what may be unpacked, and no more', { timeout: 60_000 }, async () => {
    // 64 GiB of zeros: a header that says so, and gzip members of 32 MiB each.
    const zeros = gzipSync(Buffer.alloc(32 * 2 ** 20), { level: 9 });
    const header = gzipSync(tarEntry({ path: 'data.json', size: 7 * 2 ** 30 }));
    const bomb = Buffer.concat([header, ...Array.from({ length: 2048 }, () => zeros)].slice(0, 1900));
    assert.ok(bomb.byteLength < BUNDLE_LIMITS.maxBytes);
    const before = process.memoryUsage();
    const startedAt = performance.now();
    await assertRefused(bomb, /larger than 67108864 bytes unpacked/);
    const { rss, arrayBuffers } = process.memoryUsage();
    assert.ok(performance.now() - startedAt < 20_000, 'it is given up soon');
    assert.ok(rss - before.rss < 512 * 2 ** 20, `${rss - before.rss} bytes more`);
    assert.ok(arrayBuffers - before.arrayBuffers < 256 * 2 ** 20);
  });

  test('takes or refuses whatever bytes there are', async () => {
    const entry = fc.record({
      path: fc.oneof(
        fc.constantFrom('a', '/a', './a', '../a', 'a/b.rego', 'data.json', ''),
        fc.string({ maxLength: 90 }),
      ),
      content: fc.uint8Array({ maxLength: 1100 }),
      type: fc.constantFrom('0', '0', '0', '5', 'x', 'g', 'L', '1', '2', 'S', '\0'),
    });
    const archive = fc.array(entry, { maxLength: 5 }).map(tar);
    const changed = fc
      .tuple(
        archive,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat(), { nil: undefined }),
      )
      .map(([bytes, changes, end]) => {
        for (const [at, value] of changes) bytes[at % bytes.byteLength] = value;
        return end === undefined ? bytes : bytes.subarray(0, end % bytes.byteLength);
      });
    const plain = fc.uniqueArray(fc.constantFrom('a', 'b/c', '/d', './e'), { maxLength: 4 });
    const whole = plain.map((paths) => tar(paths.map((path) => ({ path, content: path }))));
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          whole.map((bytes) => gzipSync(bytes)),
          changed.map((bytes) => gzipSync(bytes)),
          fc.uint8Array(),
        ),
        async (bytes) => {
          try {
            const files = await unpackBundle(bytes);
            taken += 1;
            assert.equal(new Set(files.map(({ name }) => name)).size, files.length);
            for (const { name } of files) assert.ok(!name.startsWith('/') && !name.split('/').includes('..'), name);
          } catch (error) {
            assert.ok(error instanceof SvidgateError && error.code === 'policy_invalid', String(error));
          }
        },
      ),
      { numRuns: 3000 },
    );
    assert.ok(taken > 50, `${taken} taken`);
  });
});
