/** Runs the commands of docs/policy-replay.md on a log that its first policy made. */
import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { DecisionRecord } from '../../src/evidence/index.ts';
import { openPolicy } from '../../src/policy/index.ts';
import { root } from '../../tools/setup/paths.mjs';
import { recordOf } from '../support/decision-records.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { consoleSteps, runShell, visibleText } from './shell.ts';

const PAGE = 'docs/policy-replay.md';

interface Sent {
  readonly by: string;
  readonly method: string;
  readonly token?: boolean;
  readonly caller?: 'anonymous';
}

const SENT: readonly Sent[] = [
  ...Array.from({ length: 10 }, (): Sent => ({ by: 'web', method: 'GET' })),
  { by: 'web', method: 'DELETE' },
  { by: 'web', method: 'HEAD' },
  ...Array.from({ length: 20 }, (): Sent => ({ by: 'jobs', method: 'POST', token: true })),
  ...Array.from({ length: 8 }, (): Sent => ({ by: 'web', method: 'GET' })),
  { by: 'mobile', method: 'GET', caller: 'anonymous' },
];

async function recordsOf(policyFolder: string): Promise<readonly DecisionRecord[]> {
  const { signal } = new AbortController();
  await using policy = await openPolicy({ path: policyFolder, entrypoint: 'envoy/authz/allow', signal });
  return await Promise.all(
    SENT.map(({ by, method, token, caller }, index) => {
      const principal = `spiffe://prod.acme.test/${by}`;
      const headers = token === true ? { 'x-static-token': 'secret' } : {};
      const input = {
        attributes: { request: { http: { method, path: '/orders', headers } } },
        svidgate: { peer: { verified: true, spiffe_id: principal } },
      };
      return recordOf(policy, input, {
        decision_id: `decision-${index + 1}`,
        timestamp: '2026-11-22T10:00:00.000000000Z',
        svidgate: { principal, method, route: 'orders.acme.test/orders', ...(caller === undefined ? {} : { caller }) },
      });
    }),
  );
}

/** Without its value, as the recorder keeps it. */
function withoutToken(record: DecisionRecord): DecisionRecord {
  const text = JSON.stringify(record);
  if (!text.includes('x-static-token":"')) return record;
  const pointer = '/input/attributes/request/http/headers/x-static-token';
  const parsed = JSON.parse(text.replace('"x-static-token":"secret"', '')) as DecisionRecord;
  return { ...parsed, erased: [pointer], svidgate: { ...parsed.svidgate, replayable: false, unreplayable: [pointer] } };
}

test('the page on replays does what it says', async () => {
  await using folder = await tempFolder();
  const page = codeBlocks(PAGE, readPage(PAGE));
  for (const { file, text } of page) {
    if (file === undefined) continue;
    await mkdir(dirname(join(folder.path, file)), { recursive: true });
    await writeFile(join(folder.path, file), text);
  }
  const bin = join(folder.path, '.bin');
  await mkdir(bin);
  await symlink(join(root, 'bin/svidgate.mjs'), join(bin, 'svidgate'));
  const records = (await recordsOf(join(folder.path, 'policy'))).map(withoutToken);
  await mkdir(join(folder.path, 'data/decisions'), { recursive: true });
  const lines = records.map((record) => `${JSON.stringify(record)}\n`);
  await writeFile(join(folder.path, 'data/decisions/decisions-0000000001.jsonl'), lines.join(''));
  const env = { ...process.env, PATH: `${bin}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` };
  let ran = 0;
  for (const block of page.filter(({ language }) => language === 'console')) {
    for (const { command, output } of consoleSteps(block.text)) {
      const { stdout, stderr } = await runShell(command, { cwd: folder.path, env });
      assert.equal(visibleText(stdout), visibleText(output), `${command}\n${stderr}`);
      ran += 1;
    }
  }
  assert.equal(ran, 4);
});
