/** Bundles that `policy build` makes are read and verified by OPA's own code, as the server has it. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, hash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import {
  createBundleReader,
  type BundleAlgorithm,
  type BundleVerification,
} from '../../../../src/policy/bundle/index.ts';
import { createPolicyTools, createRegoProgram, type BundleSigning } from '../../../../src/policy/index.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { never } from '../support.ts';

const program = createRegoProgram({ clock: systemClock });
const tools = createPolicyTools({ clock: systemClock, program });
const reader = createBundleReader(program);

const SNAPSHOT = {
  files: {
    modules: { 'authz.rego': 'package a\n\ndefault allow := false\n\nallow if input.n in data.teams.red\n' },
    data: { 'teams/data.yaml': 'red: [9007199254740993, 1.50]\n', 'data.json': '{"html": "<a>&"}' },
  },
  tests: { 'authz_test.rego': 'package a_test\n\nimport data.a\n\ntest_it if not a.allow with input as {}\n' },
};

async function pack(signing?: BundleSigning, revision = 'v7'): Promise<Uint8Array> {
  const packed = await tools.pack(SNAPSHOT, 'a/allow', {
    revision,
    ...(signing === undefined ? {} : { signing }),
    signal: never,
  });
  assert.ok(packed.kind === 'packed', JSON.stringify(packed));
  return packed.bytes;
}

function verification(algorithm: BundleAlgorithm, key: string, scope = ''): BundleVerification {
  const material = new TextEncoder().encode(key);
  return { keys: [{ name: 'release', id: 'release', algorithm, material }], scope, excludeFiles: [] };
}

async function read(bytes: Uint8Array, verify?: BundleVerification): Promise<unknown> {
  const found = await reader.read(bytes, { ...(verify === undefined ? {} : { verify }), signal: never });
  assert.ok(found.kind === 'snapshot');
  const { files, tests, revision } = found.snapshot;
  return { modules: files.modules, data: files.data, tests, revision };
}

describe('a bundle', () => {
  test('holds Rego, data, tests and the revision, and its bytes depend on nothing else', async () => {
    const bytes = await pack();
    assert.deepEqual(await read(bytes), {
      modules: SNAPSHOT.files.modules,
      data: { 'data.json': '{"html":"\\u003ca\\u003e\\u0026","teams":{"red":[9007199254740993,1.5]}}' },
      tests: SNAPSHOT.tests,
      revision: 'v7',
    });
    assert.equal(hash('sha256', await pack()), hash('sha256', bytes));
    assert.notEqual(hash('sha256', await pack(undefined, 'v8')), hash('sha256', bytes));
  });

  test('opens as a policy', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'bundle.tar.gz');
    await writeFile(file, await pack());
    const snapshot = await tools.source(file).read(never);
    await using policy = await tools.open(snapshot, { entrypoint: 'a/allow', description: file, signal: never });
    const ask = async (n: string): Promise<string> =>
      (await policy.decide(new TextEncoder().encode(`{"n":${n}}`))).effect;
    assert.deepEqual([await ask('9007199254740993'), await ask('9007199254740992')], ['allow', 'deny']);
  });

  test('of a policy that does not compile is none', async () => {
    const files = { modules: { 'a.rego': 'package a\nallow if nothing(1)\n' }, data: {} };
    const packed = await tools.pack({ files, tests: {} }, 'a/allow', { revision: '', signal: never });
    assert.ok(packed.kind === 'refused');
    assert.deepEqual(
      packed.problems.map(({ line, code }) => [line, code]),
      [[2, 'rego_type_error']],
    );
  });
});

/** As openssl writes it before a key. */
const EC_PARAMETERS = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';

describe('a signature', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pem = ({ privateKey, publicKey }: typeof rsa): { readonly key: string; readonly check: string } => ({
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    check: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  });
  const sec1 = ec.privateKey.export({ type: 'sec1', format: 'pem' }) as string;
  const secret = 'a secret of thirty-two bytes, or more';
  const cases = [
    { algorithm: 'RS256', ...pem(rsa) },
    { algorithm: 'PS384', ...pem(rsa) },
    { algorithm: 'ES256', ...pem(ec), key: `${EC_PARAMETERS}${sec1}` },
    { algorithm: 'EdDSA', ...pem(generateKeyPairSync('ed25519')) },
    { algorithm: 'HS256', key: secret, check: secret },
  ] as const;
  for (const { algorithm, key, check } of cases) {
    for (const scope of ['', 'read']) {
      test(`by ${algorithm}${scope === '' ? '' : ' with a scope'} is verified, and one by another key is not`, async () => {
        const bytes = await pack({ key, algorithm, keyId: 'release', ...(scope === '' ? {} : { scope }) });
        await read(bytes, verification(algorithm, check, scope));
        const other = pem(generateKeyPairSync('rsa', { modulusLength: 2048 })).check;
        const [wrongKey, wrongAlgorithm] =
          algorithm === 'HS256' ? [`${secret}!`, algorithm] : [other, 'RS256' as const];
        await assert.rejects(read(bytes, verification(wrongAlgorithm, wrongKey, scope)), { code: 'policy_invalid' });
        await assert.rejects(read(bytes, verification(algorithm, check, `${scope}write`)), { code: 'policy_invalid' });
        await assert.rejects(read(bytes), { code: 'policy_invalid' });
      });
    }
  }

  test('by something that is no key is refused', async () => {
    const packed = await tools.pack(SNAPSHOT, 'a/allow', {
      revision: '',
      signing: { key: 'no key', algorithm: 'RS256', keyId: '' },
      signal: never,
    });
    assert.ok(packed.kind === 'refused');
    assert.equal(packed.problems[0]?.code, 'signing_failed');
  });
});

test('the module is one that any host of OPA modules can run', async () => {
  const built = await tools.module(SNAPSHOT.files, 'a/allow', never);
  assert.ok(built.kind === 'built');
  const imports = WebAssembly.Module.imports(await WebAssembly.compile(new Uint8Array(built.wasm)));
  assert.ok(imports.every(({ module }) => module === 'env'));
  const { loadPolicy } = await import('@open-policy-agent/opa-wasm');
  const policy = await loadPolicy(new Uint8Array(built.wasm));
  policy.setData({ teams: { red: [7] } });
  assert.deepEqual(policy.evaluate({ n: 7 }), [{ result: true }]);
});
