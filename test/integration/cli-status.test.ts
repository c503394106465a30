import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { configFolder, serve, svidgate } from '../support/cli.ts';
import { connect } from '../support/grpc-client.ts';
import { cli, cliOf } from '../support/run-cli.ts';
import { OWN_SELECTOR, startTestServer } from '../support/server.ts';
import { withoutPrivilege } from '../support/unprivileged.ts';
import { waitUntil } from '../support/wait-until.ts';

const OWN_UID = process.getuid?.() ?? -1;

describe('the explanation of a process', () => {
  test('shows its selectors, what matches and what is missing', async () => {
    const near = {
      entry_id: 'near',
      spiffe_id: 'spiffe://example.test/near',
      selectors: [OWN_SELECTOR, 'unix:gid:4294'],
    };
    const entries = [{ entry_id: 'own', spiffe_id: 'spiffe://example.test/own', selectors: [OWN_SELECTOR] }, near];
    await using server = await startTestServer({ entries: JSON.stringify({ entries }) });
    const run = cliOf(server);
    const explained = await run.json('attest', 'explain', String(process.pid));
    assert.partialDeepStrictEqual(explained, {
      pid: process.pid,
      uid: OWN_UID,
      matches: [{ entry_id: 'own', spiffe_id: 'spiffe://example.test/own' }],
      near_misses: [{ entry_id: 'near', missing_selectors: ['unix:gid:4294'] }],
    });
    const text = await run.text('attest', 'explain', String(process.pid));
    assert.match(text, new RegExp(`^unix +${OWN_SELECTOR}$`, 'm'));
    assert.match((await run('attest', 'explain', '4194304')).err, /\(not_found\)/);
  });
});

describe('the status by command', () => {
  test('shows connected Envoys with what each holds and refused', async () => {
    await using server = await startTestServer();
    const run = cliOf(server);
    assert.match(await run.text('status'), /^no Envoy is connected$/m);
    using client = connect(server.socket);
    const stream = client.streamSecrets();
    stream.send({ resourceNames: ['default'], node: { id: 'sidecar\u001b[2J\u009b2J', cluster: 'mesh' } });
    const answer = await stream.next();
    const rejected = { code: 13, message: 'no such curve' };
    const { versionInfo, nonce: responseNonce } = answer;
    stream.send({ resourceNames: ['default'], versionInfo, responseNonce, errorDetail: rejected });
    interface Shown {
      readonly envoys: readonly { readonly resources: readonly { readonly last_nack?: string }[] }[];
    }
    const status = await waitUntil('the refusal in the status', 5000, async () => {
      const shown = (await run.json('status')) as Shown;
      return shown.envoys[0]?.resources[0]?.last_nack === undefined ? undefined : shown;
    });
    // oxlint-disable-next-line no-control-regex -- they are what it is about
    assert.doesNotMatch(await run.text('status', '--output', 'json'), /[^\x0a\x20-\x7e]/);
    assert.partialDeepStrictEqual(status, {
      trust_domain: 'example.test',
      envoy_count: 1,
      envoys: [
        {
          node_id: 'sidecar\u001b[2J\u009b2J',
          node_cluster: 'mesh',
          uid: OWN_UID,
          pid: process.pid,
          spiffe_ids: ['spiffe://example.test/test'],
          resources: [{ name: 'default', last_nack: 'no such curve' }],
        },
      ],
      audit: { state: 'writing' },
    });
    assert.match(await run.text('status'), /^sidecar\\u\{1b\}\[2J\\u\{9b\}2J /m);
    stream.cancel();
  });

  test('is watched until interrupted, which is no failure', async () => {
    await using folder = await configFolder('admin: { socket: ./admin.sock }');
    await using server = serve(folder.path);
    await server.started();
    await using watching = svidgate(
      'status',
      '--watch',
      '--output',
      'json',
      '--config',
      join(folder.path, 'svidgate.yaml'),
    );
    await waitUntil('the first status', 20_000, () => watching.output.out.includes('\n'));
    const run = cliOf({ folder: folder.path });
    await run.text('entry', 'create', '--spiffe-id', 'spiffe://example.test/a', '--selector', 'a:b');
    await waitUntil('the next status', 20_000, () => watching.output.out.trimEnd().split('\n').length > 1);
    watching.child.kill('SIGINT');
    assert.equal(await watching.ended, 0, watching.output.err);
    const counts = watching.output.out
      .trimEnd()
      .split('\n')
      .map((line) => {
        return (JSON.parse(line) as { entries: { count: number } }).entries.count;
      });
    assert.deepEqual([counts[0], counts.at(-1)], [0, 1]);
  });
});

describe('who may call, by the word of the kernel', () => {
  const CASES: readonly {
    readonly allow: string;
    readonly may: readonly string[];
    readonly mayNot: readonly string[];
  }[] = [
    {
      allow: `[{ uid: ${OWN_UID}, role: viewer }]`,
      may: ['entry list'],
      mayNot: ['entry create', 'authority prepare'],
    },
    {
      allow: `[{ uid: ${OWN_UID}, role: registrar, path_prefix: /new }]`,
      may: ['entry list', 'entry create'],
      mayNot: ['entry create elsewhere', 'authority prepare'],
    },
    { allow: `[{ uid: ${OWN_UID}, role: authority }]`, may: ['entry create', 'authority prepare'], mayNot: [] },
    { allow: `[{ uid: ${OWN_UID + 1}, role: authority }]`, may: [], mayNot: ['entry list', 'entry create'] },
    { allow: '[]', may: [], mayNot: ['entry list'] },
  ];
  const COMMANDS: Readonly<Record<string, readonly string[]>> = {
    'entry list': ['entry', 'list'],
    'entry create': ['entry', 'create', '--spiffe-id', 'spiffe://example.test/new', '--selector', 'a:b'],
    'entry create elsewhere': ['entry', 'create', '--spiffe-id', 'spiffe://example.test/newer', '--selector', 'a:b'],
    'authority prepare': ['authority', 'prepare', 'jwt'],
  };
  for (const { allow, may, mayNot } of CASES) {
    test(`allow: ${allow}`, async () => {
      await using server = await startTestServer({ config: `admin: { socket: ./admin.sock, allow: ${allow} }` });
      const run = cliOf(server);
      for (const name of mayNot) {
        const { code, err } = await run(...(COMMANDS[name] ?? []));
        assert.match(err, /\(permission_denied\)\. Give the caller a role that may do this, in `admin.allow`/, name);
        assert.equal(code, 1);
      }
      for (const name of may) await run.text(...(COMMANDS[name] ?? []));
      const audit = await readFile(join(server.folder, 'data/audit/audit.jsonl'), 'utf8');
      const calls = audit.split('\n').filter((line) => line.includes('"admin_call"'));
      assert.equal(calls.length, may.length + mayNot.length);
      for (const line of calls) assert.equal((JSON.parse(line) as { caller_uid: number }).caller_uid, OWN_UID);
    });
  }

  test("the socket is its owner's alone", async () => {
    await using server = await startTestServer();
    const socket = join(server.folder, 'admin.sock');
    assert.equal((await stat(socket)).mode & 0o777, 0o600);
    if (OWN_UID !== 0) return;
    const { code, err } = await withoutPrivilege(() => cli('status', '--socket', socket));
    assert.equal(code, 1);
    assert.match(err, /this user may not open the socket/);
  });
});
