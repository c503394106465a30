/**
 * Every fault behind a real Envoy with `failure_mode_allow: true`, which lets pass what is not explicitly denied: each must be
 * a deny. An answer that came too late would be counted as an error, and let pass.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { configFolder, serve } from '../support/cli.ts';
import { foreignPeer } from '../support/foreign-peer.ts';
import { startGateEnvoy, type GateEnvoy } from '../support/gate-envoy.ts';
import { connect } from '../support/grpc-client.ts';
import { startHttpStandIn, type Answer } from '../support/http-stand-in.ts';
import { jwksOf, makeJwtIssuer, signJwt, type JwtIssuer } from '../support/jwt-issuer.ts';
import { entriesFor, startTestServer, type TestServer } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { createTestTrustDomain } from '../support/test-trust-domain.ts';
import { makeTlsServerFiles } from '../support/tls-server-files.ts';
import { fetchIdentity, type PeerIdentity } from '../support/tls-peer.ts';
import { waitUntil } from '../support/wait-until.ts';

/** Each path is a fault of its own; a path that no rule has is undefined. */
const POLICY = `package envoy.authz

name := input.parsed_path[0]

allow if name == "open"

allow := true if name == "conflict"

allow := false if name == "conflict"

allow := "true" if name == "text"

allow := [true] if name == "list"

allow := {"allowed": "yes"} if name == "yes"

allow := {"allowed": true, "headers": {":path": "/admin"}} if name == "steer"

allow := {"allowed": true, "headers": {"x-a": "b\\r\\nx-c: d"}} if name == "split"

allow := {"allowed": false, "http_status": 200} if name == "success"

allow := {"allowed": false, "dynamic_metadata": {"a": nested}} if name == "nested"

nested := json.unmarshal(sprintf("%s1%s", [concat("", [x | some _ in numbers.range(1, 900); x := "["]), concat("", [x | some _ in numbers.range(1, 900); x := "]"])]))

allow if {
	name == "body"
	input.parsed_body.amount == 1
}

allow if {
	name == "verified"
	input.svidgate.peer.verified
}

allow if {
	name == "token"
	input.svidgate.jwt.verified
}

spin if {
	name
	xs := numbers.range(1, 9000)
	count([1 | some a in xs; some b in xs; a * b == 0]) == 1
}

grow if {
	name
	count([x | some a in numbers.range(1, 20000); x := numbers.range(a, 20000)]) == 1
}
`;

const POLICIES = `
    default: { path: ./authz.rego }
    spin: { path: ./authz.rego, entrypoint: envoy/authz/spin }
    grow: { path: ./authz.rego, entrypoint: envoy/authz/grow }
    broken: { path: ./broken.rego }
    nowhere: { path: ./nowhere }
    nothing: { path: ./authz.rego, entrypoint: envoy/authz/nothing }
`;

/** `/p/NAME/` asks the policy of that name, all else the default one. */
const routes = {
  route_config: {
    virtual_hosts: [
      {
        name: 'all',
        domains: ['*'],
        routes: [
          ...['spin', 'grow', 'broken', 'nowhere', 'nothing', 'nobody', 'constructor', '__proto__'].map((name) => ({
            match: { prefix: `/p/${name}/` },
            direct_response: { status: 200 },
            typed_per_filter_config: {
              'envoy.filters.http.ext_authz': {
                '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
                check_settings: { context_extensions: { 'svidgate.policy': name } },
              },
            },
          })),
          { match: { prefix: '/' }, direct_response: { status: 200 } },
        ],
      },
    ],
  },
};

interface Parts {
  readonly identity?: Pick<PeerIdentity, 'cert' | 'key'>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

interface Got {
  readonly status: number;
  readonly body: string;
}

function get(at: GateEnvoy, path: string, { identity, headers = {}, body = '' }: Parts = {}): Promise<Got> {
  return new Promise((resolve) => {
    const method = body === '' ? 'GET' : 'POST';
    const target = { host: at.address, port: at.port, path, method, headers, rejectUnauthorized: false, agent: false };
    const done = (status: number, body: string): void => resolve({ status, body });
    const sent = request({ ...target, ...identity, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('end', () => done(response.statusCode ?? 0, text));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', () => done(0, ''));
    sent.end(body);
  });
}

const bearer = (token: string): Parts => ({ headers: { authorization: `Bearer ${token}` } });
/** How the keys of one issuer each are given. */
const jwksAnswers = (good: string): Readonly<Record<string, Answer>> => ({
  good: (_, response) => void response.end(good),
  hangs: () => undefined,
  redirects: (_, response) => void response.writeHead(302, { location: '/good' }).end(),
  html: (_, response) => void response.setHeader('content-type', 'text/html').end('<html>please log in</html>'),
  error: (_, response) => void response.writeHead(500).end(good),
  empty: (_, response) => void response.end('{"keys":[]}'),
  // 100 MB, if anybody took them.
  huge(_, response) {
    const piece = Buffer.alloc(1 << 20, ' ');
    let left = 100;
    const more = (): void => {
      while (left > 0 && !response.destroyed) {
        left -= 1;
        if (!response.write(piece)) return void response.once('drain', more);
      }
      response.end(good);
    };
    more();
  },
});

interface Stage extends AsyncDisposable {
  readonly server: TestServer;
  readonly envoy: GateEnvoy;
  readonly key: JwtIssuer;
  readonly answers: Record<string, Answer>;
  token(issuer: string, by?: JwtIssuer): Promise<string>;
}

async function startStage(): Promise<Stage> {
  await using open = new AsyncDisposableStack();
  const folder = open.use(await tempFolder());
  const tls = await makeTlsServerFiles(folder.path);
  const key = await makeJwtIssuer('key');
  const answers: Record<string, Answer> = { ...jwksAnswers(jwksOf(key)) };
  const answer: Answer = (asked, response) => answers[(asked.url ?? '').slice(1)]?.(asked, response);
  const keys = open.use(await startHttpStandIn({ tls, answer }));
  const providers = Object.keys(answers).map(
    (name) =>
      `    ${name}: { issuer: "https://${name}.test", audiences: [api], jwks_uri: "https://localhost:${keys.port}/${name}", ca_file: ${tls.caFile} }`,
  );
  const server = open.use(
    await startTestServer({
      entries: entriesFor('/envoy', '/peer'),
      config: `authz:
  listen: unix:./authz.sock
  eval_timeout: 300ms
  jwt_providers:
${providers.join('\n')}
  policies:${POLICIES}`,
      files: { 'authz.rego': POLICY, 'broken.rego': 'package envoy.authz\n\nallow if {' },
    }),
  );
  const envoy = open.use(await startGateEnvoy(server, routes));
  const closing = open.move();
  return {
    server,
    envoy,
    key,
    answers,
    token: (issuer, by = key) =>
      signJwt(by, { iss: `https://${issuer}.test`, aud: 'api', sub: 'me', exp: Math.floor(Date.now() / 1000) + 600 }),
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

describe('behind an Envoy that lets pass what is not explicitly denied', { timeout: 240_000 }, () => {
  test('every fault of a policy or a request is a deny in time, and says nothing of why', async (t) => {
    await using stage = await startStage();
    const { server, envoy } = stage;
    let asked = 0;
    const expect = async (path: string, status: number, parts: Parts = {}): Promise<void> => {
      asked += 1;
      const got = await get(envoy, path, parts);
      assert.equal(got.status, status, path);
      assert.doesNotMatch(got.body, /rego|conflict|timeout|jwks|json|\/tmp|spiffe/i);
    };
    await expect('/open', 200);

    for (const path of ['/none', '/conflict', '/text', '/list', '/yes', '/steer', '/split', '/success', '/nested']) {
      await t.test(`what the policy gives at ${path}`, () => expect(path, 403));
    }
    for (const name of ['spin', 'grow', 'broken', 'nowhere', 'nothing', 'nobody', 'constructor', '__proto__']) {
      await t.test(`the policy ${name}`, () => expect(`/p/${name}/open`, 403));
    }

    await t.test('bodies that are not what their type says', async () => {
      const json = { 'content-type': 'application/json' };
      const deep = (levels: number): string => `{"a":${'['.repeat(levels)}${']'.repeat(levels)},"amount":2}`;
      await expect('/body', 200, { headers: json, body: '{"amount":1}' });
      await expect('/body', 403, { headers: json, body: '{"amount":2}' });
      await expect('/body', 400, { headers: json, body: '{"amount":1' });
      await expect('/body', 400, { headers: json, body: '<amount>1</amount>' });
      for (const levels of [1000, 9990]) await expect('/body', 403, { headers: json, body: deep(levels) });
      await expect('/body', 400, { headers: json, body: deep(1_000_000) });
      await expect('/open%zz', 400);
    });

    await t.test('more than the gate takes', () =>
      expect('/open', 403, { headers: { 'x-large': 'x'.repeat(5_000_000) } }),
    );

    await t.test('a full queue', async () => {
      using client = connect(server.gate);
      const call = { attributes: { contextExtensions: { 'svidgate.policy': 'spin' } } };
      const others = Promise.all(Array.from({ length: 1500 }, () => client.check(call, { timeoutMs: 20_000 })));
      await Promise.all(Array.from({ length: 20 }, () => expect('/p/spin/x', 403)));
      for (const { status } of await others) assert.equal(status?.code, 7);
      await expect('/open', 200);
    });

    const { ok, denied, error } = await envoy.counts();
    assert.equal(error, 0, 'Envoy was told what to do each time');
    assert.equal(ok + denied, asked);
  });

  test('every fault of an issuer, of its keys and of bundles is a deny in time', async (t) => {
    await using stage = await startStage();
    const { server, envoy, answers } = stage;
    const expect = async (path: string, status: number, parts: Parts): Promise<void> => {
      const got = await get(envoy, path, parts);
      assert.equal(got.status, status, path);
    };
    const good = bearer(await stage.token('good'));
    await waitUntil('the keys', 10_000, async () => (await get(envoy, '/token', good)).status === 200);
    for (const name of Object.keys(answers).filter((one) => one !== 'good')) {
      await t.test(`keys of an issuer whose server is: ${name}`, async () => {
        const token = await stage.token(name);
        await Promise.all(Array.from({ length: 5 }, () => expect('/token', 403, bearer(token))));
      });
    }

    await t.test('tokens of keys that nobody published, while they are asked for', async () => {
      const stranger = await makeJwtIssuer('stranger');
      const token = await stage.token('good', stranger);
      answers['good'] = () => undefined;
      await Promise.all(Array.from({ length: 5 }, () => expect('/token', 403, bearer(token))));
      await expect('/token', 200, good);
    });

    await t.test('a peer of a trust domain whose bundle is not there', async () => {
      const foreign = await foreignPeer(await createTestTrustDomain('partner.test'));
      const own = await fetchIdentity(server.socket, 'spiffe://example.test/peer');
      await expect('/verified', 200, { identity: own });
      await expect('/verified', 403, { identity: foreign });
      await expect('/verified', 403, {});
    });

    await t.test('no entry for the caller any more', async () => {
      await server.write('entries.yaml', JSON.stringify({ entries: [] }));
      await waitUntil('the entries to be gone', 10_000, async () => (await get(envoy, '/open')).status === 403);
      await expect('/open', 403, good);
    });
    assert.equal((await envoy.counts()).error, 0, 'Envoy was told what to do each time');
  });

  test('told to end by SIGTERM, the process answers every request that it has', async () => {
    await using folder = await tempFolder();
    const tls = await makeTlsServerFiles(folder.path);
    await using keys = await startHttpStandIn({ tls, answer: () => undefined });
    const provider = `{ issuer: "https://hangs.test", audiences: [api], jwks_uri: "https://localhost:${keys.port}/", ca_file: ${tls.caFile} }`;
    await using config = await configFolder(`entries: ./entries.yaml
authz:
  listen: unix:./authz.sock
  jwt_providers: { hangs: ${provider} }
  policies: { default: { path: ./authz.rego } }`);
    const { path } = config;
    await writeFile(join(path, 'authz.rego'), POLICY);
    await writeFile(join(path, 'entries.yaml'), entriesFor('/envoy'));
    await using program = serve(path);
    await program.started();
    const at = { folder: path, socket: `unix:${path}/api.sock`, gate: `unix:${path}/authz.sock` };
    await using envoy = await startGateEnvoy(at);
    assert.equal((await get(envoy, '/open')).status, 200);
    // Each waits for keys that do not come, for half of its time.
    const token = await signJwt(await makeJwtIssuer('key'), {
      iss: 'https://hangs.test',
      aud: 'api',
      exp: Math.floor(Date.now() / 1000) + 600,
    });
    const waiting = Array.from({ length: 40 }, () => get(envoy, '/token', bearer(token)));
    await waitUntil('them to be at the gate', 10_000, async () => {
      const active = await envoy.envoy.stat('cluster.gate.upstream_rq_active');
      return active === 40;
    });
    await pause(100);
    program.child.kill('SIGTERM');
    for (const { status } of await Promise.all(waiting)) assert.equal(status, 403);
    assert.equal((await envoy.counts()).error, 0, 'Envoy was told what to do each time');
    assert.equal(await program.ended, 0);
  });
});
