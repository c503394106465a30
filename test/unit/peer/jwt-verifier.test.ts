import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createJwtVerifier } from '../../../src/peer/jwt-verifier.ts';
import { parseJwks } from '../../../src/peer/jwks.ts';
import type { TokenIssuer } from '../../../src/peer/token-issuer.ts';
import { forgeJwt, jwksOf, signJwt } from '../../support/jwt-issuer.ts';
import { TRUST_DOMAIN } from '../../support/svid-fixtures.ts';
import {
  bundleOf,
  ec,
  GOOD,
  ISSUER,
  p384,
  rsa,
  stranger,
  tokenStage,
  type TokenStage,
} from '../../support/token-stage.ts';

test('a token of an outside issuer is verified, and shows its claims as they were signed', async () => {
  const { verify, token } = tokenStage();
  const text = await token({ list: [1], aud: ['x', 'api'] });
  const [found] = await verify(`Bearer ${text}`);
  assert.ok(found?.verified);
  assert.equal(found.provider, 'provider');
  assert.equal(found.header, 'authorization');
  assert.equal(found.spiffeId, undefined);
  assert.deepEqual(found.claims['list'], [1]);
  assert.equal(found.claimsText, Buffer.from(text.split('.')[1] ?? '', 'base64url').toString());
});

test('a token is found by its header and prefix alone', async () => {
  const { verify, token, verifier } = tokenStage();
  const text = await token();
  const count = async (value: string): Promise<number> => (await verify(value)).length;
  assert.equal(await count(`bearer ${text}`), 1, 'the scheme has no case');
  assert.equal((await verify(`BEARER   ${text}`))[0]?.verified, true);
  for (const value of ['', `Basic ${text}`, text, `Bearer`]) assert.equal(await count(value), 0, value);
  assert.deepEqual(await verifier.verify(() => undefined, 100, 'default'), []);
  for (const value of [`Bearer ${text},Bearer ${text}`, `Bearer ${text} ${text}`, 'Bearer ', 'Bearer x', 'Bearer ..']) {
    assert.deepEqual(await verify(value), [{ verified: false, header: 'authorization', reason: 'malformed' }], value);
  }
});

interface Refused {
  readonly name: string;
  readonly make: (on: TokenStage) => string | Promise<string>;
  readonly outcome: string;
}

const withAlg = (on: TokenStage, alg: string, secret?: string | Uint8Array): string => {
  const claims = { iss: ISSUER, sub: 'me', aud: 'api', exp: on.seconds() + 60 };
  return forgeJwt({ header: { alg, kid: 'ec' }, claims }, secret);
};

const PUBLIC_PEM = createPublicKey(ec.privateKey).export({ type: 'spki', format: 'pem' }).toString();

const REFUSED: readonly Refused[] = [
  { name: 'alg none with no signature', make: (on) => withAlg(on, 'none'), outcome: 'malformed' },
  { name: 'alg none with a signature', make: (on) => withAlg(on, 'none', 'x'), outcome: 'algorithm_not_allowed' },
  ...['HS256', 'hs256', 'HS512'].map((alg) => ({
    name: `${alg} with the public key as secret`,
    make: (on: TokenStage) => withAlg(on, alg, PUBLIC_PEM),
    outcome: 'algorithm_not_allowed',
  })),
  { name: 'ES256 in name only', make: (on) => withAlg(on, 'ES256', PUBLIC_PEM), outcome: 'signature_invalid' },
  {
    name: 'an algorithm that is not allowed',
    make: (on) => signJwt(p384, { iss: ISSUER, aud: 'api', exp: on.seconds() + 60 }, { alg: 'ES384' }),
    outcome: 'algorithm_not_allowed',
  },
  {
    name: "another key of the issuer's by its id",
    make: (on) => on.token({}, { kid: 'p384' }),
    outcome: 'unknown_key',
  },
  { name: 'a key id that is not there', make: (on) => on.token({}, { kid: 'gone' }), outcome: 'unknown_key' },
  { name: 'no key id, of several keys', make: (on) => on.token({}, { kid: undefined }), outcome: 'unknown_key' },
  {
    name: 'the key of a stranger under the same id',
    make: (on) => signJwt(stranger, { iss: ISSUER, aud: 'api', exp: on.seconds() + 60 }),
    outcome: 'signature_invalid',
  },
  {
    name: 'the key of a stranger in the header',
    make: (on) => signJwt(stranger, { iss: ISSUER, aud: 'api', exp: on.seconds() + 60 }, { jwk: stranger.jwk }),
    outcome: 'signature_invalid',
  },
  {
    name: 'an extension that must be understood',
    make: (on) => on.token({}, { crit: ['x'], x: 1 }),
    outcome: 'header_not_allowed',
  },
  { name: 'a token of another kind', make: (on) => on.token({}, { typ: 'logout+jwt' }), outcome: 'header_not_allowed' },
  { name: 'an end that was', make: (on) => on.token({ exp: on.seconds() - 31 }), outcome: 'expired' },
  { name: 'no end', make: (on) => on.token({ exp: undefined }), outcome: 'claim_missing' },
  { name: 'an end in words', make: (on) => on.token({ exp: 'tomorrow' }), outcome: 'claim_malformed' },
  { name: 'a beginning to come', make: (on) => on.token({ nbf: on.seconds() + 31 }), outcome: 'not_yet_valid' },
  { name: 'issued in the future', make: (on) => on.token({ iat: on.seconds() + 31 }), outcome: 'not_yet_valid' },
  { name: 'another audience', make: (on) => on.token({ aud: ['web'] }), outcome: 'audience_mismatch' },
  { name: 'no audience', make: (on) => on.token({ aud: undefined }), outcome: 'claim_missing' },
  { name: 'an audience that begins alike', make: (on) => on.token({ aud: 'api2' }), outcome: 'audience_mismatch' },
  { name: 'another issuer', make: (on) => on.token({ iss: `${ISSUER}/` }), outcome: 'unknown_issuer' },
  { name: 'a list of issuers', make: (on) => on.token({ iss: [ISSUER] }), outcome: 'unknown_issuer' },
  { name: 'no issuer', make: (on) => on.token({ iss: undefined }), outcome: 'unknown_issuer' },
  {
    name: 'a claim twice',
    make: (on) => signJwt(ec, `{"iss":"${ISSUER}","aud":"api","exp":${on.seconds() + 60},"sub":"a","sub":"b"}`),
    outcome: 'malformed',
  },
  { name: 'claims that are no JSON', make: () => signJwt(ec, 'hello'), outcome: 'malformed' },
  { name: 'a list of claims', make: () => signJwt(ec, '[]'), outcome: 'malformed' },
  { name: 'a huge token', make: (on) => on.token({ pad: 'x'.repeat(20_000) }), outcome: 'too_large' },
  {
    name: 'padding after the signature',
    make: async (on) => `${await on.token()}=`,
    outcome: 'malformed',
  },
  {
    name: 'other claims under the same signature',
    make: async (on) => {
      const [one = '', , signature = ''] = (await on.token()).split('.');
      const [, claims = ''] = (await on.token({ sub: 'admin' })).split('.');
      return [one, claims, signature].join('.');
    },
    outcome: 'signature_invalid',
  },
];

for (const { name, make, outcome } of REFUSED) {
  test(`a token of an outside issuer is not verified: ${name}`, async () => {
    const on = tokenStage();
    const token = await make(on);
    assert.equal(await on.outcome(token), outcome);
    assert.equal(await on.outcome(token), outcome, 'also the second time');
  });
}

test('each algorithm that is allowed verifies with the key that is for it', async () => {
  const on = tokenStage({ algorithms: ['RS256', 'PS256', 'ES256', 'ES384'] });
  const claims = { iss: ISSUER, aud: 'api', exp: on.seconds() + 60 };
  for (const [key, alg] of [
    [rsa, 'RS256'],
    [rsa, 'PS256'],
    [ec, 'ES256'],
    [p384, 'ES384'],
  ] as const) {
    assert.equal(await on.outcome(await signJwt(key, claims, { alg })), GOOD, alg);
  }
});

test('clocks may differ by the configured time, and no more', async () => {
  const on = tokenStage();
  assert.equal(await on.outcome(await on.token({ exp: on.seconds() - 29 })), GOOD);
  assert.equal(await on.outcome(await on.token({ nbf: on.seconds() + 29, iat: on.seconds() + 29 })), GOOD);
});

test('required claims: one of the values, as the claim or in its list', async () => {
  const on = tokenStage({ requiredClaims: { owner: ['acme'], groups: ['admins', 'ops'], toString: ['x'] } });
  const outcome = async (claims: Readonly<Record<string, unknown>>): Promise<string> =>
    on.outcome(await on.token(claims));
  const right = { owner: 'acme', groups: ['users', 'ops'], toString: 'x' };
  assert.equal(await outcome(right), GOOD);
  assert.equal(await outcome({ ...right, groups: 'admins' }), GOOD);
  const wrong = [{ owner: 'acme2' }, { owner: undefined }, { owner: { acme: true } }, { groups: [['ops']] }];
  for (const claims of [...wrong, { groups: [] }, { toString: undefined }]) {
    assert.equal(await outcome({ ...right, ...claims }), 'claim_mismatch', JSON.stringify(claims));
  }
});

test('what was verified is kept until it ends or its keys change', async () => {
  const on = tokenStage();
  const token = await on.token();
  assert.equal(await on.outcome(token), GOOD);
  assert.equal(await on.outcome(token), GOOD);
  on.keys.keys = parseJwks(jwksOf(rsa));
  assert.equal(await on.outcome(token), 'unknown_key', 'its key was taken back');
  on.keys.keys = parseJwks(jwksOf(ec));
  assert.equal(await on.outcome(token), GOOD);
  on.keys.keys = undefined;
  assert.equal(await on.outcome(token), 'keys_unavailable');
  on.keys.keys = parseJwks(jwksOf(ec));
  assert.equal(await on.outcome(token), GOOD);
  await on.clock.advance(91_000);
  assert.equal(await on.outcome(token), 'expired');
});

test('a token that was verified is not checked again; one that was refused is', async () => {
  const on = tokenStage();
  let checks = 0;
  let isCurrent = true;
  const issuer: TokenIssuer = {
    place: { header: 'authorization', prefix: '' },
    isFor: () => true,
    check: (token) => {
      checks += 1;
      if (token.startsWith('e30.e30.')) return Promise.reject(new Error('refused'));
      const refusedFrom = on.clock.now() + 1000;
      const checked = { provider: 'p', claims: {}, claimsText: '{}', issuedAt: undefined, refusedFrom };
      return Promise.resolve({ ...checked, isCurrent: () => isCurrent });
    },
  };
  const issuers = new Map([['p', issuer]]);
  const verifier = createJwtVerifier({ issuers, isRevoked: () => false, clock: on.clock });
  const after = async (token: string): Promise<number> => {
    for (let times = 0; times < 3; times += 1) await verifier.verify(() => token, 100, 'default');
    return checks;
  };
  const good = await on.token();
  assert.equal(await after(good), 1);
  assert.equal(await after('e30.e30.eA'), 4);
  isCurrent = false;
  assert.equal(await after(good), 7, 'its keys have changed');
  isCurrent = true;
  assert.equal(await after(good), 7);
  on.clock.set(on.clock.now() - 1);
  assert.equal(await after(good), 8, 'the clock was set back');
});

test('keys that rotate during the call: asked for once, and the token is checked with the new ones', async () => {
  const on = tokenStage();
  on.keys.keys = parseJwks(jwksOf(rsa));
  on.keys.onRenew = () => (on.keys.keys = parseJwks(jwksOf(ec)));
  assert.equal(await on.outcome(await on.token()), GOOD);
  assert.equal(on.keys.renewed, 1);
  // Taken back while the signature was being checked.
  const late = on.outcome(await on.token({ sub: 'late' }));
  on.keys.keys = parseJwks(jwksOf(rsa));
  on.keys.onRenew = () => undefined;
  assert.equal(await late, 'unknown_key');
});

test('keys are not asked for by what is wrong anyway', async () => {
  const on = tokenStage();
  await on.outcome(await on.token({ exp: on.seconds() - 100 }, { kid: 'gone' }));
  await on.outcome(await on.token({ aud: 'x' }, { kid: 'gone' }));
  await on.outcome('x.y.z');
  assert.equal(on.keys.renewed, 0);
});

test('a token without a key id is for the only key of a set', async () => {
  const on = tokenStage();
  on.keys.keys = parseJwks(jwksOf(ec));
  assert.equal(await on.outcome(await on.token({}, { kid: undefined })), GOOD);
  on.keys.keys = parseJwks(jwksOf(rsa));
  assert.equal(await on.outcome(await on.token({ sub: 'two' }, { kid: undefined })), 'unknown_key');
});

test('JWT-SVIDs are verified by the bundle of their own trust domain', async () => {
  const on = tokenStage();
  const [found] = await on.verify(`Bearer ${await on.svid()}`);
  assert.ok(found?.verified);
  assert.equal(found.provider, 'jwt_svid');
  assert.equal(found.spiffeId, 'spiffe://example.test/web');
  const foreign = { sub: 'spiffe://other.test/web' };
  assert.equal(await on.outcome(await on.svid(foreign, rsa)), 'verified by jwt_svid');
  assert.equal(await on.outcome(await on.svid(foreign)), 'unknown_key', 'our key proves nothing there');
  assert.equal(await on.outcome(await on.svid({}, rsa)), 'unknown_key', 'nor does theirs here');
  assert.equal(await on.outcome(await on.svid({}, stranger)), 'signature_invalid');
  assert.equal(await on.outcome(await on.svid({ sub: 'spiffe://none.test/web' })), 'unknown_trust_domain');
  assert.equal(await on.outcome(await on.svid({ aud: ['api'] })), 'audience_mismatch');
  assert.equal(await on.outcome(await on.svid({ exp: on.seconds() })), 'expired', 'its end has no grace');
  assert.equal(await on.outcome(await on.svid({ sub: 'spiffe://example.test' })), 'claim_malformed');
});

test('a kept JWT-SVID ends with its key in the bundle, with its trust domain, and with itself', async () => {
  const on = tokenStage();
  const own = await on.svid();
  const foreign = await on.svid({ sub: 'spiffe://other.test/web' }, rsa);
  assert.equal(await on.outcome(own), 'verified by jwt_svid');
  assert.equal(await on.outcome(foreign), 'verified by jwt_svid');
  on.bundle.set(bundleOf(TRUST_DOMAIN, p384));
  assert.equal(await on.outcome(own), 'unknown_key');
  on.foreignBundles.set(new Map());
  assert.equal(await on.outcome(foreign), 'unknown_trust_domain');
  on.bundle.set(bundleOf(TRUST_DOMAIN, ec));
  assert.equal(await on.outcome(own), 'verified by jwt_svid');
  await on.clock.advance(60_000);
  assert.equal(await on.outcome(own), 'expired');
});

test('a token of a revoked SPIFFE ID is not verified, also one that was kept', async () => {
  const on = tokenStage();
  const tokens = [await on.svid(), await on.token({ sub: 'spiffe://example.test/web' })];
  for (const token of tokens) assert.match(await on.outcome(token), /^verified/);
  on.revoked.add('spiffe://example.test/web');
  for (const token of tokens) assert.equal(await on.outcome(token), 'revoked');
  on.revoked.clear();
  for (const token of tokens) assert.match(await on.outcome(token), /^verified/);
});

test('no text of a token makes the verifier reject or verify', async () => {
  const on = tokenStage();
  const part = fc.oneof(
    fc.base64String().map((text) => text.replaceAll('=', '')),
    fc.string(),
    fc.json().map((text) => Buffer.from(text).toString('base64url')),
    fc.constantFrom(...(await on.token()).split('.').slice(0, 2)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
      const tokens = await on.verify(`Bearer ${parts.join('.')}`);
      assert.ok(tokens.every(({ verified }) => !verified));
    }),
    { numRuns: 500 },
  );
});
