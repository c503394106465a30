import assert from 'node:assert/strict';
import { test } from 'node:test';
import { structToJson } from '../../src/proto/index.ts';
import { connect } from '../support/grpc-client.ts';
import { startHttpStandIn } from '../support/http-stand-in.ts';
import { entriesFor, startTestServer } from '../support/server.ts';

const POLICY = (port: number, other: number): string => `package envoy.authz

default allow := false

directory := {"/other": "http://127.0.0.1:${other}"}

allow if {
	path := input.attributes.request.http.path
	base := object.get(directory, path, "http://127.0.0.1:${port}")
	person := http.send({"method": "GET", "url": sprintf("%s%s?token=a-secret", [base, path])})
	person.body.active == true
}
`;

test('the gate decides by what an allowed origin says, and denies where it says nothing', async () => {
  await using people = await startHttpStandIn({
    answer: (request, response) => {
      if (request.url?.startsWith('/silent') === true) return;
      const active = request.url?.startsWith('/ann') === true;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ active }));
    },
  });
  await using other = await startHttpStandIn({
    answer: (_request, response) => void response.writeHead(200).end('{"active":true}'),
  });
  await using server = await startTestServer({
    entries: entriesFor('/caller'),
    config: `authz:
  listen: unix:./authz.sock
  eval_timeout: 20s
  http_send: { allow: ["http://127.0.0.1:${people.port}"], timeout: 3s }
  policies: { default: { path: ./authz.rego, entrypoint: envoy/authz/allow } }
`,
    files: { 'authz.rego': POLICY(people.port, other.port) },
  });
  using client = connect(server.gate);
  const cases = [
    ['/ann', undefined],
    ['/bob', 'policy_denied'],
    ['/silent', 'evaluation_error'],
    ['/other', 'evaluation_error'],
    ['/ann', undefined],
  ] as const;
  for (const [path, reason] of cases) {
    const { status, dynamicMetadata } = await client.check(
      { attributes: { request: { http: { path } } } },
      { timeoutMs: 20_000 },
    );
    assert.ok(dynamicMetadata);
    assert.equal(structToJson(dynamicMetadata)['reason'], reason, path);
    assert.equal(status?.code, reason === undefined ? 0 : 7, path);
  }
  assert.equal(other.requests.length, 0);
  const log = JSON.stringify(server.lines);
  assert.match(log, /http\.send to http:\/\/127\.0\.0\.1:\d+: it did not answer in time/);
  assert.match(log, /authz\.http_send does not allow it/);
  assert.doesNotMatch(log, /a-secret/);
});
