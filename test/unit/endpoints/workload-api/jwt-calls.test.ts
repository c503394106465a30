import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodeMessage,
  encodeMessage,
  JwtSvidRequest,
  structToJson,
  WORKLOAD_API_SERVICE,
  type JwtSvidRequestInit,
} from '../../../../src/proto/index.ts';
import { createTestClock } from '../../../support/test-clock.ts';
import { createTestTrustDomain } from '../../../support/test-trust-domain.ts';
import { goneProcess, startTestWorkloadApi, testEntry, type TestWorkloadApi } from '../../../support/workload-api.ts';
import { connectWorkload, refusalOf, type WorkloadClient } from '../../../support/workload-client.ts';

const { fetchJwtSvid, validateJwtSvid } = WORKLOAD_API_SERVICE;
const WEB = 'spiffe://example.test/web';
const NO_IDENTITY = ['PERMISSION_DENIED', 'no identity issued'];

async function withApi(run: (api: TestWorkloadApi, client: WorkloadClient) => Promise<void>): Promise<void> {
  await using api = await startTestWorkloadApi();
  using client = connectWorkload(api.address);
  await run(api, client);
}

test('FetchJWTSVID gives one token for each identity, or for the one asked for', () =>
  withApi(async (api, client) => {
    api.entries.set([testEntry('/a', { hint: 'x' }), testEntry('/b')]);
    const all = await client.jwtSvids({ audience: ['one', 'two'] });
    assert.deepEqual(
      all.svids.map(({ spiffeId, hint }) => [spiffeId, hint]),
      [
        ['spiffe://example.test/a', 'x'],
        ['spiffe://example.test/b', ''],
      ],
    );
    const claims = JSON.parse(Buffer.from(all.svids[0]!.svid.split('.')[1]!, 'base64url').toString()) as object;
    assert.deepEqual(
      { ...claims, iat: 0, exp: 0 },
      { sub: 'spiffe://example.test/a', aud: ['one', 'two'], iat: 0, exp: 0 },
    );
    const one = await client.jwtSvids({ audience: ['one'], spiffeId: 'spiffe://example.test/b' });
    assert.deepEqual(
      one.svids.map(({ spiffeId }) => spiffeId),
      ['spiffe://example.test/b'],
    );
  }));

const FETCH_REFUSALS: readonly {
  readonly name: string;
  readonly request: JwtSvidRequestInit;
  readonly refusal: readonly [string, RegExp];
}[] = [
  { name: 'no audience', request: {}, refusal: ['INVALID_ARGUMENT', /^audience must be specified$/] },
  {
    name: 'an empty audience',
    request: { audience: [''] },
    refusal: ['INVALID_ARGUMENT', /^audience must be specified$/],
  },
  {
    name: 'an empty audience beside another',
    request: { audience: ['x', ''] },
    refusal: ['INVALID_ARGUMENT', /^audience must be specified$/],
  },
  {
    name: 'too many audiences',
    request: { audience: Array.from({ length: 101 }, String) },
    refusal: ['INVALID_ARGUMENT', /^more than 100 audiences$/],
  },
  {
    name: 'a long audience',
    request: { audience: ['x'.repeat(2049)] },
    refusal: ['INVALID_ARGUMENT', /^an audience is longer than 2048 characters$/],
  },
  {
    name: 'the audience comes before the SPIFFE ID',
    request: { spiffeId: 'nonsense' },
    refusal: ['INVALID_ARGUMENT', /^audience/],
  },
  {
    name: 'what is no SPIFFE ID',
    request: { audience: ['x'], spiffeId: 'http://example.test/web' },
    refusal: ['INVALID_ARGUMENT', /^invalid requested SPIFFE ID: scheme is missing or invalid/],
  },
  {
    name: 'an identity of somebody else',
    request: { audience: ['x'], spiffeId: 'spiffe://example.test/other' },
    refusal: ['PERMISSION_DENIED', /^no identity issued$/],
  },
  {
    name: 'an identity of another trust domain',
    request: { audience: ['x'], spiffeId: 'spiffe://other.test/web' },
    refusal: ['PERMISSION_DENIED', /^no identity issued$/],
  },
];
for (const { name, request, refusal } of FETCH_REFUSALS) {
  test(`FetchJWTSVID refuses ${name}`, () =>
    withApi(async (api, client) => {
      const [code, details] = await refusalOf(client.jwtSvids(request));
      assert.equal(code, refusal[0]);
      assert.match(details, refusal[1]);
      assert.deepEqual(
        api.audited.map(({ event, method, result, caller }) => [event, method, result, caller?.pid]),
        [['call_refused', 'FetchJWTSVID', 'failure', 7]],
      );
    }));
}

test('the syntax is looked at before the caller is attested', () =>
  withApi(async (api, client) => {
    api.caller.attest = () => {
      throw goneProcess();
    };
    assert.equal((await refusalOf(client.jwtSvids({})))[0], 'INVALID_ARGUMENT');
    assert.equal((await refusalOf(client.jwtSvids({ audience: ['x'], spiffeId: '?' })))[0], 'INVALID_ARGUMENT');
    assert.equal((await refusalOf(client.validate({})))[0], 'INVALID_ARGUMENT');
    assert.equal((await refusalOf(client.jwtSvids({ audience: ['x'] })))[0], 'UNAVAILABLE');
  }));

test('text that is not UTF-8 and bytes that are no message are refused', () =>
  withApi(async (_api, client) => {
    for (const hex of ['0a01ff', '0a', 'ffff']) {
      for (const { path } of [fetchJwtSvid, validateJwtSvid]) {
        assert.equal((await refusalOf(client.unary(path, Buffer.from(hex, 'hex'))))[0], 'INVALID_ARGUMENT', hex);
      }
    }
    const wellFormed = encodeMessage(JwtSvidRequest, { audience: ['\ud800'] });
    assert.deepEqual(decodeMessage(JwtSvidRequest, wellFormed, 99).audience, ['\ufffd']);
  }));

test('a process that ended while its token was signed does not get it', () =>
  withApi(async (api, client) => {
    api.caller.assertAlive = () => {
      throw goneProcess();
    };
    assert.equal((await refusalOf(client.jwtSvids({ audience: ['x'] })))[0], 'UNAVAILABLE');
  }));

test('ValidateJWTSVID tells all claims of an own token, its audience as a list', () =>
  withApi(async (api, client) => {
    const exp = Math.floor(Date.now() / 1000) + 60;
    const token = await api.domain.signToken({ sub: WEB, aud: 'api', exp, team: { name: 'x' } });
    const { spiffeId, claims } = await client.validate({ audience: 'api', svid: token });
    assert.equal(spiffeId, WEB);
    assert.deepEqual(structToJson(claims!), { sub: WEB, aud: ['api'], exp, team: { name: 'x' } });
    const [{ svid } = { svid: '' }] = (await client.jwtSvids({ audience: ['api', 'more'] })).svids;
    assert.deepEqual(structToJson((await client.validate({ audience: 'more', svid })).claims!)['aud'], ['api', 'more']);
  }));

test('ValidateJWTSVID tells of a foreign token sub, aud and exp alone, and only while an entry federates with its domain', () =>
  withApi(async (api, client) => {
    const other = await createTestTrustDomain('other.test');
    const exp = Math.floor(Date.now() / 1000) + 60;
    const sub = 'spiffe://other.test/x';
    const svid = await other.signToken({ sub, aud: ['api'], exp, iat: exp - 90, team: 'x' });
    const unknown = ['INVALID_ARGUMENT', 'no keys found for trust domain "other.test"'];
    assert.deepEqual(await refusalOf(client.validate({ audience: 'api', svid })), unknown);
    api.foreignBundles.set(new Map([[other.bundle.value.trustDomain, other.bundle.value]]));
    assert.deepEqual(await refusalOf(client.validate({ audience: 'api', svid })), unknown);
    api.entries.set([testEntry('/web', { federatesWith: [other.bundle.value.trustDomain] })]);
    const { claims } = await client.validate({ audience: 'api', svid });
    assert.deepEqual(structToJson(claims!), { sub, aud: ['api'], exp });
    const posing = await other.signToken({ sub: WEB, aud: ['api'], exp });
    assert.deepEqual(await refusalOf(client.validate({ audience: 'api', svid: posing })), [
      'INVALID_ARGUMENT',
      'public key "key-of-other.test" not found in trust domain "example.test"',
    ]);
  }));

test('ValidateJWTSVID refuses what is missing, wrong or over', () =>
  withApi(async (api, client) => {
    const exp = Math.floor(Date.now() / 1000) + 60;
    const svid = await api.domain.signToken({ sub: WEB, aud: ['api'], exp });
    const cases = [
      [{ svid }, 'audience must be specified'],
      [{ audience: 'api' }, 'svid must be specified'],
      [{ audience: 'x', svid }, 'expected audience in ["x"] (audience=["api"])'],
      [{ audience: 'api', svid: `${svid}\n` }, 'token is not in base64url without padding'],
    ] as const;
    for (const [request, text] of cases) {
      assert.deepEqual(await refusalOf(client.validate(request)), ['INVALID_ARGUMENT', text]);
    }
  }));

test('ValidateJWTSVID does not answer a caller whose entry is gone, nor for a revoked SPIFFE ID', () =>
  withApi(async (api, client) => {
    const [{ svid, spiffeId } = { svid: '', spiffeId: '' }] = (await client.jwtSvids({ audience: ['api'] })).svids;
    await client.validate({ audience: 'api', svid });
    api.revokedIds.add(api.entries.value[0]!.spiffeId);
    assert.equal(
      (await refusalOf(client.validate({ audience: 'api', svid })))[1],
      'the SPIFFE ID of the token has been revoked',
    );
    assert.equal(spiffeId, WEB);
    api.entries.set([]);
    assert.deepEqual(await refusalOf(client.validate({ audience: 'api', svid })), NO_IDENTITY);
  }));

test('time is that of the clock', async () => {
  const clock = createTestClock();
  await using api = await startTestWorkloadApi({ clock });
  using client = connectWorkload(api.address);
  const [{ svid } = { svid: '' }] = (await client.jwtSvids({ audience: ['api'] })).svids;
  await client.validate({ audience: 'api', svid });
  clock.set(clock.now() + 300_000);
  assert.deepEqual(await refusalOf(client.validate({ audience: 'api', svid })), [
    'INVALID_ARGUMENT',
    'token has expired',
  ]);
});
