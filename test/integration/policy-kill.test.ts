/** kill -9 at each step of what changes a policy. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { allowing, type InForce, type Step } from '../support/policy-history-program.ts';
import { tempFolder, type TempFolder } from '../support/temp-folder.ts';

const PROGRAM = fileURLToPath(import.meta.resolve('../support/policy-history-program.ts'));

/** What the program said last. It ends by itself, or where it is told to be killed. */
async function run(folder: string, action: 'look' | 'activate' | 'rollback', killAt?: string): Promise<InForce> {
  const args = ['--disable-warning=ExperimentalWarning', PROGRAM, action, ...(killAt === undefined ? [] : [killAt])];
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = await Promise.all([text(child.stdout), once(child, 'close')]);
  assert.deepEqual([child.exitCode, child.signalCode], killAt === undefined ? [0, null] : [null, 'SIGKILL']);
  return JSON.parse(said.trimEnd().split('\n').at(-1) ?? '') as InForce;
}

let first = '';
let second = '';
let templates: TempFolder;

/** `one`: the policy that allows 1 is in force; `two`: then the one that allows 2 came. */
before(async () => {
  templates = await tempFolder();
  const [one, two] = [join(templates.path, 'one'), join(templates.path, 'two')];
  await mkdir(join(one, 'policy'), { recursive: true });
  await writeFile(join(one, 'policy/test.rego'), allowing(1));
  const { allowed, digest = '', events } = await run(one, 'look');
  first = digest;
  assert.deepEqual(allowed, [1]);
  assert.deepEqual(events, [{ kind: 'activated', digest }]);
  await cp(one, two, { recursive: true });
  await run(two, 'activate');
  second = (await run(two, 'look')).digest ?? '';
});
after(() => templates[Symbol.asyncDispose]());

async function copyOf(template: 'one' | 'two'): Promise<TempFolder> {
  const folder = await tempFolder();
  await cp(join(templates.path, template), folder.path, { recursive: true });
  return folder;
}

/** Without its source, only what is kept can be in force. */
async function withoutSource(folder: string): Promise<InForce> {
  await rename(join(folder, 'policy'), join(folder, 'away'));
  const seen = await run(folder, 'look');
  await rename(join(folder, 'away'), join(folder, 'policy'));
  return seen;
}

/** What is in force after the restart, when only what was kept can be. */
const ACTIVATION: readonly { readonly killAt: Step | `after:${Step}`; readonly kept: 1 | 2 }[] = [
  { killAt: 'after:replay', kept: 1 },
  { killAt: 'after:keep files', kept: 1 },
  { killAt: 'write history', kept: 1 },
  { killAt: 'after:write history', kept: 2 },
  { killAt: 'after:keep compiled', kept: 2 },
];

describe('a server that is killed while a policy comes into force', () => {
  for (const { killAt, kept } of ACTIVATION) {
    test(`at “${killAt}” has the ${kept === 1 ? 'old' : 'new'} one when its source is gone, else the new one`, async () => {
      await using folder = await copyOf('one');
      await run(folder.path, 'activate', killAt);
      const seen = await withoutSource(folder.path);
      assert.deepEqual(seen.allowed, [kept]);
      assert.equal(seen.events.filter(({ kind }) => kind === 'activated').length, kept);
      const { allowed, events } = await run(folder.path, 'look');
      assert.deepEqual(allowed, [2]);
      assert.deepEqual(
        events.filter(({ kind }) => kind === 'activated').map(({ digest }) => digest),
        [first, second],
      );
    });
  }
});

const ROLLBACK: readonly { readonly killAt: Step | `after:${Step}`; readonly inForce: 1 | 2 }[] = [
  { killAt: 'after:replay', inForce: 2 },
  { killAt: 'audit', inForce: 2 },
  { killAt: 'write history', inForce: 2 },
  { killAt: 'after:write history', inForce: 1 },
];

describe('a server that is killed while a policy is rolled back', () => {
  for (const { killAt, inForce } of ROLLBACK) {
    test(`at “${killAt}” has the ${inForce === 1 ? 'old' : 'new'} one, and its history says so`, async () => {
      await using folder = await copyOf('two');
      await run(folder.path, 'rollback', killAt);
      for (const seen of [await run(folder.path, 'look'), await withoutSource(folder.path)]) {
        assert.deepEqual(seen.allowed, [inForce]);
        assert.equal(seen.digest, inForce === 1 ? first : second);
        assert.deepEqual(seen.heldFrom, inForce === 1 ? [second] : undefined);
        const changes = seen.events.filter(({ kind }) => kind !== 'refused').map(({ kind }) => kind);
        assert.deepEqual(changes, ['activated', 'activated', ...(inForce === 1 ? ['rolled_back'] : [])]);
      }
    });
  }
});
