/** Deltas change the data of a bundle as OPA does, or are refused as it refuses them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { BundleSnapshot } from '../../src/policy/bundle/index.ts';
import {
  pemPair,
  POLICY_FILES,
  startBundleJudges,
  toVerification,
  verdictOf,
  type BundleJudges,
  type Rules,
  type Verdict,
} from '../support/bundle-judges.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { tarGz } from '../support/tar-file.ts';

const never = new AbortController().signal;
const rsa = pemPair('rsa');

let judges: BundleJudges;

before(async () => (judges = await startBundleJudges()), { timeout: BUILD_LIMIT_MS });

after(() => judges[Symbol.asyncDispose]());

describe('deltas', () => {
  const MANIFEST = { roots: ['envoy'], revision: 'two' };
  const base = async (): Promise<Buffer> =>
    await judges.opa.build({ files: { ...POLICY_FILES, '.manifest': '{"roots": ["envoy"], "revision": "one"}' } });

  async function ourData(first: Uint8Array, delta: Uint8Array): Promise<Verdict> {
    return await verdictOf(async () => {
      const read = await judges.reader.read(first, { signal: never });
      const change = await judges.reader.read(delta, { signal: never });
      assert.ok(read.kind === 'snapshot' && change.kind === 'delta');
      const { files, revision }: BundleSnapshot = await judges.reader.applyDelta(read.snapshot, change.delta, never);
      assert.deepEqual(files.modules, read.snapshot.files.modules);
      return { taken: true, data: files.data['data.json'] ?? '', revision: revision ?? '' };
    });
  }

  test('change the data as OPA does, or are refused', async () => {
    const first = await base();
    const cases: readonly (readonly [string, unknown, object, boolean])[] = [
      [
        'upsert',
        [{ op: 'upsert', path: '/envoy/users', value: ['cy', 1.5, 12345678901234567890n.toString()] }],
        MANIFEST,
        true,
      ],
      ['upsert at the end of a list', [{ op: 'upsert', path: '/envoy/users/-', value: 'cy' }], MANIFEST, true],
      ['upsert into a list', [{ op: 'upsert', path: '/envoy/users/0', value: 'cy' }], MANIFEST, true],
      ['upsert beyond a list', [{ op: 'upsert', path: '/envoy/users/9', value: 'cy' }], MANIFEST, false],
      ['upsert makes folders', [{ op: 'upsert', path: '/envoy/a/b/c', value: null }], MANIFEST, true],
      ['upsert below a text', [{ op: 'upsert', path: '/envoy/text/b', value: 1 }], MANIFEST, false],
      ['upsert of the root', [{ op: 'upsert', path: '/envoy', value: { x: 1 } }], MANIFEST, true],
      ['escapes', [{ op: 'upsert', path: 'envoy/a~1b~0c', value: 1 }], MANIFEST, true],
      ['remove', [{ op: 'remove', path: '/envoy/users/1' }], MANIFEST, true],
      ['remove what is not there', [{ op: 'remove', path: '/envoy/x' }], MANIFEST, false],
      ['replace', [{ op: 'replace', path: '/envoy/users/0', value: '<&>' }], MANIFEST, true],
      ['replace what is not there', [{ op: 'replace', path: '/envoy/x', value: 1 }], MANIFEST, false],
      [
        'several',
        [
          { op: 'upsert', path: '/envoy/x', value: 1 },
          { op: 'remove', path: '/envoy/users' },
        ],
        MANIFEST,
        true,
      ],
      [
        'what the same delta added is removed',
        [
          { op: 'upsert', path: '/envoy/x', value: 1 },
          { op: 'remove', path: '/envoy/x' },
        ],
        MANIFEST,
        false,
      ],
      [
        'one of several fails',
        [
          { op: 'upsert', path: '/envoy/x', value: 1 },
          { op: 'remove', path: '/envoy/y' },
        ],
        MANIFEST,
        false,
      ],
      ['an unknown operation', [{ op: 'add', path: '/envoy/x', value: 1 }], MANIFEST, false],
      ['outside of the roots', [{ op: 'upsert', path: '/x', value: 1 }], MANIFEST, false],
      ['other roots', [{ op: 'upsert', path: '/envoy/x', value: 1 }], { roots: ['envoy', 'x'] }, false],
      ['no roots', [{ op: 'upsert', path: '/envoy/x', value: 1 }], { revision: 'two' }, false],
      ['where a rule is', [{ op: 'upsert', path: '/envoy/authz/allow', value: true }], MANIFEST, false],
    ];
    for (const [name, data, manifest, taken] of cases) {
      const delta = await judges.opa.delta({ data }, manifest);
      const they = await judges.opa.activate([first, delta]);
      const we = await ourData(first, delta);
      const said = `${name}: svidgate ${JSON.stringify(we)}, OPA ${JSON.stringify(they)}`;
      assert.equal(we.taken, taken, said);
      assert.equal(they.kind === 'taken', taken, said);
      if (we.taken && they.kind === 'taken') assert.deepEqual([we.data, we.revision], [they.data, they.revision], said);
    }
  });

  test('with other files beside the operations are refused', async () => {
    const patch = { path: 'patch.json', content: '{"data": [{"op": "upsert", "path": "/a", "value": 1}]}' };
    await judges.compare([
      { name: 'Rego', bundle: tarGz([patch, { path: 'p.rego', content: 'package a' }]), taken: false },
      { name: 'data', bundle: tarGz([patch, { path: 'data.json', content: '{"b": 1}' }]), taken: false },
      { name: 'no JSON', bundle: tarGz([{ path: 'patch.json', content: '{' }]), taken: false },
      { name: 'no operations', bundle: tarGz([{ path: 'patch.json', content: '{"data": []}' }]), taken: true },
    ]);
  });

  test('are refused where a signature is asked for', async () => {
    const delta = await judges.opa.delta({ data: [{ op: 'upsert', path: '/envoy/x', value: 1 }] }, MANIFEST);
    const rules: Rules = { algorithm: 'RS256', publicKey: rsa.publicKey };
    await judges.compare([{ name: 'a delta', bundle: delta, rules, taken: false }]);
    const signed = await judges.opa.build({
      files: POLICY_FILES,
      signing: { key: rsa.privateKey, algorithm: 'RS256', keyId: 'release' },
    });
    const read = await judges.reader.read(signed, { verify: toVerification(rules), signal: never });
    const change = await judges.reader.read(delta, { signal: never });
    assert.ok(read.kind === 'snapshot' && change.kind === 'delta');
    assert.equal(read.snapshot.signedBy, 'release');
    await assert.rejects(judges.reader.applyDelta(read.snapshot, change.delta, never), { code: 'policy_invalid' });
  });
});
