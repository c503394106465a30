import { createHmac, createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto';
import type { Random } from '../../hunt/random.ts';

/** As policies/jwt_secret.rego has it. */
const SECRET = 'a secret of some length, for tests';

/** Fixed, so that a seed gives the same requests in each run; nothing else is signed with it. */
const KEY = createPrivateKey({
  format: 'jwk',
  key: {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
    d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI',
  },
});

/** The key set of policies/jwt_keys.rego. */
export function keySet(): unknown {
  return { keys: [{ ...createPublicKey(KEY).export({ format: 'jwk' }), kid: 'one', alg: 'ES256', use: 'sig' }] };
}

/** When the policies check them. */
const NOW = 1_700_000_000;

/** A value of an `authorization` header: mostly a good token or a nearly good one. */
export function authorization(random: Random): string {
  const bearer = (): string => `Bearer ${token(random)}`;
  const basic = (): string =>
    `Basic ${Buffer.from(`${random.pick(['alice', 'bob', 'eve', 'zoë', 'mallory', ''])}:secret`).toString('base64')}`;
  const odd = (): string =>
    random.pick(['', 'Bearer', 'Bearer ', 'Basic', 'Basic %%%', 'Bearer a.b.c', 'bearer e30.e30.', 'x'.repeat(300)]);
  return random.pick([bearer, bearer, bearer, basic, basic, odd])();
}

function token(random: Random): string {
  const claims = {
    iss: random.pick(['issuer.test', 'issuer.test', 'issuer.test', 'other.test']),
    sub: random.pick(['alice', 'people', 'zoë', '']),
    aud: random.pick<unknown>(['api', 'api', ['api', 'web'], 'web', ['web'], 7]),
    scope: random.pick(['read', 'write', 'read write', '']),
    ...random.pick([
      { exp: NOW + 60 },
      { exp: NOW + 60, nbf: NOW - 60 },
      { exp: NOW - 1 },
      { nbf: NOW + 60 },
      { exp: 4_000_000_000.5 },
      {},
    ]),
  };
  const alg = random.pick(['HS256', 'ES256', 'HS256', 'ES256', 'HS512', 'none']);
  const header = { alg, typ: 'JWT', ...random.pick([{}, { kid: 'one' }, { kid: 'two' }]) };
  const text = `${encoded(header)}.${encoded(claims)}`;
  const whole = `${text}.${signature(alg, text).toString('base64url')}`;
  if (random.oneIn(12)) return whole.slice(0, -random.pick([1, 3, 20]));
  return random.oneIn(12) ? whole.replace('.', random.pick(['.A', '..', '.=', ' .'])) : whole;
}

function signature(alg: string, text: string): Buffer {
  if (alg === 'ES256') return signedBy(KEY, text);
  if (alg === 'none') return Buffer.alloc(0);
  return createHmac(alg === 'HS256' ? 'sha256' : 'sha512', SECRET)
    .update(text)
    .digest();
}

function signedBy(key: KeyObject, text: string): Buffer {
  return sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
