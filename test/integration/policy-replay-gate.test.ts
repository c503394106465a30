/** Recorded decisions are tried before a policy comes into force. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../support/grpc-client.ts';
import { restartableServer, type RestartableServer } from '../support/restartable-server.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 30_000;

const config = `entries: ./entries.yaml
decision_log: {}
authz:
  listen: unix:./authz.sock
  eval_timeout: 5s
  policies: { default: { path: ./policy, entrypoint: test/allow, replay: { max_changed: 2 } } }
`;

function policyFor(...paths: readonly string[]): string {
  return `package test\n\nallow if input.parsed_path[0] in ${JSON.stringify(paths)}\n`;
}

interface StatusPolicy {
  readonly revision?: string;
  readonly problem?: string;
  readonly refused_by?: string;
  readonly mistakes?: readonly string[];
}

async function status(server: RestartableServer): Promise<StatusPolicy> {
  const { policies } = (await cliOf(server).json('status')) as { readonly policies: readonly StatusPolicy[] };
  return policies[0] ?? {};
}

test('a policy that would change more of them than it may stays out, and says which', async () => {
  await using server = await restartableServer({ config, files: { 'entries.yaml': entriesFor('/caller') } });
  await mkdir(join(server.folder, 'policy'));
  const put = (text: string): Promise<void> => writeFile(join(server.folder, 'policy/test.rego'), text);
  await put(policyFor('a', 'b'));
  await server.start();
  const ask = async (path: string): Promise<boolean> => {
    using client = connect(server.gate);
    const request = { attributes: { request: { http: { method: 'GET', path: `/${path}`, host: 'shop' } } } };
    return (await client.check(request, { timeoutMs: 5000 })).status?.code === 0;
  };
  for (const path of ['a', 'a', 'a', 'b', 'b', 'c']) assert.equal(await ask(path), path !== 'c');
  const first = await status(server);

  // Three of the recorded ones would be denied.
  await put(policyFor('b'));
  const refused = await waitUntil('a refusal', LIMIT_MS, async () => {
    const now = await status(server);
    return now.problem !== undefined && now;
  });
  assert.deepEqual(
    [refused.refused_by, refused.problem, refused.revision],
    ['replay', '3 of 6 recorded decisions would change, and 2 may', first.revision],
  );
  assert.match(
    refused.mistakes?.[0] ?? '',
    /^decision_changed: 3 of unverified: GET shop\/a, allow before and .* now, such as [0-9a-f-]{36}, /,
  );

  // Two may.
  await put(policyFor('a'));
  await waitUntil('the next one', LIMIT_MS, async () => (await status(server)).revision !== first.revision);
  assert.deepEqual([await ask('a'), await ask('b')], [true, false]);

  // What has changed already does not count once more: of the records since, none changes, of those before only b did.
  await put(`${policyFor('a')}\nother := 1\n`);
  const { revision: second } = await status(server);
  await waitUntil('the third', LIMIT_MS, async () => (await status(server)).revision !== second);
  assert.equal((await status(server)).problem, undefined);

  // Back to the first: what was denied since would be allowed; with --force that is nobody's business.
  for (let count = 0; count < 3; count += 1) assert.equal(await ask('b'), false);
  const back = await cliOf(server)('policy', 'rollback', 'default', first.revision ?? '');
  assert.equal(back.code, 1);
  assert.match(back.err, /is not rolled back to [0-9a-f]{12} \(replay\): \d+ of \d+ recorded decisions would change/);
  assert.equal(await ask('b'), false);
  await cliOf(server).text('policy', 'rollback', 'default', first.revision ?? '', '--force');
  assert.equal(await ask('b'), true);
  const { events } = (await cliOf(server).json('policy', 'history')) as {
    readonly events: readonly { readonly event: string; readonly forced?: boolean; readonly refused_by?: string }[];
  };
  assert.deepEqual(
    events.slice(0, 2).map(({ event, forced, refused_by: by }) => [event, forced, by]),
    [
      ['rolled_back', true, undefined],
      ['refused', undefined, 'replay'],
    ],
  );
});
