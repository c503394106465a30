import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { generateEncodedKeyPair, keyTypeOf } from '../../../src/pki/index.ts';

for (const type of ['ec-p256', 'ec-p384', 'rsa-2048'] as const) {
  test(`an encoded key pair of ${type} is what OpenSSL reads and writes, and both halves belong together`, async () => {
    const seen = new Set<string>();
    // One secret of P-256 in 256 begins with a zero byte, which is not to be left out.
    const count = type === 'ec-p256' ? 2000 : 2;
    for (let index = 0; index < count; index += 1) {
      const { privateKey, publicKey } = await generateEncodedKeyPair(type);
      const key = createPrivateKey({ key: Buffer.from(privateKey), format: 'der', type: 'pkcs8' });
      assert.equal(keyTypeOf(createPublicKey(key)), type);
      assert.ok(key.export({ type: 'pkcs8', format: 'der' }).equals(privateKey));
      assert.ok(createPublicKey(key).export({ type: 'spki', format: 'der' }).equals(publicKey));
      seen.add(Buffer.from(publicKey).toString('base64'));
    }
    assert.equal(seen.size, count);
  });
}
