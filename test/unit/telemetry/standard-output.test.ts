import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';

const MODULE = JSON.stringify(import.meta.resolve('../../../src/telemetry/standard-output.ts'));

/** Writes 20,000 lines of 1 KiB, and says on standard error how long the event loop was held by one of them. */
const WRITER = `
import { openStandardOutput } from ${MODULE};
const output = openStandardOutput();
let longest = 0;
for (let number = 0; number < 20_000; number += 1) {
  const start = performance.now();
  output.write(JSON.stringify({ number, text: 'x'.repeat(1000) }) + '\\n');
  longest = Math.max(longest, performance.now() - start);
}
process.stderr.write(String(longest));
`;

interface Line {
  readonly number?: number;
  readonly count?: number;
  readonly msg?: string;
}

/** What Node gives a child is a socket, what a shell gives it a pipe. */
const channels = [
  { name: 'a socket', command: '"$0" --input-type=module --eval "$1"' },
  { name: 'a pipe', command: '"$0" --input-type=module --eval "$1" | cat' },
];

function start(command: string, script: string) {
  return spawn('sh', ['-c', command, process.execPath, script], { stdio: ['ignore', 'pipe', 'pipe'] });
}

for (const { name, command } of channels) {
  test(`${name} that nobody reads holds no line up; read again, it has whole lines and how many were lost`, async () => {
    const child = start(command, WRITER);
    const [longest] = (await once(child.stderr, 'data')) as [Buffer];
    assert.ok(Number(longest) < 1000);
    const lines = (await text(child.stdout)).trimEnd().split('\n');
    const parsed = lines.map((line) => JSON.parse(line) as Line);
    const numbers = parsed.flatMap(({ number }) => number ?? []);
    assert.deepEqual(numbers, [...numbers.keys()], 'the first ones, in order');
    const loss = parsed.at(-1);
    assert.match(loss?.msg ?? '', /lost/);
    assert.equal(numbers.length + (loss?.count ?? 0), 20_000);
  });

  test(`a process ends although nobody reads its last lines from ${name}`, async () => {
    const child = start(`${command.replace('| cat', '| sleep 2')}; echo ended >&2`, WRITER);
    assert.match(await text(child.stderr), /ended/);
    child.stdout.destroy();
  });
}

/** Log lines and lines that must not get lost, at the same time; says how many of these were written. */
const BOTH = `
import { openStandardOutput } from ${MODULE};
const line = (kind, number) => JSON.stringify({ kind, number, text: 'x'.repeat(6000) }) + '\\n';
const logging = setInterval(() => openStandardOutput().write(line('log', 0)), 5);
let written = 0;
try {
  for (let number = 0; number < 100; number += 1) {
    await openStandardOutput().writeAll(line('kept', 2 * number) + line('kept', 2 * number + 1));
    written += 2;
  }
} catch (error) {
  process.stderr.write(error.message);
}
clearInterval(logging);
process.stderr.write(String(written));
`;

for (const { name, command } of channels) {
  test(`lines that must not get lost wait for a slow reader of ${name}, and stand in no other line`, async () => {
    const child = start(command, BOTH);
    const [out, told] = await Promise.all([text(child.stdout), text(child.stderr)]);
    assert.equal(told, '200');
    const lines = out.trimEnd().split('\n').map((line) => JSON.parse(line) as Line & { readonly kind?: string }); // prettier-ignore
    const kept = lines.filter(({ kind }) => kind === 'kept').map(({ number }) => number);
    assert.deepEqual(
      kept,
      Array.from({ length: 200 }, (_, index) => index),
    );
  });
}

test('who has lines that must not get lost is told that nobody reads', async () => {
  const child = start('"$0" --input-type=module --eval "$1"', BOTH);
  child.stdout.destroy();
  assert.match(await text(child.stderr), /^nobody reads standard output\d+$/);
});

test('a reader that went away is no error', async () => {
  const child = start(
    '"$0" --input-type=module --eval "$1"',
    `${WRITER} output.write('late'); process.stderr.write(' done');`,
  );
  child.stdout.destroy();
  assert.match(await text(child.stderr), / done$/);
});
