/**
 * An API that believes JWT-SVIDs for itself, by the bundle of the trust domain in SPIFFE JSON.
 *
 *   node api.mjs 127.0.0.1:3001 run/bundle.json
 */
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const AUDIENCE = 'api.mesh.test';
const TRUST_DOMAIN = 'spiffe://mesh.test/';
const [listen, bundleFile] = process.argv.slice(2);
const [host, port] = listen.split(':');

/** The SPIFFE ID of whoever the token is of. Throws when it is not to be believed. */
function callerOf(token) {
  const [head, body, signature] = token.split('.');
  const { alg, kid } = JSON.parse(Buffer.from(head, 'base64url'));
  const { keys } = JSON.parse(readFileSync(bundleFile, 'utf8'));
  const key = keys.find((jwk) => jwk.use === 'jwt-svid' && jwk.kid === kid);
  if (alg !== 'ES256' || key === undefined) throw new Error('not signed by a key of the bundle');
  const signed = { key: createPublicKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
  const bytes = Buffer.from(`${head}.${body}`);
  if (!verify('sha256', bytes, signed, Buffer.from(signature, 'base64url'))) throw new Error('not signed by that key');
  const { sub, aud, exp } = JSON.parse(Buffer.from(body, 'base64url'));
  if (![aud].flat().includes(AUDIENCE)) throw new Error('for somebody else');
  if (!(exp > Date.now() / 1000)) throw new Error('of the past');
  if (!sub.startsWith(TRUST_DOMAIN)) throw new Error('of another trust domain');
  return sub;
}

const server = createServer((request, response) => {
  const [, token] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '') ?? [];
  let [status, text] = [401, 'no token'];
  try {
    if (token !== undefined) [status, text] = [200, `${callerOf(token)} is welcome`];
  } catch (error) {
    text = `a token that is ${error.message}`;
  }
  response.writeHead(status).end(`${text}\n`);
});
server.listen(Number(port), host);
