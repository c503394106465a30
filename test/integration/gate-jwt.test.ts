/** Tokens at the gate of a whole server: JWT-SVIDs of its own, and an outside issuer whose keys come over HTTPS. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { makeJwtIssuer, jwksOf, signJwt } from '../support/jwt-issuer.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { startHttpStandIn, type Answer } from '../support/http-stand-in.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { makeTlsServerFiles } from '../support/tls-server-files.ts';
import { waitUntil } from '../support/wait-until.ts';
import { connectWorkload } from '../support/workload-client.ts';

/** Shows what was found out about tokens; `/open` is for everybody. */
const POLICY = `package envoy.authz

allow := {"allowed": input.parsed_path == ["open"], "body": json.marshal(input.svidgate.jwt)}
`;
const ISSUER = 'https://issuer.test';
const WEB = 'spiffe://example.test/web';

type Headers = Readonly<Record<string, string>>;

async function check(gate: RawClient, headers: Headers, path = '/') {
  const attributes = { request: { http: { method: 'GET', path, headers } } };
  const { httpResponse, status, deniedResponse } = await gate.check({ attributes }, { timeoutMs: 2000 });
  return { isAllowed: httpResponse === 'okResponse' && status?.code === 0, body: deniedResponse?.body ?? '' };
}

async function jwtOf(gate: RawClient, headers: Headers): Promise<Readonly<Record<string, unknown>>> {
  return JSON.parse((await check(gate, headers)).body) as Readonly<Record<string, unknown>>;
}

const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` });

function configOf(lines: readonly string[]): string {
  return [
    'authz:',
    '  listen: unix:./authz.sock',
    '  policies: { default: { path: ./authz.rego } }',
    ...lines,
    '',
  ].join('\n');
}

async function fetchSvid(server: TestServer, audience: string): Promise<string> {
  using workload = connectWorkload(server.socket);
  const { svids } = await workload.jwtSvids({ audience: [audience], spiffeId: WEB });
  return svids[0]?.svid ?? '';
}

test('a JWT-SVID is verified at the gate, and denied on every policy when its SPIFFE ID is revoked', async () => {
  await using server = await startTestServer({
    entries: entriesFor('/web', '/envoy'),
    config: configOf(['  jwt_svid: { audiences: [orders] }']),
    files: { 'authz.rego': POLICY },
  });
  using gate = connect(server.gate);
  const token = await fetchSvid(server, 'orders');
  const { claims, ...shown } = await jwtOf(gate, bearer(token));
  const one = { verified: true, header: 'authorization', provider: 'jwt_svid', spiffe_id: WEB };
  assert.deepEqual(shown, { ...one, tokens: [{ ...one, claims }] });
  assert.deepEqual((claims as Readonly<Record<string, unknown>>)['aud'], ['orders']);
  assert.deepEqual(await jwtOf(gate, {}), { verified: false, reason: 'absent', tokens: [] });
  const { reason } = await jwtOf(gate, bearer(await fetchSvid(server, 'other')));
  assert.equal(reason, 'audience_mismatch');
  assert.equal((await check(gate, bearer(token), '/open')).isAllowed, true);

  const svidgate = cliOf(server);
  const revoked = await svidgate.json('svid', 'revoke', '--spiffe-id', WEB);
  assert.equal((await check(gate, bearer(token), '/open')).isAllowed, false);
  assert.ok(server.lines.some((line) => line.message === 'request denied' && line.reason?.startsWith('token_revoked')));
  assert.equal((await check(gate, {}, '/open')).isAllowed, true);
  await svidgate.text('svid', 'unrevoke', (revoked as { readonly revocation_id: string }).revocation_id);
  assert.equal((await check(gate, bearer(token), '/open')).isAllowed, true);
  const signature = token.split('.')[2] ?? '';
  assert.ok(!JSON.stringify(server.lines).includes(signature), 'no log line has the token');
});

test('without configuration no token is looked at', async () => {
  await using server = await startTestServer({
    entries: entriesFor('/web'),
    config: configOf([]),
    files: { 'authz.rego': POLICY },
  });
  using gate = connect(server.gate);
  const shown = await jwtOf(gate, bearer(await fetchSvid(server, 'orders')));
  assert.deepEqual(shown, { verified: false, reason: 'absent', tokens: [] });
});

const give =
  (body: string): Answer =>
  (_request, response) =>
    void response.end(body);

test('tokens of an outside issuer: its keys come over HTTPS, and one that hangs holds no decision', async () => {
  await using folder = await tempFolder();
  const tls = await makeTlsServerFiles(folder.path);
  const [one, two] = [await makeJwtIssuer('one', 'rsa'), await makeJwtIssuer('two')];
  await using keys = await startHttpStandIn({ tls, answer: () => undefined });
  await using server = await startTestServer({
    entries: entriesFor('/web', '/envoy'),
    config: configOf([
      '  jwt_svid: { audiences: [orders] }',
      '  jwt_providers:',
      '    outside:',
      `      issuer: ${ISSUER}`,
      '      audiences: [api]',
      `      jwks_uri: https://localhost:${keys.port}/keys`,
      `      ca_file: ${tls.caFile}`,
      '      header: x-token',
      '      required_claims: { owner: [acme] }',
    ]),
    files: { 'authz.rego': POLICY },
  });
  using gate = connect(server.gate);
  const exp = Math.floor(Date.now() / 1000) + 300;
  const token = await signJwt(
    one,
    `{"iss":"${ISSUER}","aud":"api","exp":${exp},"owner":"acme","id":12345678901234567890}`,
  );
  const startedAt = performance.now();
  assert.equal((await jwtOf(gate, { 'x-token': token }))['reason'], 'keys_unavailable');
  assert.ok(performance.now() - startedAt < 1900, 'the check ended before its deadline');

  keys.answer = give(jwksOf(one));
  const text = await waitUntil('the keys', 20_000, async () => {
    const { body } = await check(gate, { 'x-token': token });
    return body.includes('"verified":true') && body;
  });
  assert.match(text, /"id":12345678901234567890\b/, 'numbers are what was signed');
  const { provider, spiffe_id: none } = await jwtOf(gate, { 'x-token': token });
  assert.deepEqual([provider, none], ['outside', undefined]);

  const both = { 'x-token': token, ...bearer(await fetchSvid(server, 'orders')) };
  const { verified, reason, tokens } = await jwtOf(gate, both);
  assert.deepEqual([verified, reason], [false, 'several_tokens']);
  const providers = (tokens as readonly Readonly<Record<string, unknown>>[]).map((found) => [
    found['provider'],
    found['verified'],
  ]);
  assert.deepEqual(providers, [
    ['outside', true],
    ['jwt_svid', true],
  ]);
  const wrong = await signJwt(two, { iss: ISSUER, aud: 'api', exp, owner: 'other' });
  assert.equal((await jwtOf(gate, { 'x-token': wrong }))['reason'], 'claim_mismatch');
  const unknown = await signJwt(two, { iss: ISSUER, aud: 'api', exp, owner: 'acme' });
  assert.equal((await jwtOf(gate, { 'x-token': unknown }))['reason'], 'unknown_key');
});

/** An RS256 token whose signature openssl makes, with a key of its own. */
async function opensslSigner(folder: string) {
  const openssl = promisify(execFile);
  const key = join(folder, 'rsa.key');
  await openssl('openssl', ['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', key]);
  const jwk = createPublicKey(await readFile(key)).export({ format: 'jwk' });
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return {
    jwks: JSON.stringify({ keys: [{ ...jwk, kid: 'openssl' }] }),
    async sign(claims: Readonly<Record<string, unknown>>): Promise<string> {
      const content = `${encode({ alg: 'RS256', kid: 'openssl' })}.${encode(claims)}`;
      const file = join(folder, 'content');
      await writeFile(file, content);
      const args = ['dgst', '-sha256', '-sign', key, file];
      const { stdout } = await openssl('openssl', args, { encoding: 'buffer' });
      return `${content}.${stdout.toString('base64url')}`;
    },
  };
}

test('a token that openssl signed is verified once where it is for a single use', async () => {
  await using folder = await tempFolder();
  const signer = await opensslSigner(folder.path);
  const provider = `{ issuer: ${ISSUER}, audiences: [api], jwks_file: ./jwks.json, clock_skew: 0s, single_use: true }`;
  await using server = await startTestServer({
    entries: entriesFor('/envoy'),
    config: configOf([`  jwt_providers: { outside: ${provider} }`]),
    files: { 'authz.rego': POLICY, 'jwks.json': signer.jwks },
  });
  using gate = connect(server.gate);
  let uses = 0;
  const token = await waitUntil('a token that was issued after the start', 20_000, async () => {
    const now = Math.floor(Date.now() / 1000);
    const fresh = await signer.sign({ iss: ISSUER, aud: 'api', iat: now, exp: now + 60, jti: `use ${(uses += 1)}` });
    return (await jwtOf(gate, bearer(fresh)))['verified'] === true && fresh;
  });
  const { verified, reason, claims } = await jwtOf(gate, bearer(token));
  assert.deepEqual({ verified, reason, claims }, { verified: false, reason: 'replayed', claims: undefined });
});
