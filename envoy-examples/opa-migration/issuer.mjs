/**
 * Stands for the login service that signs tokens. `new` makes its key and prints what the policy needs of it;
 * `token ROLE` prints a token.
 *
 *   node issuer.mjs new | token ROLE
 */
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const KEY = 'run/issuer.key';
const [command, role] = process.argv.slice(2);

if (command === 'new') {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(KEY, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  console.log(JSON.stringify({ issuer: { key: publicKey.export({ type: 'spki', format: 'pem' }) } }));
} else if (command === 'token' && role !== undefined) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 300;
  const claims = { iss: 'https://login.acme.test', aud: 'tickets', sub: `a-${role}`, roles: [role], exp };
  const content = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode(claims)}`;
  const key = { key: createPrivateKey(readFileSync(KEY)), dsaEncoding: 'ieee-p1363' };
  console.log(`${content}.${sign('sha256', Buffer.from(content), key).toString('base64url')}`);
} else {
  console.error('usage: node issuer.mjs new | token ROLE');
  process.exit(2);
}
