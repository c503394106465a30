/**
 * Stands for the login service: serves its keys over HTTPS with certs/issuer.pem, and signs tokens for `tenant`.
 *
 *   node issuer.mjs serve HOST:PORT
 *   node issuer.mjs token ROLE [TENANT]
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';

const KEY = 'run/issuer-jwt.key';
const [command, first, tenant = 'acme'] = process.argv.slice(2);

if (command === 'serve' && first !== undefined) {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(KEY, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const jwk = { ...createPublicKey(privateKey).export({ format: 'jwk' }), kid: 'one', use: 'sig', alg: 'ES256' };
  const [host, port] = first.split(':');
  const tls = { cert: readFileSync('certs/issuer.pem'), key: readFileSync('certs/issuer.key') };
  const server = createServer(tls, (request, response) => {
    response.writeHead(request.url === '/jwks' ? 200 : 404, { 'content-type': 'application/json' });
    response.end(request.url === '/jwks' ? JSON.stringify({ keys: [jwk] }) : '');
  });
  server.listen(Number(port), host);
  process.on('SIGTERM', () => process.exit(0));
} else if (command === 'token' && first !== undefined) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss: 'https://login.acme.test', aud: 'api.acme.test', tenant, sub: `a-${first}`, roles: [first] };
  const content = `${encode({ alg: 'ES256', typ: 'JWT', kid: 'one' })}.${encode({ ...claims, iat, exp: iat + 300 })}`;
  const key = { key: createPrivateKey(readFileSync(KEY)), dsaEncoding: 'ieee-p1363' };
  console.log(`${content}.${sign('sha256', Buffer.from(content), key).toString('base64url')}`);
} else {
  console.error('usage: node issuer.mjs serve HOST:PORT | token ROLE [TENANT]');
  process.exit(2);
}
