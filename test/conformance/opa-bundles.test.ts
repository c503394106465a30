/** Bundles that OPA built, and such as no program would write, are taken or refused as OPA's own reader does. */
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { POLICY_FILES, startBundleJudges, type BundleJudges } from '../support/bundle-judges.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { tar, tarEntry, tarGz, type TarEntry } from '../support/tar-file.ts';

let judges: BundleJudges;

before(async () => (judges = await startBundleJudges()), { timeout: BUILD_LIMIT_MS });

after(() => judges[Symbol.asyncDispose]());

describe('bundles that OPA built', () => {
  test('plain, with a revision, optimized, with YAML, with nothing but data', async () => {
    const built = [
      { files: POLICY_FILES },
      { files: POLICY_FILES, revision: 'r-17' },
      { files: POLICY_FILES, optimize: 1, entrypoints: ['envoy/authz/allow'] },
      { files: { ...POLICY_FILES, 'a/data.yaml': 'x: 1\ny: [1.5, 0x10, "<&>", ~, 12345678901234567890]\n' } },
      { files: { 'data.json': '{"n": [1e400, 1.0, -0, 1E+2], "s": "\\ud800 \\u0000 \\u2028<>&"}' } },
      { files: { ...POLICY_FILES, '.manifest': '{"roots": ["envoy"], "revision": "ours", "metadata": {"a": [1.0]}}' } },
      { files: POLICY_FILES, target: 'wasm', entrypoints: ['envoy/authz/allow'] },
      { files: POLICY_FILES, target: 'plan', entrypoints: ['envoy/authz/allow'] },
    ] as const;
    for (const build of built) {
      await judges.compare([{ name: JSON.stringify(build), bundle: await judges.opa.build(build), taken: true }]);
    }
  });
});

describe('what a bundle may hold', () => {
  const rego = (pkg: string): string => `package ${pkg}\n\nallow := true\n`;
  const manifest = (value: object): TarEntry => ({ path: '.manifest', content: JSON.stringify(value) });

  test('roots', async () => {
    const files = (roots: readonly string[], ...more: readonly TarEntry[]): Buffer =>
      tarGz([manifest({ roots }), ...more]);
    const policy = { path: 'p.rego', content: rego('a.b') };
    await judges.compare([
      { name: 'overlap', bundle: files(['a', 'a/b']), taken: false },
      { name: 'overlap with slashes', bundle: files(['/a/', 'a/b']), taken: false },
      { name: 'all and one', bundle: files(['', 'a']), taken: false },
      { name: 'twice', bundle: files(['a', 'a']), taken: false },
      { name: 'the beginning of a name', bundle: files(['a', 'ab']), taken: true },
      { name: 'Rego inside', bundle: files(['a/b'], policy), taken: true },
      { name: 'Rego above', bundle: files(['a/b/c'], policy), taken: false },
      { name: 'Rego outside', bundle: files(['x'], policy), taken: false },
      { name: 'data inside', bundle: files(['a/b'], { path: 'a/b/data.json', content: '{"c": 1}' }), taken: true },
      { name: 'data on the way', bundle: files(['a/b'], { path: 'a/data.json', content: '{}' }), taken: true },
      { name: 'data outside', bundle: files(['a/b'], { path: 'a/data.json', content: '{"c": 1}' }), taken: false },
      { name: 'no roots at all', bundle: files([], policy), taken: false },
    ]);
  });

  test('manifests', async () => {
    const policy = { path: 'p.rego', content: rego('a') };
    await judges.compare([
      { name: 'none', bundle: tarGz([policy]), taken: true },
      { name: 'empty', bundle: tarGz([manifest({}), policy]), taken: true },
      { name: 'two', bundle: tarGz([manifest({}), { path: 'a/.manifest', content: '{}' }, policy]), taken: false },
      { name: 'no JSON', bundle: tarGz([{ path: '.manifest', content: '{' }, policy]), taken: false },
      { name: 'of another type', bundle: tarGz([manifest({ revision: 1 }), policy]), taken: false },
      {
        name: 'a module that is not there',
        bundle: tarGz([manifest({ wasm: [{ entrypoint: 'a/b', module: '/policy.wasm' }] }), policy]),
        taken: false,
      },
      { name: 'an unknown version of Rego', bundle: tarGz([manifest({ rego_version: 7 }), policy]), taken: false },
      {
        name: 'Rego of version 0',
        bundle: tarGz([
          manifest({ rego_version: 0 }),
          { path: 'p.rego', content: 'package a\n\nallow { input.x == 1 }\n' },
        ]),
        taken: true,
      },
      {
        name: 'Rego of version 0, not told',
        bundle: tarGz([{ path: 'p.rego', content: 'package a\n\nallow { input.x == 1 }\n' }]),
        taken: false,
      },
      {
        name: 'one file of version 0',
        bundle: tarGz([
          manifest({ rego_version: 1, file_rego_versions: { '*/old.rego': 0 } }),
          policy,
          { path: '/x/old.rego', content: 'package b\n\nallow { input.x }\n' },
        ]),
        taken: true,
      },
      { name: 'Rego that does not parse', bundle: tarGz([{ path: 'p.rego', content: 'package' }]), taken: false },
    ]);
  });

  test('data', async () => {
    const files = (...entries: readonly (readonly [string, string])[]): Buffer =>
      tarGz(entries.map(([path, content]) => ({ path, content })));
    await judges.compare([
      { name: 'merged', bundle: files(['data.json', '{"a": {"x": 1}}'], ['a/data.json', '{"y": 2}']), taken: true },
      {
        name: 'the same place',
        bundle: files(['data.json', '{"a": {"x": 1}}'], ['a/data.json', '{"x": 1}']),
        taken: false,
      },
      {
        name: 'JSON and YAML',
        bundle: files(['data.json', '{"a": 1}'], ['data.yaml', 'b: 2'], ['c/data.yml', 'd: 3']),
        taken: true,
      },
      { name: 'no object at the root', bundle: files(['data.json', '[1]']), taken: false },
      { name: 'no object below it', bundle: files(['a/b/data.json', '[1]']), taken: true },
      { name: 'other names', bundle: files(['users.json', '{'], ['a/users.yaml', '{']), taken: true },
      { name: 'no JSON', bundle: files(['data.json', '{"a": 01}']), taken: false },
      { name: 'a YAML key twice', bundle: files(['data.yaml', 'a: 1\na: 2\n']), taken: false, stricter: true },
      { name: 'two YAML documents', bundle: files(['data.yaml', 'a: 1\n---\na: 2\n']), taken: false, stricter: true },
    ]);
  });
});

describe('archives', () => {
  const policy = { path: 'p.rego', content: 'package a\n\nallow := true\n' };
  const whole = tarGz([policy]);

  test('names and kinds of files', async () => {
    const first = (entry: TarEntry): Buffer => tarGz([entry, policy]);
    await judges.compare([
      { name: 'a leading slash', bundle: tarGz([{ ...policy, path: '/p.rego' }]), taken: true },
      { name: 'a leading dot', bundle: tarGz([{ ...policy, path: './p.rego' }]), taken: true },
      { name: 'folders', bundle: first({ path: 'x/', type: '5' }), taken: true },
      { name: 'above', bundle: first({ path: '../x/data.json', content: '{}' }), taken: false, stricter: true },
      { name: 'above within', bundle: first({ path: 'x/../data.json', content: '{}' }), taken: false, stricter: true },
      { name: 'two slashes', bundle: first({ path: 'x//data.json', content: '{}' }), taken: false, stricter: true },
      {
        name: 'a symbolic link',
        bundle: first({ path: 'x', type: '2', linkName: '/etc/passwd' }),
        taken: false,
        stricter: true,
      },
      {
        name: 'a hard link',
        bundle: first({ path: 'x', type: '1', linkName: 'p.rego' }),
        taken: false,
        stricter: true,
      },
      { name: 'a device', bundle: first({ path: 'x', type: '3' }), taken: false, stricter: true },
      { name: 'a file twice', bundle: first({ ...policy, content: 'package b\n' }), taken: false, stricter: true },
      { name: 'a backslash', bundle: first({ path: 'a\\b.json', content: '{}' }), taken: false, stricter: true },
      {
        name: 'a comment for all',
        bundle: first({ path: 'pax_global_header', type: 'g', content: '19 comment=0123456\n' }),
        taken: true,
      },
    ]);
  });

  test('cut off, or with something behind', async () => {
    const cut = (share: number): Buffer => whole.subarray(0, Math.floor(whole.byteLength * share));
    await judges.compare([
      { name: 'nothing', bundle: Buffer.alloc(0), taken: false },
      { name: 'no gzip', bundle: tar([policy]), taken: false },
      { name: 'a quarter', bundle: cut(0.25), taken: false },
      { name: 'a half', bundle: cut(0.5), taken: false },
      { name: 'all but the checksum', bundle: whole.subarray(0, -8), taken: false, stricter: true },
      {
        name: 'a wrong checksum',
        bundle: Buffer.concat([whole.subarray(0, -8), Buffer.alloc(8, 1)]),
        taken: false,
        stricter: true,
      },
      { name: 'garbage behind', bundle: Buffer.concat([whole, Buffer.from('garbage')]), taken: false, stricter: true },
      { name: 'zeros behind', bundle: Buffer.concat([whole, Buffer.alloc(16)]), taken: false, stricter: true },
      { name: 'no end', bundle: gzipSync(tarEntry(policy)), taken: false, stricter: true },
      { name: 'half an end', bundle: gzipSync(tar([policy]).subarray(0, -512)), taken: false, stricter: true },
      {
        name: 'a file behind the end',
        bundle: gzipSync(Buffer.concat([tar([policy]), tarEntry(policy)])),
        taken: false,
        stricter: true,
      },
      { name: 'a file that is cut off', bundle: gzipSync(tar([policy]).subarray(0, 520)), taken: false },
      { name: 'a size beyond the end', bundle: tarGz([{ ...policy, size: 5000 }]), taken: false },
      { name: 'no files', bundle: tarGz([]), taken: true },
      {
        name: 'two gzip members',
        bundle: Buffer.concat([gzipSync(tar([policy]).subarray(0, 600)), gzipSync(tar([policy]).subarray(600))]),
        taken: true,
      },
    ]);
  });
});
