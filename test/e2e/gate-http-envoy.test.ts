/** Envoy's http_service: the same Envoy asks through both doors of the gate. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startDoorEnvoy, type DoorEnvoy } from '../support/door-envoy.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import type { HttpAnswer, HttpAsked } from '../support/http-asker.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { fetchIdentity, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

const ID = 'spiffe://example.test';
/** By its path a request chooses what is answered; only a verified peer gets anything. */
const POLICY = `package envoy.authz

default allow := {"allowed": false}

peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified

path := input.parsed_path

allow := {
	"allowed": true,
	"headers": {"x-up-a": [peer, "2"], "x-not-listed": "1"},
	"request_headers_to_remove": ["x-secret"],
	"response_headers_to_add": {"x-down-a": "d"},
	"dynamic_metadata": {"team": "blue"},
} if {
	path == ["allowed"]
	peer == "${ID}/peer"
}

allow := {"allowed": false, "http_status": 401, "headers": {"www-authenticate": "Negotiate"}, "body": "who?"} if path == ["login"]

allow := {"allowed": false, "http_status": 503} if path == ["busy"]

allow := {"allowed": false, "http_status": 200} if path == ["ok"]

allow := {"allowed": true, "query_parameters_to_remove": ["a"]} if path == ["query"]

allow := {"allowed": true} if {
	path == ["body"]
	input.parsed_body.a == 1
	not input.truncated_body
}

allow := {"allowed": true, "svidgate": {"jwt_svid": {"audience": "api.test", "spiffe_id": "${ID}/envoy", "header": "x-up-b"}}} if path == ["egress"]

allow := json.unmarshal("[]") if path == ["broken"]
`;

for (const version of envoyVersions()) {
  describe(`the gate's doors for ${version.name}`, { skip: version.skip }, () => {
    let server: TestServer;
    let doors: DoorEnvoy;
    let peer: PeerIdentity;
    before(async () => {
      server = await startTestServer({
        entries: entriesFor('/envoy', '/peer'),
        config: `authz:
  listen: unix:./gate.sock
  policies: { default: { path: ./authz.rego } }
  egress: { audiences: [api.test] }
  http: { listen: unix:./http.sock, request: envoy, path_prefix: /check, policy_in_path: true, peer: xfcc }
`,
        files: { 'authz.rego': POLICY },
      });
      const address = server.running.addresses.http ?? '';
      doors = await startDoorEnvoy(server, { address, pathPrefix: '/check/default' }, version.path);
      peer = await fetchIdentity(server.socket, `${ID}/peer`);
    });
    after(async () => {
      await doors[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });

    const both = async (asked: HttpAsked, as: PeerIdentity | 'nobody' = peer): Promise<HttpAnswer> => {
      const identity = as === 'nobody' ? undefined : as;
      const [grpc, http] = await Promise.all([
        doors.send('grpc', asked, identity),
        doors.send('http', asked, identity),
      ]);
      const shown = ({ status, headers, body }: HttpAnswer): unknown => ({
        status,
        body: body.replaceAll(/[0-9a-f-]{36}/g, 'decision'),
        down: headers['x-down-a'],
        login: headers['www-authenticate'],
        type: headers['content-type'],
      });
      assert.deepEqual(shown(http), shown(grpc));
      return http;
    };

    test('an allow, with its headers up and down, and what is taken out', async () => {
      const headers = ['host', 'orders.test', 'x-secret', 'of the client', 'x-up-a', 'forged'];
      const { status, headers: got } = await both({ path: '/allowed?a=b', headers });
      assert.deepEqual([status, got['x-down-a']], [200, 'd']);
      const seen = String(got['x-seen']);
      assert.match(seen, new RegExp(`^up-a=${ID}/peer,2 up-b= secret= `));
      assert.equal(got['x-not-listed'], undefined);
      const line = await waitUntil('the access log', 10_000, () =>
        doors.envoy
          .log()
          .split('\n')
          .find((each) => each.startsWith('http {')),
      );
      assert.match(line, /"x-svidgate-decision-id":"[0-9a-f-]{36}"/);
      assert.match(line, /"x-svidgate-metadata":"\{\\"team\\":\\"blue\\"\}"/);
    });

    test('a deny with its status, headers and body; one that Envoy would take for an error or an allow is a 403', async () => {
      const login = await both({ path: '/login' });
      assert.deepEqual([login.status, login.headers['www-authenticate'], login.body], [401, 'Negotiate', 'who?']);
      const before = await doors.counts('http');
      for (const path of ['/busy', '/ok', '/query', '/broken']) {
        assert.equal((await doors.send('http', { path }, peer)).status, 403, path);
      }
      assert.equal((await both({ path: '/a%2' })).status, 400);
      const counts = await doors.counts('http');
      assert.deepEqual(
        [counts.error, counts.ok],
        [before.error, before.ok],
        'explicit denies, which nothing lets pass',
      );
    });

    test('a body, and one that is cut', async () => {
      const json = (text: string): HttpAsked => ({
        method: 'POST',
        path: '/body',
        body: text,
        headers: ['host', 'a.test', 'content-type', 'application/json', 'content-length', String(text.length)],
      });
      assert.equal((await both(json('{"a":1}'))).status, 200);
      assert.equal((await both(json('{"a":2}'))).status, 403);
      assert.equal((await both(json(`{"a":1,"b":"${'x'.repeat(2000)}"}`))).status, 403);
    });

    test('a peer without a certificate, and one that says in the header that it has another', async () => {
      assert.equal((await both({ path: '/allowed' }, 'nobody')).status, 403);
      const envoy = await fetchIdentity(server.socket, `${ID}/envoy`);
      const xfcc = `By=${ID}/envoy;URI=${ID}/peer;Cert="${encodeURIComponent(peer.cert)}"`;
      for (const as of [undefined, envoy]) {
        const headers = ['host', 'a.test', 'x-forwarded-client-cert', xfcc];
        assert.equal((await doors.send('http', { path: '/allowed', headers }, as)).status, 403);
      }
    });

    test('a JWT-SVID takes the place of what the client sent, and comes through both doors', async () => {
      const asked = { path: '/egress', headers: ['host', 'a.test', 'x-up-b', 'of the client'] };
      for (const door of ['grpc', 'http'] as const) {
        const { status, headers } = await doors.send(door, asked, peer);
        assert.equal(status, 200);
        const [, token = ''] = / up-b=Bearer (\S+) /.exec(String(headers['x-seen'])) ?? [];
        const { sub } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { sub: string };
        assert.equal(sub, `${ID}/envoy`);
      }
    });

    test('a peer that is revoked, at its next request', async () => {
      assert.equal((await both({ path: '/allowed' })).status, 200);
      await cliOf(server).text('svid', 'revoke', '--serial', peer.serial);
      assert.equal((await both({ path: '/allowed' })).status, 403);
    });
  });
}
