/** Whatever is done to a bundle: svidgate takes nothing that OPA's reader refuses, and of what both take the same. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { pemPair, POLICY_FILES, startBundleJudges, type BundleJudges, type Rules } from '../support/bundle-judges.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { tarGz, untarGz, type TarEntry } from '../support/tar-file.ts';

let judges: BundleJudges;

before(async () => (judges = await startBundleJudges()), { timeout: BUILD_LIMIT_MS });

after(() => judges[Symbol.asyncDispose]());

const pair = pemPair('P-256');
const rules: Rules = { algorithm: 'ES256', publicKey: pair.publicKey };
const MANIFEST = '{"roots": ["envoy", "a"], "revision": "one"}';

/** Texts that a file may hold instead. */
const TEXTS = [
  '{}',
  '[]',
  'null',
  '{"envoy": {"users": ["eve"]}}',
  '{"x": 1}',
  '{"roots": [""]}',
  '{"roots": ["a", "a/b"]}',
  '{"roots": null}',
  '{"roots": ["envoy"], "wasm": [{"entrypoint": "envoy/authz/allow", "module": "/policy.wasm"}]}',
  '{"rego_version": 0}',
  '{"signatures": []}',
  '{"signatures": null}',
  '{"data": [{"op": "upsert", "path": "/envoy/x", "value": 1}]}',
  '{"data": []}',
  'package envoy.more\n\nx := 1\n',
  'package other\n',
  'a: 1\n',
  '"',
  '',
];

const NAMES = [
  '/data.json',
  'data.json',
  './envoy/data.json',
  '/a/data.yaml',
  '/envoy/data.yml',
  '/.manifest',
  'x/.manifest',
  '/y.manifest',
  '/.signatures.json',
  'x/.signatures.json',
  '/signatures.json',
  '/patch.json',
  '/policy.wasm',
  '/plan.json',
  '/envoy/more.rego',
  '/.rego',
  '/envoy/authz.rego',
  '/README.md',
];

type Change = (entries: readonly TarEntry[]) => readonly TarEntry[];

const place = fc.nat(20);
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ path: fc.constantFrom(...NAMES), content: fc.constantFrom(...TEXTS), at: place }).map(
    ({ path, content, at }): Change =>
      (entries) =>
        entries.toSpliced(at % (entries.length + 1), 0, { path, content }),
  ),
  place.map(
    (at): Change =>
      (entries) =>
        entries.toSpliced(at % (entries.length + 1), 1),
  ),
  fc.tuple(place, fc.constantFrom(...NAMES)).map(
    ([at, path]): Change =>
      (entries) =>
        entries.map((entry, index) => (index === at % entries.length ? { ...entry, path } : entry)),
  ),
  fc.tuple(place, fc.constantFrom(...TEXTS)).map(
    ([at, content]): Change =>
      (entries) =>
        entries.map((entry, index) => (index === at % entries.length ? { ...entry, content } : entry)),
  ),
  fc.tuple(place, fc.nat(2000), fc.integer({ min: 1, max: 255 })).map(
    ([at, offset, difference]): Change =>
      (entries) =>
        entries.map((entry, index) => (index === at % entries.length ? flip(entry, offset, difference) : entry)),
  ),
  fc.constant<Change>((entries) => entries.toReversed()),
);

function flip(entry: TarEntry, offset: number, difference: number): TarEntry {
  const content = Buffer.from((entry.content ?? '') as Uint8Array);
  if (content.byteLength > 0) content[offset % content.byteLength] = content[offset % content.byteLength]! ^ difference;
  return { ...entry, content };
}

for (const isSigned of [false, true]) {
  test(isSigned ? 'signed' : 'not signed', { timeout: 300_000 }, async () => {
    const signing = { key: pair.privateKey, algorithm: 'ES256', keyId: 'release' };
    const whole = await judges.opa.build({
      files: { ...POLICY_FILES, '.manifest': MANIFEST },
      revision: 'one',
      ...(isSigned ? { signing } : {}),
    });
    const entries = [...untarGz(whole)].map(([path, content]) => ({ path, content }));
    const counts = { both: 0, none: 0, stricter: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const bundle = tarGz(changes.reduce<readonly TarEntry[]>((changed, each) => each(changed), entries));
        const [we, they] = await judges.verdicts(bundle, isSigned ? rules : undefined);
        if (!we.taken) counts[they.taken ? 'stricter' : 'none'] += 1;
        else if (they.taken) {
          assert.deepEqual(we, they);
          counts.both += 1;
        } else {
          // Rego that parses and does not compile is refused by the compiler, one step later.
          assert.match(they.reason, /\d+ errors? occurred: .*rego_\w+_error/s);
        }
        // Only files that are there twice, and what decides nothing.
        if (!we.taken && they.taken) assert.match(we.reason, /is there twice|is a delta/, JSON.stringify(they));
      }),
      { numRuns: 120 },
    );
    assert.ok(counts.both > 3 && counts.none > 15, JSON.stringify(counts));
  });
}
