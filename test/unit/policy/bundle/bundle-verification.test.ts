import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { SvidgateError } from '../../../../src/core/index.ts';
import { BUNDLE_ALGORITHMS, loadVerification, type BundleAlgorithm } from '../../../../src/policy/bundle/index.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const pem = ({ publicKey }: KeyPairKeyObjectResult): string =>
  publicKey.export({ type: 'spki', format: 'pem' }).toString();
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const RSA = pem(rsa);
const P256 = pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
const P384 = pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }));
const P521 = pem(generateKeyPairSync('ec', { namedCurve: 'P-521' }));
const ED25519 = pem(generateKeyPairSync('ed25519'));
const WEAK = pem(generateKeyPairSync('rsa', { modulusLength: 1024 }));
const SECRET = 's'.repeat(64);

const GOOD: Readonly<Record<BundleAlgorithm, string>> = {
  RS256: RSA,
  RS384: RSA,
  RS512: RSA,
  PS256: RSA,
  PS384: RSA,
  PS512: RSA,
  ES256: P256,
  ES384: P384,
  ES512: P521,
  HS256: 's'.repeat(32),
  HS384: 's'.repeat(48),
  HS512: SECRET,
  EdDSA: ED25519,
};

async function problemOf(algorithm: BundleAlgorithm, content: string): Promise<string | undefined> {
  await using folder = await tempFolder();
  const file = join(folder.path, 'key');
  await writeFile(file, content);
  const keys = [{ name: 'release', id: 'r', algorithm, file }];
  try {
    const loaded = await loadVerification({ keys, scope: 'read', excludeFiles: ['a/*'] });
    const material = Buffer.from(content);
    assert.deepEqual(loaded, {
      keys: [{ name: 'release', id: 'r', algorithm, material }],
      scope: 'read',
      excludeFiles: ['a/*'],
    });
    return undefined;
  } catch (error) {
    assert.ok(error instanceof SvidgateError && error.code === 'policy_invalid', String(error));
    assert.ok(content === '' || !error.message.includes(content), 'the key is not told');
    return error.message.replace(file, 'FILE');
  }
}

test('each algorithm has its own kind of key', async () => {
  for (const algorithm of BUNDLE_ALGORITHMS) {
    for (const content of new Set(Object.values(GOOD).filter((each) => each.startsWith('---')))) {
      const fits = content === GOOD[algorithm];
      assert.equal((await problemOf(algorithm, content)) === undefined, fits, `${algorithm} ${content}`);
    }
    assert.equal(await problemOf(algorithm, GOOD[algorithm]), undefined);
    assert.equal((await problemOf(algorithm, SECRET)) === undefined, algorithm.startsWith('HS'), algorithm);
  }
});

test('a key that is weak, private or none is refused', async () => {
  const cases: readonly (readonly [BundleAlgorithm, string, string])[] = [
    ['RS256', WEAK, 'the policy key in FILE has fewer than 2048 bits'],
    ['RS256', '', 'the policy key in FILE is not one public key in PEM'],
    ['RS256', 'text', 'the policy key in FILE is not one public key in PEM'],
    ['RS256', `${RSA}${RSA}`, 'the policy key in FILE is not one public key in PEM'],
    ['RS256', RSA.replace('MII', 'MIX'), 'the policy key in FILE is not one public key in PEM'],
    ['RS256', 'x'.repeat(70_000), 'the policy key in FILE is larger than 65536 bytes'],
    ['RS256', P256, 'the policy key in FILE is no RSA key, which RS256 needs'],
    ['ES256', P384, 'the policy key in FILE is not of the curve of ES256'],
    ['ES256', RSA, 'the policy key in FILE is not of the curve of ES256'],
    ['EdDSA', P256, 'the policy key in FILE is no Ed25519 key'],
    ['HS256', 's'.repeat(31), 'the policy key in FILE is shorter than 32 bytes'],
    ['HS512', 's'.repeat(63), 'the policy key in FILE is shorter than 64 bytes'],
    ['HS256', RSA, 'the policy key in FILE is PEM, which is no secret for HS256'],
  ];
  for (const [algorithm, content, message] of cases) assert.equal(await problemOf(algorithm, content), message);
  const own = rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  assert.equal(await problemOf('RS256', own), 'the policy key in FILE is a private key, which does not belong here');
});
