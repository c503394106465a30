import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDockerAttestor, type WorkloadAttestor } from '../../../src/attestation/index.ts';
import { json, startHttpStandIn, type Answer, type HttpStandIn } from '../../support/http-stand-in.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { never, processOf } from '../../support/own-peer.ts';

const ID = 'a1'.repeat(32);
const OTHER = 'b2'.repeat(32);
const DIGEST = `sha256:${'c3'.repeat(32)}`;
const CALLER = 100;
const FIRST = 50;

/** What Docker 27 answers to GET /containers/ID/json, less what nobody looks at. */
const CONTAINER = {
  Id: ID,
  Created: '2026-11-01T10:00:00.123456789Z',
  Path: '/docker-entrypoint.sh',
  State: {
    Status: 'running',
    Running: true,
    Paused: false,
    Pid: FIRST,
    ExitCode: 0,
    StartedAt: '2026-11-01T10:00:01Z',
  },
  Image: DIGEST,
  Name: '/orders',
  Driver: 'overlay2',
  HostConfig: { CgroupnsMode: 'private' },
  Config: {
    Hostname: ID.slice(0, 12),
    Env: ['PATH=/usr/bin:/bin', 'EMPTY=', 'BARE', 'ENVIRONMENT=prod'],
    Image: 'envoyproxy/envoy:contrib-v1.29.1',
    Labels: { 'com.example.name': 'orders', 'com.example:odd': 'a:b', empty: '' },
  },
};
const VALUES = [
  'image_id:envoyproxy/envoy:contrib-v1.29.1',
  `image_config_digest:${DIGEST}`,
  'label:com.example.name:orders',
  'label:com.example:odd:a:b',
  'label:empty:',
  'env:PATH=/usr/bin:/bin',
  'env:EMPTY=',
  'env:BARE',
  'env:ENVIRONMENT=prod',
];
const CGROUPS: Readonly<Record<number, string>> = { [CALLER]: `0::/docker/${ID}`, [FIRST]: `0::/docker/${ID}` };

interface Engine extends AsyncDisposable {
  readonly server: HttpStandIn;
  attestor(cgroups?: Readonly<Record<number, string>>): WorkloadAttestor;
}

async function startEngine(answer: Answer = json(CONTAINER)): Promise<Engine> {
  const folder = await tempFolder();
  const socket = join(folder.path, 'docker.sock');
  const server = await startHttpStandIn({ socket, answer });
  return {
    server,
    attestor: (cgroups = CGROUPS) =>
      createDockerAttestor({
        socket,
        cgroupsOf: (pid) => {
          const text = cgroups[pid];
          return text === undefined ? Promise.reject(new Error('ENOENT')) : Promise.resolve(text);
        },
      }),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

test('image, digest, labels and environment of the container are given as the engine says them', async () => {
  await using engine = await startEngine();
  assert.deepEqual(await engine.attestor().attest(processOf(CALLER), never), VALUES);
  assert.ok(engine.server.requests.every(({ path }) => path === `/containers/${ID}/json`));
});

test('a container is found by every layout, and a first process that moved deeper into it', async () => {
  await using engine = await startEngine();
  const cases: readonly (readonly [caller: string, first: string])[] = [
    [`0::/system.slice/docker-${ID}.scope`, `0::/system.slice/docker-${ID}.scope`],
    [`0::/docker/${ID}/init`, `0::/docker/${ID}/sub/init`],
    [`12:pids:/docker/${ID}\n0::/`, `12:pids:/docker/${ID}\n0::/`],
    [`0::/../docker-${ID}.scope`, `0::/../docker-${ID}.scope`],
  ];
  for (const [caller, first] of cases) {
    const values = await engine.attestor({ [CALLER]: caller, [FIRST]: first }).attest(processOf(CALLER), never);
    assert.deepEqual(values, VALUES, caller);
  }
});

test('Podman gives the digest without its algorithm; the selector has it', async () => {
  await using engine = await startEngine(json({ ...CONTAINER, Image: DIGEST.slice('sha256:'.length) }));
  const values = await engine.attestor().attest(processOf(CALLER), never);
  assert.ok(values.includes(`image_config_digest:${DIGEST}`));
});

test('a caller in no container, or in one that the engine does not know, has no selectors', async () => {
  await using engine = await startEngine(json({ message: `No such container: ${ID}` }, 404));
  assert.deepEqual(await engine.attestor({ [CALLER]: '0::/user.slice' }).attest(processOf(CALLER), never), []);
  assert.deepEqual(await engine.attestor().attest(processOf(0), never), []);
  assert.equal(engine.server.requests.length, 0);
  assert.deepEqual(await engine.attestor().attest(processOf(CALLER), never), []);
  assert.equal(engine.server.requests.length, 1);
});

test('of nested containers the outermost that the engine knows counts', async () => {
  const nested = `0::/docker/${OTHER}/docker/${ID}`;
  await using engine = await startEngine((request, response) => {
    if (request.url === `/containers/${OTHER}/json`) json({}, 404)(request, response);
    else json(CONTAINER)(request, response);
  });
  const cgroups = { [CALLER]: nested, [FIRST]: nested };
  assert.deepEqual(await engine.attestor(cgroups).attest(processOf(CALLER), never), VALUES);
  engine.server.answer = json({ ...CONTAINER, Id: OTHER, Config: { Image: 'outer' } });
  assert.deepEqual(await engine.attestor(cgroups).attest(processOf(CALLER), never), [
    'image_id:outer',
    `image_config_digest:${DIGEST}`,
  ]);
});

test('a cgroup that only bears the name of a container is not believed', async () => {
  await using engine = await startEngine();
  const cases: readonly (readonly [name: string, cgroups: Readonly<Record<number, string>>])[] = [
    ['made beneath a user', { [CALLER]: `0::/user.slice/user-1000.slice/docker/${ID}`, [FIRST]: `0::/docker/${ID}` }],
    ['in another hierarchy', { [CALLER]: `1:name=systemd:/docker/${ID}`, [FIRST]: `0::/docker/${ID}` }],
    ['whose first process we cannot see', { [CALLER]: `0::/docker/${ID}` }],
    ['whose first process is another by now', { [CALLER]: `0::/docker/${ID}`, [FIRST]: '0::/system.slice/x.service' }],
  ];
  for (const [name, cgroups] of cases) {
    await assert.rejects(
      engine.attestor(cgroups).attest(processOf(CALLER), never),
      { message: 'the caller is not in the container that its cgroup names' },
      name,
    );
  }
});

test('a container that was started anew while we looked is not believed', async () => {
  let asked = 0;
  await using engine = await startEngine((request, response) => {
    asked += 1;
    json(asked === 1 ? CONTAINER : { ...CONTAINER, State: { Running: true, Pid: FIRST + 1 } })(request, response);
  });
  await assert.rejects(engine.attestor().attest(processOf(CALLER), never), /started anew/);
});

test('an answer that is wrong, cut, huge or of another kind fails, and its text is not quoted', async () => {
  await using engine = await startEngine();
  const cases: readonly (readonly [name: string, answer: Answer, reason: RegExp])[] = [
    ['another container', json({ ...CONTAINER, Id: OTHER }), /another container/],
    ['not running', json({ ...CONTAINER, State: { Running: false, Pid: 0 } }), /not running/],
    ['no pid', json({ ...CONTAINER, State: { Running: true, Pid: '50' } }), /not running/],
    ['a pid that is none', json({ ...CONTAINER, State: { Running: true, Pid: -1 } }), /not running/],
    ['no object', json(['secret']), /another container/],
    ['null', json(null), /another container/],
    ['an error', json({ message: 'secret' }, 500), /status 500/],
    [
      'a redirection',
      (_, response) => void response.writeHead(307, { location: 'http://127.0.0.1:1/secret' }).end(),
      /status 307/,
    ],
    ['no JSON', (_, response) => void response.end('<html>secret</html>'), /no JSON/],
    [
      'cut',
      (_, response) => {
        response.writeHead(200, { 'content-length': 1000 }).write('{"Id":');
        setImmediate(() => response.destroy());
      },
      /aborted|cut off|hang up/,
    ],
    [
      'huge',
      (_, response) => {
        const piece = Buffer.alloc(1024 * 1024, ' ');
        for (let count = 0; count < 5; count += 1) response.write(piece);
        response.end();
      },
      /longer than 4194304 bytes/,
    ],
  ];
  for (const [name, answer, reason] of cases) {
    engine.server.answer = answer;
    await assert.rejects(engine.attestor().attest(processOf(CALLER), never), (error: Error) => {
      assert.match(error.message, reason, name);
      assert.ok(!error.message.includes('secret'), name);
      return true;
    });
  }
});

test('fields of another type are left out', async () => {
  const Config = { Image: 5, Labels: { a: 1, b: 'c', __proto__: null }, Env: ['X=1', 2, null, { Y: 1 }] };
  await using engine = await startEngine(json({ ...CONTAINER, Image: null, Config }));
  assert.deepEqual(await engine.attestor().attest(processOf(CALLER), never), ['label:b:c', 'env:X=1']);
  engine.server.answer = json({ ...CONTAINER, Image: undefined, Config: { Labels: null, Env: null } });
  assert.deepEqual(await engine.attestor().attest(processOf(CALLER), never), []);
});

test('an engine that never answers, or drips, holds nobody longer than the signal', async () => {
  await using engine = await startEngine(() => undefined);
  await assert.rejects(engine.attestor().attest(processOf(CALLER), AbortSignal.timeout(50)));
  engine.server.answer = (_, response) => {
    const drip = setInterval(() => response.write(' '), 10);
    response.on('close', () => clearInterval(drip));
  };
  await assert.rejects(engine.attestor().attest(processOf(CALLER), AbortSignal.timeout(100)));
});

test('an engine that is not there, or speaks no HTTP, fails at once', async () => {
  await using folder = await tempFolder();
  const socket = join(folder.path, 's');
  const attestor = createDockerAttestor({ socket, cgroupsOf: () => Promise.resolve(`0::/docker/${ID}`) });
  await assert.rejects(attestor.attest(processOf(CALLER), never), { code: 'ENOENT' });
  const server = createServer((connection) => {
    connection.on('error', () => undefined);
    connection.end('SSH-2.0-x\r\n');
  });
  server.listen(socket);
  try {
    await once(server, 'listening');
    await assert.rejects(attestor.attest(processOf(CALLER), never), { code: /^HPE_/ });
  } finally {
    server.close();
  }
});

test('many callers at once ask the engine sixteen at a time, and all are answered', async () => {
  let underWay = 0;
  let most = 0;
  await using engine = await startEngine((request, response) => {
    underWay += 1;
    most = Math.max(most, underWay);
    setImmediate(() => {
      underWay -= 1;
      json(CONTAINER)(request, response);
    });
  });
  const attestor = engine.attestor();
  const all = await Promise.all(Array.from({ length: 200 }, () => attestor.attest(processOf(CALLER), never)));
  assert.ok(all.every((values) => values.length === VALUES.length));
  assert.ok(most <= 16, `${most} at once`);
});
