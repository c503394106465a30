/** A whole server: what comes into force, what does not and why, and the way back. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { connect } from '../support/grpc-client.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 30_000;
const POLICY_FILE = 'test.rego';

function config(more = ''): string {
  return `entries: ./entries.yaml
audit: { file: ./audit.log }
authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  policies: { default: { path: ./policy, entrypoint: test/allow${more} } }
`;
}

/** Allows one path. */
function policyFor(path: string): string {
  return `package test\n\nallow if input.attributes.request.http.path == "${path}"\n`;
}

function testFor(path: string): string {
  return `package test_test\n\ntest_path if data.test.allow with input as {"attributes": {"request": {"http": {"path": "${path}"}}}}\n`;
}

interface Server extends RestartableServer {
  /** The one path that is allowed; empty for none. */
  allowed(): Promise<string>;
  put(name: string, text: string): Promise<void>;
}

interface HistoryEvent {
  readonly policy: string;
  readonly event: string;
  readonly digest?: string;
  readonly by: string;
  readonly refused_by?: string;
  readonly reason?: string;
  readonly kept: boolean;
}

interface StatusPolicy {
  readonly state: string;
  readonly revision?: string;
  readonly problem?: string;
  readonly refused_by?: string;
  readonly mistakes?: readonly string[];
  readonly held?: { readonly by: string; readonly from: readonly string[]; readonly reason?: string };
}

async function policyServer(more?: string): Promise<Server> {
  const server = await restartableServer({ config: config(more), files: { 'entries.yaml': entriesFor('/caller') } });
  await mkdir(join(server.folder, 'policy'));
  const put = (name: string, text: string): Promise<void> => writeFile(join(server.folder, 'policy', name), text);
  await put(POLICY_FILE, policyFor('/1'));
  return Object.assign(server, {
    put,
    async allowed() {
      for (const path of ['/1', '/2', '/3']) {
        using client = connect(server.gate);
        const request = { attributes: { request: { http: { method: 'GET', path } } } };
        if ((await client.check(request, { timeoutMs: 5000 })).status?.code === 0) return path;
      }
      return '';
    },
  });
}

async function until(server: Server, path: string): Promise<void> {
  await waitUntil(`${path} to be allowed`, LIMIT_MS, async () => (await server.allowed()) === path);
}

async function history(server: Server): Promise<readonly HistoryEvent[]> {
  return ((await cliOf(server).json('policy', 'history', 'default')) as { readonly events: HistoryEvent[] }).events;
}

async function status(server: Server): Promise<StatusPolicy> {
  const { policies } = (await cliOf(server).json('status')) as { readonly policies: readonly StatusPolicy[] };
  assert.ok(policies[0] !== undefined);
  return policies[0];
}

async function refusal(server: Server): Promise<StatusPolicy> {
  return await waitUntil('a refusal', LIMIT_MS, async () => {
    const now = await status(server);
    return now.problem !== undefined && now;
  });
}

describe('the history', () => {
  test('tells what came into force and what was refused, over restarts', async () => {
    await using server = await policyServer();
    await server.start();
    assert.equal(await server.allowed(), '/1');
    await server.put(POLICY_FILE, policyFor('/2'));
    await until(server, '/2');
    await server.put(POLICY_FILE, 'package test\nallow if {\n');
    const refused = await refusal(server);
    assert.equal(refused.state, 'active');
    assert.equal(refused.refused_by, 'compiler');
    assert.match(refused.mistakes?.[0] ?? '', /^test\.rego:3: rego_parse_error/);
    await server.stop();

    // What was in force is in force, though its file is not there any more.
    await server.start();
    assert.equal(await server.allowed(), '/2');
    assert.equal((await status(server)).refused_by, 'compiler');
    const events = await history(server);
    assert.deepEqual(
      events.map(({ event, by, refused_by, kept }) => [event, by, refused_by, kept]),
      [
        ['refused', 'source', 'compiler', false],
        ['activated', 'source', undefined, true],
        ['activated', 'source', undefined, true],
      ],
    );
    const text = await cliOf(server).text('policy', 'history');
    assert.match(text, /^POLICY +WHEN +EVENT +DIGEST/);
    assert.match(text, /default +\d+s ago +refused \(compiler\) +[0-9a-f]{12} .* the policy does not compile/);
    assert.equal((await cliOf(server)('policy', 'history', 'other')).code, 1);
  });

  test('of a policy that was never good is its refusals, and nothing is allowed', async () => {
    await using server = await policyServer();
    await server.put(POLICY_FILE, 'package test\nallow := "yes"\n');
    await server.start();
    assert.equal(await server.allowed(), '');
    const refused = await status(server);
    assert.deepEqual([refused.state, refused.refused_by], ['not_active', 'result_type']);
    assert.deepEqual(
      (await history(server)).map(({ event, refused_by, reason }) => [event, refused_by, reason]),
      [['refused', 'result_type', 'its entrypoint can give no decision']],
    );
    const { code, err } = await cliOf(server)('policy', 'rollback', 'default');
    assert.equal(code, 1);
    assert.match(err, /nothing was in force before/);
  });
});

describe('its own tests', () => {
  test('have to pass, and what is wrong with them is told in every place', async () => {
    await using server = await policyServer();
    await server.put('test_test.rego', testFor('/1'));
    await server.start();
    assert.equal(await server.allowed(), '/1');
    await server.put(POLICY_FILE, policyFor('/2'));
    const refused = await refusal(server);
    assert.deepEqual(
      [refused.refused_by, refused.problem],
      ['tests', '1 of its 1 tests failed: data.test_test.test_path'],
    );
    assert.deepEqual(refused.mistakes, ['test_test.rego:3:1: test_failed: test_path failed']);
    const line = server.lines.find(({ gate }) => gate === 'tests');
    assert.equal(line?.message, 'policy refused, the last good policy stays in force');
    assert.equal(await server.metric('svidgate_policy_refusals_total{policy="default",gate="tests"}'), 1);
    const ready = await server.telemetry('/ready');
    assert.equal(ready.status, 200);
    assert.deepEqual(await ready.json(), {
      ready: true,
      checks: { identities: 'ok', 'policy:default': 'ok' },
      notes: {
        'policy:default':
          'an older one is in force, tests refused the last: 1 of its 1 tests failed: data.test_test.test_path',
      },
    });
    assert.match(
      await cliOf(server).text('status'),
      /default +active +yes +[0-9a-f]{12} +tests: 1 of its 1 tests failed/,
    );
    assert.equal(await server.allowed(), '/1');
    // The tests are mended, the policy is as it was.
    await server.put('test_test.rego', testFor('/2'));
    await until(server, '/2');
    assert.equal((await status(server)).problem, undefined);
  });

  test('that do not compile keep the policy out, and `tests: off` asks none', async () => {
    await using server = await policyServer();
    await server.put('test_test.rego', 'package test_test\ntest_it if nothing_such\n');
    await server.start();
    assert.equal(await server.allowed(), '');
    assert.equal((await status(server)).problem, 'its tests do not compile');
    await server.stop();
    await server.write('svidgate.yaml', `${await baseOf(server)}${config(', tests: off')}`);
    await server.start();
    assert.equal(await server.allowed(), '/1');
  });

  test('that are required have to be there', async () => {
    await using server = await policyServer(', tests: required');
    await server.start();
    assert.equal((await status(server)).problem, 'it has no tests, and `tests: required` asks for some');
    await server.put('test_test.rego', testFor('/1'));
    await until(server, '/1');
  });
});

/** What restartableServer writes before the given lines. */
async function baseOf(server: RestartableServer): Promise<string> {
  const text = await readFile(join(server.folder, 'svidgate.yaml'), 'utf8');
  return text.slice(0, text.indexOf('entries:'));
}

describe('a rollback', () => {
  test('holds until the source offers something else, over restarts', async () => {
    await using server = await policyServer();
    await server.start();
    const run = cliOf(server);
    await server.put(POLICY_FILE, policyFor('/2'));
    await until(server, '/2');
    const { revision: bad } = await status(server);
    const text = await run.text('policy', 'rollback', 'default', '--reason', 'orders were refused');
    assert.match(text, /^Policy: +default\nState: +active\nDigest: +[0-9a-f]{64}\nHeld: +by uid:\d+ until/);
    assert.equal(await server.allowed(), '/1');
    const { held } = await status(server);
    assert.deepEqual(held, { ...held, by: `uid:${process.getuid?.()}`, from: [bad], reason: 'orders were refused' });
    assert.equal(await server.metric('svidgate_policy_held{policy="default"}'), 1);
    assert.match(await run.text('status'), /policy default was rolled back to [0-9a-f]{12} by uid:\d+ at/);
    assert.match(await run.text('status'), /default +active, rolled back/);

    await server.stop();
    await server.start();
    assert.equal(await server.allowed(), '/1');
    assert.deepEqual((await status(server)).held, held);
    const again = await run('policy', 'rollback', 'default');
    assert.match(again.err, /nothing was in force before/, 'there is nothing before the first');

    await server.put(POLICY_FILE, policyFor('/3'));
    await until(server, '/3');
    assert.equal((await status(server)).held, undefined);
    assert.deepEqual(
      (await history(server)).map(({ event, by, reason }) => [event, by.replace(/\d+/, 'N'), reason]),
      [
        ['activated', 'source', undefined],
        ['rolled_back', 'uid:N', 'orders were refused'],
        ['activated', 'source', undefined],
        ['activated', 'source', undefined],
      ],
    );
    const audit = await auditLines(server);
    const change = audit.find((line) => line['event'] === 'policy_changed');
    assert.deepEqual(
      [change?.['change'], change?.['policy'], change?.['reason'], change?.['result'], change?.['caller_uid']],
      ['rolled_back', 'default', 'orders were refused', 'success', process.getuid?.()],
    );
  });

  test('ends with --undo, when what the source offers is good', async () => {
    await using server = await policyServer();
    await server.start();
    const run = cliOf(server);
    assert.match(
      (await run('policy', 'rollback', 'default', '--undo')).err,
      /no rollback holds policy default \(conflict\)/,
    );
    await server.put(POLICY_FILE, policyFor('/2'));
    await until(server, '/2');
    const first = (await history(server)).at(-1)?.digest ?? '';
    await run.text('policy', 'rollback', 'default', first.slice(0, 8));
    assert.equal(await server.allowed(), '/1');
    const released = (await run.json('policy', 'rollback', 'default', '--undo')) as StatusPolicy;
    assert.equal(released.held, undefined);
    assert.equal(await server.allowed(), '/2');
    const kinds = (await history(server)).map(({ event }) => event);
    assert.deepEqual(kinds.slice(0, 3), ['activated', 'released', 'rolled_back']);
    assert.equal((await run('policy', 'rollback', 'default', 'ffff')).code, 1);
    assert.equal((await run('policy', 'rollback', 'default', '--undo', '--force')).code, 2);
  });

  test('whose files are lost denies after a restart, rather than let what was rolled back from decide', async () => {
    await using server = await policyServer();
    await server.start();
    const run = cliOf(server);
    await server.put(POLICY_FILE, policyFor('/2'));
    await until(server, '/2');
    await run.text('policy', 'rollback', 'default');
    await server.stop();
    const kept = join(server.folder, 'data/policies/history');
    assert.equal((await readdir(kept)).length, 2);
    await rm(kept, { recursive: true });
    await server.start();
    assert.equal(await server.allowed(), '');
    assert.match((await status(server)).problem ?? '', /rolled back to [0-9a-f]{12}, which cannot be loaded any more/);
    await run.text('policy', 'rollback', 'default', '--undo');
    assert.equal(await server.allowed(), '/2');
  });
});

async function auditLines(server: RestartableServer): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const text = await readFile(join(server.folder, 'audit.log'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}
