import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Watchable } from '../../../src/core/index.ts';
import { parseSpiffeId, verifyJwtSvid } from '../../../src/spiffe/index.ts';
import { createAuthorityStage } from '../../support/authority-stage.ts';

const MINUTE = 60_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');

function decode(token: string): readonly Record<string, unknown>[] {
  return token
    .split('.')
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>);
}

const ALGORITHMS = { 'ec-p256': 'ES256', 'ec-p384': 'ES384', 'rsa-2048': 'RS256', 'rsa-4096': 'RS256' } as const;

for (const [jwtKeyType, alg] of Object.entries(ALGORITHMS) as [keyof typeof ALGORITHMS, string][]) {
  test(`a token of a key of ${jwtKeyType} is ${alg} with kid and typ, and verifies with the bundle`, async () => {
    const stage = createAuthorityStage({ jwtKeyType });
    const authority = await stage.open();
    const svid = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['one', 'two'] });
    const [header, claims] = decode(svid.token);
    const [key] = authority.bundle.value.jwtAuthorities;
    assert.deepEqual(header, { alg, kid: key!.keyId, typ: 'JWT' });
    assert.match(key!.keyId, /^[A-Za-z0-9]{32}$/);
    const now = stage.clock.now() / 1000;
    assert.deepEqual(claims, { sub: ORDERS, aud: ['one', 'two'], exp: now + 300, iat: now });
    assert.deepEqual([svid.issuedAt, svid.expiresAt, svid.keyId], [now * 1000, (now + 300) * 1000, key!.keyId]);
    const bundles = () => authority.bundle.value;
    const verified = await verifyJwtSvid(svid.token, { audience: ['two'], bundles, now: stage.clock.now() });
    assert.equal(verified.spiffeId, ORDERS);
  });
}

test('one audience is a list, too; jti is there only when it is asked for, and differs', async () => {
  const authority = await createAuthorityStage().open();
  const ids = new Set<unknown>();
  for (let count = 0; count < 3; count += 1) {
    const { token } = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'], includeJti: true });
    const [, claims] = decode(token);
    assert.deepEqual(claims!['aud'], ['a']);
    ids.add(claims!['jti']);
  }
  assert.equal(ids.size, 3);
});

test('a token never outlives its key', async () => {
  const stage = createAuthorityStage({ caTtlMs: 10 * MINUTE });
  const authority = await stage.open();
  const [jwt] = authority.slots.value.filter(({ kind }) => kind === 'jwt');
  const { expiresAt } = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'], ttlMs: 60 * MINUTE });
  assert.equal(expiresAt, jwt!.notAfter);
  await stage.clock.advance(11 * MINUTE);
  await assert.rejects(authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] }), { code: 'authority_failed' });
});

const refused = [
  { name: 'no audience', request: { audience: [] } },
  { name: 'an empty audience', request: { audience: ['a', ''] } },
  { name: 'a life of less than a second', request: { ttlMs: 999 } },
  { name: 'a life that is no number', request: { ttlMs: Number.NaN } },
  { name: 'another trust domain', request: { spiffeId: parseSpiffeId('spiffe://other.test/orders') } },
  { name: 'the trust domain itself', request: { spiffeId: parseSpiffeId('spiffe://example.test') } },
];

for (const { name, request } of refused) {
  test(`${name} is refused`, async () => {
    const authority = await createAuthorityStage().open();
    const asked = { spiffeId: ORDERS, audience: ['a'], ...request };
    await assert.rejects(authority.issueJwtSvid(asked), { code: 'invalid_request' });
    if (!('audience' in request)) await assert.rejects(authority.issueX509Svid(asked), { code: 'invalid_request' });
  });
}

test('a revoked SPIFFE ID gets nothing of either kind, and others do', async () => {
  const answers = {
    all: [],
    hasSerial: () => false,
    hasSpiffeId: (id: string) => id === ORDERS,
    hasSerialOf: () => false,
  };
  const authority = await createAuthorityStage({ revocations: new Watchable(answers) }).open();
  await assert.rejects(authority.issueX509Svid({ spiffeId: ORDERS }), {
    code: 'no_identity',
    message: `${ORDERS} is revoked`,
  });
  await assert.rejects(authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] }), { code: 'no_identity' });
  await authority.issueX509Svid({ spiffeId: parseSpiffeId('spiffe://example.test/web') });
});
