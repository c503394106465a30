import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '../../../bin/node-flags.mjs';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));

interface Program {
  readonly child: ChildProcess;
  /** All of both outputs so far. */
  readonly text: { out: string; err: string };
  /** Resolves with the exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  /** Resolves when standard output has this text; rejects when the program ends without it. */
  said(text: string): Promise<void>;
}

function start(t: TestContext, args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, ...args], { env: { ...process.env, ...env } });
  const text = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text.out += piece));
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (text.err += piece));
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const said = async (wanted: string): Promise<void> => {
    while (!text.out.includes(wanted)) {
      const outcome = await Promise.race([ended, once(child.stdout, 'data')]);
      if (typeof outcome !== 'object' && !text.out.includes(wanted)) {
        throw new Error(`ended with ${outcome}: ${text.out}${text.err}`);
      }
    }
  };
  return { child, text, ended, said };
}

async function configIn(t: TestContext, text: string): Promise<{ readonly folder: string; readonly file: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'svidgate-serve-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'svidgate.yaml');
  await writeFile(file, text);
  return { folder, file };
}

const MINIMAL = 'trust_domain: td.test\ntelemetry: {listen: off}\n';

describe('serve', { timeout: 60_000 }, () => {
  test('SIGTERM, SIGINT and SIGHUP end it cleanly with 0', async (t) => {
    const { folder, file } = await configIn(t, MINIMAL);
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      const program = start(t, ['serve', '--config', file]);
      await program.said('svidgate started');
      assert.ok(existsSync(join(folder, 'run/api.sock')));
      program.child.kill(signal);
      assert.equal(await program.ended, 0, program.text.err);
      assert.equal(existsSync(join(folder, 'run/api.sock')), false);
    }
  });

  test('signals that come together count as one', async (t) => {
    const { file } = await configIn(t, MINIMAL);
    const program = start(t, ['serve', '--config', file]);
    await program.said('svidgate started');
    // Stopped, it takes both at the same moment.
    for (const signal of ['SIGSTOP', 'SIGTERM', 'SIGINT', 'SIGCONT'] as const) program.child.kill(signal);
    assert.equal(await program.ended, 0);
  });

  test('a signal during the start ends it with 0 and leaves no socket', async (t) => {
    const { folder, file } = await configIn(t, `${MINIMAL}entries: e.yaml\n`);
    await writeFile(join(folder, 'e.yaml'), 'entries: []\n');
    const program = start(t, ['serve', '--config', file]);
    await program.said('ca rotated'); // the first line of a first start, long before it listens
    program.child.kill('SIGTERM');
    assert.equal(await program.ended, 0, program.text.err);
    assert.equal(existsSync(join(folder, 'run/api.sock')), false);
  });

  test('SVIDGATE_CONFIG stands for --config', async (t) => {
    const { file } = await configIn(t, MINIMAL);
    const program = start(t, ['serve'], { SVIDGATE_CONFIG: file });
    await program.said('svidgate started');
    program.child.kill('SIGTERM');
    assert.equal(await program.ended, 0);
  });

  test('mistakes in the configuration are all told, with exit code 2', async (t) => {
    const { file } = await configIn(t, 'trust_domain: TD\nworkload_sockt: a\n');
    const program = start(t, ['serve', '--config', file]);
    assert.equal(await program.ended, 2);
    assert.deepEqual(program.text, {
      out: '',
      err: [
        `${file}:1:15: \`trust_domain\` is "TD": trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores`,
        `${file}:2:1: unknown key \`workload_sockt\`: did you mean \`workload_socket\`?`,
        `${file}: 2 mistakes`,
        '',
      ].join('\n'),
    });
  });

  test('mistakes in the entries file are all told, with exit code 2', async (t) => {
    const { folder, file } = await configIn(t, `${MINIMAL}entries: e.yaml\n`);
    await writeFile(join(folder, 'e.yaml'), 'entries:\n  - {selector: [a]}\n');
    const program = start(t, ['serve', '--config', file]);
    assert.equal(await program.ended, 2);
    assert.match(program.text.err, /e\.yaml:2:5: missing key `entries\[0\]\.spiffe_id`: /);
    assert.match(program.text.err, /e\.yaml:2:6: unknown key `entries\[0\]\.selector`: did you mean `selectors`\?/);
    assert.equal(existsSync(join(folder, 'run/api.sock')), false);
  });

  test('a second instance on the same data directory is refused in one line, with exit code 1', async (t) => {
    const { file } = await configIn(t, MINIMAL);
    const first = start(t, ['serve', '--config', file]);
    await first.said('svidgate started');
    const second = start(t, ['serve', '--config', file]);
    assert.equal(await second.ended, 1);
    assert.match(second.text.err, /^svidgate: data_dir .* is in use .*\(already_running\)\. .*\n$/);
    first.child.kill('SIGTERM');
    assert.equal(await first.ended, 0);
  });
});
