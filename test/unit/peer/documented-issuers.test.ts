/** The issuers of docs/verified-identity.md, with tokens of the form that they give out. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseConfig } from '../../../src/config/index.ts';
import { createJwtProvider } from '../../../src/peer/jwt-provider.ts';
import { parseJwks } from '../../../src/peer/jwks.ts';
import { root } from '../../../tools/setup/paths.mjs';
import { jwksOf, makeJwtIssuer, signJwt } from '../../support/jwt-issuer.ts';
import { createTestClock } from '../../support/test-clock.ts';

const page = await readFile(join(root, 'docs/verified-identity.md'), 'utf8');
const [, block = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
const config = parseConfig(`trust_domain: prod.acme.test\n${block}`, '/etc/svidgate/svidgate.yaml').value;

const clock = createTestClock();
const now = clock.now() / 1000;
const times = { iat: now - 5, nbf: now - 5, exp: now + 300 };

const TOKENS = {
  github: {
    header: { typ: 'JWT', x5t: 'eBZ_cn3sXYAd0ch4THBKHIgOwOE' },
    claims: {
      ...times,
      iss: 'https://token.actions.githubusercontent.com',
      aud: 'api.acme.test',
      sub: 'repo:acme/app:ref:refs/heads/main',
      jti: 'd8a9a4b4-2f2e-4c6e-a1e7-1f7b0c1f5a10',
      repository: 'acme/app',
      repository_owner: 'acme',
      ref: 'refs/heads/main',
      run_attempt: '1',
    },
    without: { repository_owner: 'other' },
  },
  access: {
    header: { typ: 'JWT' },
    claims: {
      ...times,
      iss: 'https://acme.cloudflareaccess.com',
      aud: ['4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2'],
      email: 'me@acme.test',
      type: 'app',
      identity_nonce: 'a1',
      sub: '7335d417-61da-459d-899c-0a01c76a2f94',
      country: 'DE',
    },
    without: { aud: ['another application'] },
  },
  cluster: {
    header: {},
    claims: {
      ...times,
      iss: 'https://kubernetes.default.svc.cluster.local',
      aud: ['api.acme.test'],
      sub: 'system:serviceaccount:shop:web',
      jti: '1f7b0c1f-5a10-4c6e-a1e7-d8a9a4b42f2e',
      'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'web', uid: '1' } },
    },
    without: { aud: ['https://kubernetes.default.svc.cluster.local'] },
  },
} as const;

test('the page has these issuers', () => {
  assert.deepEqual([...(config?.authz?.identity.jwtProviders.keys() ?? [])], Object.keys(TOKENS));
});

for (const [name, { header, claims, without }] of Object.entries(TOKENS)) {
  test(`a token of ${name} is verified as the page configures it, and another is not`, async () => {
    const issuer = await makeJwtIssuer('key', 'rsa');
    const set = parseJwks(jwksOf(issuer));
    const documented = config?.authz?.identity.jwtProviders.get(name);
    assert.ok(documented);
    const keys = { keys: set, renew: () => Promise.resolve() };
    const provider = createJwtProvider({ ...documented, name, keys, clock });
    const checked = await provider.check(await signJwt(issuer, claims, header), 100);
    assert.equal(checked.claims['sub'], claims.sub);
    const other = await signJwt(issuer, { ...claims, ...without }, header);
    await assert.rejects(provider.check(other, 100), /claim_mismatch|another audience/);
  });
}
