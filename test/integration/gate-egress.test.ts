/** JWT-SVIDs that a policy has put into requests that leave: for whom, of whom, and what happens where there is none. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { structToJson, type CheckRequestInit, type CheckResponse } from '../../src/proto/index.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { askHttp } from '../support/http-asker.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity } from '../support/tls-peer.ts';

/** The request says what is wished for; of a token that came with it, what was found out. */
const POLICY = `package envoy.authz

headers := input.attributes.request.http.headers

allow := object.union({"allowed": true}, json.unmarshal(headers["x-answer"])) if headers["x-answer"]

allow := {"allowed": true, "headers": {"x-jwt": json.marshal(input.svidgate.jwt)}} if not headers["x-answer"]
`;
/** Wishes whatever the request is. */
const ALWAYS = `package envoy.authz

allow := {"allowed": true, "svidgate": {"jwt_svid": {"audience": "api.test", "spiffe_id": "spiffe://example.test/one"}}}
`;
const ID = 'spiffe://example.test';
const AUDIENCE = 'api.test';

interface Wish {
  readonly audience?: unknown;
  readonly header?: unknown;
  readonly spiffe_id?: unknown;
  readonly audiance?: unknown;
}

let server: TestServer;
let gate: RawClient;
before(async () => {
  server = await startTestServer({
    entries: entriesFor('/one', '/two'),
    config: `decision_log: {}
authz:
  listen: unix:./gate.sock
  policies: { default: { path: ./authz.rego }, always: { path: ./always.rego } }
  egress: { audiences: [${AUDIENCE}] }
  jwt_svid: { audiences: [${AUDIENCE}] }
  listeners:
    tls: { listen: 127.0.0.1:0, tls: { spiffe_id: ${ID}/gate }, callers: [{ spiffe_id: ${ID}/two }] }
    plain: { listen: 127.0.0.1:0 }
  http: { listen: unix:./http.sock, request: envoy }
`,
    files: { 'authz.rego': POLICY, 'always.rego': ALWAYS },
  });
  gate = connect(server.gate);
});
after(async () => {
  gate[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

function request(answer?: object, headers: Readonly<Record<string, string>> = {}): CheckRequestInit {
  const given: Record<string, string> = answer === undefined ? {} : { 'x-answer': JSON.stringify(answer) };
  return { attributes: { request: { http: { method: 'GET', path: '/', headers: { ...headers, ...given } } } } };
}

const wish = (jwt_svid: Wish, more: object = {}): object => ({ svidgate: { jwt_svid }, ...more });
const ONE = { audience: AUDIENCE, spiffe_id: `${ID}/one` };

function headersOf({ status, okResponse }: CheckResponse): readonly (readonly [name: string, value: string])[] {
  assert.equal(status?.code, 0);
  return (okResponse?.headers ?? []).map(({ header, append }) => {
    assert.equal(append?.value, false, 'it takes the place of what the client sent');
    return [header?.key ?? '', header?.value ?? ''];
  });
}

function reasonOf({ status, dynamicMetadata }: CheckResponse): string {
  assert.equal(status?.code, 7);
  return (structToJson(dynamicMetadata!) as { readonly reason: string }).reason;
}

function claimsOf(value: string): { readonly sub: string; readonly aud: unknown } {
  assert.match(value, /^Bearer [\w-]+\.[\w-]+\.[\w-]+$/);
  return JSON.parse(Buffer.from(value.split('.')[1] ?? '', 'base64url').toString()) as never;
}

describe('a token', () => {
  test('is of the caller, for the audience, and takes the place of every other value', async () => {
    const mine = { headers: { Authorization: 'Basic x', 'x-a': '1' }, request_headers_to_remove: ['authorization'] };
    const response = await gate.check(request(wish(ONE, mine), { authorization: 'Bearer of-the-client' }));
    const headers = headersOf(response);
    assert.deepEqual(
      headers.map(([name]) => name),
      ['x-a', 'authorization'],
    );
    assert.deepEqual(response.okResponse?.headersToRemove, []);
    const { sub, aud } = claimsOf(headers[1]?.[1] ?? '');
    assert.deepEqual([sub, aud], [`${ID}/one`, [AUDIENCE]]);
  });

  test('is taken by the gate that the request comes to', async () => {
    const [[, authorization] = ['', '']] = headersOf(await gate.check(request(wish(ONE))));
    const [[, shown] = ['', '']] = headersOf(await gate.check(request(undefined, { authorization })));
    const { verified, spiffe_id } = JSON.parse(shown) as { readonly verified: boolean; readonly spiffe_id: string };
    assert.deepEqual([verified, spiffe_id], [true, `${ID}/one`]);
  });

  test('is the same one until half of its life is over, goes into another header, and comes over HTTP', async () => {
    const token = async (): Promise<string> => headersOf(await gate.check(request(wish(ONE))))[0]?.[1] ?? '';
    const first = await token();
    assert.equal(await token(), first);
    const [[name, other] = ['', '']] = headersOf(await gate.check(request(wish({ ...ONE, header: 'X-Token' }))));
    assert.deepEqual([name, other], ['x-token', first]);
    const headers = ['host', 'a.test', 'x-answer', JSON.stringify(wish(ONE))];
    const answer = await askHttp(server.running.addresses.http ?? '', { headers });
    assert.deepEqual([answer.status, answer.headers['authorization']], [200, first]);
  });

  test('is of the one SPIFFE ID that a certificate names', async () => {
    const { cert, key } = await fetchIdentity(server.socket, `${ID}/two`);
    const roots = await cliOf(server).text('bundle', 'show', '--format', 'pem');
    const checkServerIdentity = (): undefined => undefined;
    const [root, ownKey, ownCert] = [roots, key, cert].map((text) => Buffer.from(text));
    using client = connect(
      server.running.addresses['gate:tls'] ?? '',
      credentials.createSsl(root ?? null, ownKey ?? null, ownCert ?? null, { checkServerIdentity }),
    );
    const [[, token] = ['', '']] = headersOf(await client.check(request(wish({ audience: AUDIENCE }))));
    assert.equal(claimsOf(token).sub, `${ID}/two`);
    assert.equal(reasonOf(await client.check(request(wish(ONE)))), 'egress_refused', 'of another');
  });

  test('stands in no log and no record', async () => {
    const [[, token] = ['', '']] = headersOf(await gate.check(request(wish(ONE))));
    await server.running.stop('to read what is written');
    const signature = token.split('.')[2] ?? '';
    assert.ok(signature.length > 40);
    assert.equal(JSON.stringify(server.lines).includes(signature), false);
    const folder = join(server.folder, 'data');
    const files = await readdir(folder, { recursive: true, withFileTypes: true });
    const texts = await Promise.all(
      files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), 'latin1')),
    );
    assert.ok(
      texts.some((text) => text.includes(AUDIENCE)),
      'there are records',
    );
    assert.equal(
      texts.some((text) => text.includes(signature)),
      false,
    );
  });
});

describe('no token is a deny', () => {
  let other: TestServer;
  let asked: RawClient;
  before(async () => {
    other = await startTestServer({
      entries: entriesFor('/one', '/two'),
      config: `authz:
  listen: unix:./gate.sock
  on_error: error_response
  policies: { default: { path: ./authz.rego }, always: { path: ./always.rego } }
  egress: { audiences: [${AUDIENCE}] }
  listeners:
    plain: { listen: 127.0.0.1:0 }
    always: { listen: unix:./always.sock, default_policy: always }
`,
      files: { 'authz.rego': POLICY, 'always.rego': ALWAYS },
    });
    asked = connect(other.gate);
  });
  after(async () => {
    asked[Symbol.dispose]();
    await other[Symbol.asyncDispose]();
  });

  const cases: readonly (readonly [name: string, answer: object, reason: string])[] = [
    ['for another audience', wish({ ...ONE, audience: 'other.test' }), 'egress_refused'],
    ['of somebody else', wish({ ...ONE, spiffe_id: `${ID}/three` }), 'egress_refused'],
    ['of one of several, without a name', wish({ audience: AUDIENCE }), 'egress_refused'],
    ['in a header that moves the request', wish({ ...ONE, header: ':path' }), 'reply_refused'],
    ['in a header of Envoy', wish({ ...ONE, header: 'x-envoy-token' }), 'reply_refused'],
    ['in what is no header', wish({ ...ONE, header: 'a b' }), 'reply_refused'],
    ['for several audiences', wish({ ...ONE, audience: [AUDIENCE] }), 'wrong_type'],
    ['for nobody', wish({ spiffe_id: `${ID}/one` }), 'wrong_type'],
    ['for nobody named', wish({ ...ONE, audience: '' }), 'wrong_type'],
    ['with a misspelt key', wish({ ...ONE, audiance: AUDIENCE }), 'wrong_type'],
    ['of another kind', { svidgate: { x509_svid: {} } }, 'wrong_type'],
    ['as a text', { svidgate: 'jwt' }, 'wrong_type'],
  ];
  for (const [name, answer, reason] of cases) {
    test(name, async () => {
      const response = await asked.check(request(answer));
      assert.equal(reasonOf(response), reason);
      // `on_error` lets Envoy pass over failures; what nobody may have is none.
      if (reason !== 'wrong_type') assert.equal(response.deniedResponse?.status?.code, 403);
    });
  }

  test('for a caller that nobody proved', async () => {
    using plain = connect(other.running.addresses['gate:plain'] ?? '');
    assert.equal(reasonOf(await plain.check(request(wish(ONE)))), 'egress_refused');
  });

  test('for a connection, which has no headers', async () => {
    using always = connect(other.running.addresses['gate:always'] ?? '');
    assert.equal(reasonOf(await always.check({ attributes: { source: {} } })), 'egress_refused');
    assert.equal((await always.check(request())).status?.code, 0);
  });

  test('of an identity that is revoked, from the next request on', async () => {
    assert.equal((await asked.check(request(wish(ONE)))).status?.code, 0);
    await cliOf(other).text('svid', 'revoke', '--spiffe-id', `${ID}/one`);
    assert.equal(reasonOf(await asked.check(request(wish(ONE)))), 'egress_refused');
    const [[, token] = ['', '']] = headersOf(await asked.check(request(wish({ audience: AUDIENCE }))));
    assert.equal(claimsOf(token).sub, `${ID}/two`, 'the other one is the only one now');
  });
});
